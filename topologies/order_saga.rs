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

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{Processor, ProcessorContext, Punctuation, ScheduleId},
    record::{Record, Timestamp},
    topology::{Consumed, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a service may take to answer.
const TIMEOUT_MS: i64 = 300_000;
/// How long an order that has ended is remembered, for replies and orders that come again.
const REMEMBER_MS: i64 = 86_400_000;

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

/// An order, keyed by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    customer: String,
    sku: String,
    cents: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Reserve,
    Pay,
    Ship,
}

const STEPS: [Step; 3] = [Step::Reserve, Step::Pay, Step::Ship];

/// What a service is told: to do its step for the order, or to undo it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Command {
    step: Step,
    undo: bool,
    order: Order,
}

/// What a service answers, with the reason when it could not.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reply {
    step: Step,
    undo: bool,
    ok: bool,
    reason: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Status {
    Created,
    Confirmed,
    Cancelled { reason: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Doing(Step),
    Undoing(Step),
    Ended,
}

/// An order on its way; `due` is the wall clock at which it is looked after, in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Saga {
    order: Order,
    stage: Stage,
    reason: String,
    due: Timestamp,
}

enum Input {
    Order(Order),
    Reply(Reply),
}

enum Output {
    Command(Command),
    Status(Status),
}

impl Saga {
    fn command(&mut self, step: Step, undo: bool, now: Timestamp) -> Output {
        self.stage = if undo { Stage::Undoing(step) } else { Stage::Doing(step) };
        self.due = now + TIMEOUT_MS;
        Output::Command(Command { step, undo, order: self.order.clone() })
    }

    fn end(&mut self, status: Status, now: Timestamp) -> Output {
        self.stage = Stage::Ended;
        self.due = now + REMEMBER_MS;
        Output::Status(status)
    }

    /// Undoes the step before `step`; before the first one the order is cancelled.
    fn back(&mut self, step: Step, now: Timestamp) -> Output {
        match STEPS.iter().rev().skip_while(|s| **s != step).nth(1) {
            Some(before) => self.command(*before, true, now),
            None => self.end(Status::Cancelled { reason: self.reason.clone() }, now),
        }
    }

    /// What a reply leads to; nothing when it isn't the one that is waited for, or undoing has failed.
    fn replied(&mut self, reply: &Reply, now: Timestamp) -> Option<Output> {
        match self.stage {
            Stage::Doing(step) if reply.step == step && !reply.undo && reply.ok => {
                Some(match STEPS.iter().skip_while(|s| **s != step).nth(1) {
                    Some(next) => self.command(*next, false, now),
                    None => self.end(Status::Confirmed, now),
                })
            }
            Stage::Doing(step) if reply.step == step && !reply.undo => {
                self.reason = reply.reason.clone().unwrap_or_else(|| format!("{step:?} failed"));
                Some(self.back(step, now))
            }
            Stage::Undoing(step) if reply.step == step && reply.undo && reply.ok => Some(self.back(step, now)),
            _ => None,
        }
    }

    /// What time leads to; nothing when the saga may be forgotten.
    fn timed_out(&mut self, now: Timestamp) -> Option<Output> {
        match self.stage {
            Stage::Ended => None,
            Stage::Undoing(step) => Some(self.command(step, true, now)),
            Stage::Doing(step) => {
                self.reason = format!("{step:?} timed out");
                Some(self.command(step, true, now))
            }
        }
    }
}

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
