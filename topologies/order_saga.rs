//! `order-saga`: one orchestrator leads an order through reservation, payment and shipment, and back when a step fails.
//!
//! Shows a state machine in a store. Each order is at one step; the step's command is out, and its reply or its time-out
//! moves the order on. A failed step undoes those before it, in reverse. After a time-out nobody knows whether the step
//! was done, so it is undone too; undoing is commanded again until it succeeds. State, command and status are one
//! transaction: over a crash no command is lost, none is sent twice. Repeated, late and foreign replies change nothing.
//!
//! The services must do a command once however often they get it (order and step name it), and must refuse a step whose
//! undoing they have seen. Use it when somebody must know where each order stands, and for time-outs; for few steps that
//! seldom change, `order-choreography` needs no leader.

mod saga;

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{Processor, ProcessorContext, Punctuation, ScheduleId},
    record::{Record, Timestamp},
    topology::{Consumed, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use saga::{Input, Order, Output, Reply, STEPS, Saga, Stage, Status};
use std::time::Duration;

pub const ENTRY: Entry = Entry {
    name: "order-saga",
    about: "an orchestrator reserves, charges and ships an order, and undoes it in reverse when a step fails",
    inputs: &[
        Topic::new("orders", Format::String, Format::Json),
        Topic::new("saga-replies", Format::String, Format::Json),
    ],
    outputs: &[
        Topic::new("saga-commands", Format::String, Format::Json),
        Topic::new("order-status", Format::String, Format::Json),
    ],
    settings: &[],
    build,
};

struct Orchestrator;

impl Processor<String, Input, String, Output> for Orchestrator {
    fn init(&mut self, cx: &mut ProcessorContext<'_, String, Output>) -> Result<()> {
        cx.schedule(Duration::from_secs(1), Punctuation::WallClock).map(drop)
    }

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Output>,
        record: Record<'_, String, Input>,
    ) -> Result<()> {
        let (Some(id), Some(input)) = (record.key, record.value) else { return Ok(()) };
        let now = cx.system_time();
        let known = cx.store::<String, Saga>("sagas")?.get(id)?;
        let (saga, output) = match (known, input) {
            (None, Input::Order(order)) => {
                cx.forward(record.with_value(Some(&Output::Status(Status::Created))))?;
                let mut saga = Saga { order: order.clone(), stage: Stage::Ended, reason: String::new(), due: now };
                let output = saga.command(STEPS[0], false, now);
                (saga, output)
            }
            (Some(mut saga), Input::Reply(reply)) => match saga.replied(reply, now) {
                Some(output) => (saga, output),
                None => return Ok(()),
            },
            // An order that comes again, or a reply for an order that nobody knows.
            _ => return Ok(()),
        };
        cx.store::<String, Saga>("sagas")?.put(id, &saga)?;
        cx.forward(record.with_value(Some(&output)))
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Output>,
        _: ScheduleId,
        now: Timestamp,
    ) -> Result<()> {
        for (id, mut saga) in cx.store::<String, Saga>("sagas")?.all()?.into_iter().filter(|(_, saga)| saga.due <= now)
        {
            match saga.timed_out(now) {
                None => drop(cx.store::<String, Saga>("sagas")?.delete(&id)?),
                Some(output) => {
                    cx.store::<String, Saga>("sagas")?.put(&id, &saga)?;
                    cx.forward(Record::new(Some(&id), Some(&output), now))?;
                }
            }
        }
        Ok(())
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    builder.add_state_store(StoreBuilder::key_value("sagas", text(), serdes::json::<Saga>()));
    let orders = builder.stream_with(params.input(0), Consumed::with(text(), serdes::json::<Order>()));
    let replies = builder.stream_with(params.input(1), Consumed::with(text(), serdes::json::<Reply>()));
    let outputs = orders
        .map_values(|order| order.cloned().map(Input::Order))
        .merge(&replies.map_values(|reply| reply.cloned().map(Input::Reply)))
        .process(|| Orchestrator, &["sagas"]);
    let commands = outputs.flat_map_values(|output| match output {
        Some(Output::Command(command)) => Some(command.clone()),
        _ => None,
    });
    let statuses = outputs.flat_map_values(|output| match output {
        Some(Output::Status(status)) => Some(status.clone()),
        _ => None,
    });
    commands.to_with(params.output(0), Produced::with(text(), serdes::json()));
    statuses.to_with(params.output(1), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests;
