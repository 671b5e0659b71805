//! `orders-cqrs`: commands are checked and become events; a read model is made of the events.
//!
//! Shows the two sides. The write side holds no more of an order than it needs to say yes or no, and answers every command:
//! with an event, or with the reason why not. A command that comes again (by its id) is answered once. The read side knows
//! only events: per customer the open orders and what was spent, ready to be shown without a join.
//!
//! Use it where what is written and what is asked for differ in shape, or where rules guard the writing. A customer's row
//! follows some milliseconds after the command: who must read what he wrote waits for the event. For plain rows without
//! rules a table is enough.

mod order;

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord},
    topology::{Consumed, Grouped, Materialized, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use order::{Command, Event, Order, Rejection, Status, decide};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const ENTRY: Entry = Entry {
    name: "orders-cqrs",
    about: "commands are validated into events, and events make a read model per customer",
    inputs: &[Topic::new("order-commands", Format::String, Format::Json)],
    outputs: &[
        Topic::new("order-events", Format::String, Format::Json),
        Topic::new("command-rejections", Format::String, Format::Json),
        Topic::new("customer-orders", Format::String, Format::Json),
    ],
    settings: &[],
    build,
};

/// A row of the read model.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Customer {
    open: BTreeMap<String, Status>,
    orders: i64,
    spent_cents: i64,
}

type Answer = Result<Event, Rejection>;

struct Handler;

impl FixedKeyProcessor<String, Command, Answer> for Handler {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, Answer>,
        record: FixedKeyRecord<'_, String, Command>,
    ) -> Result<()> {
        let (Some(id), Some(Command { id: command, what })) = (record.key(), record.value()) else { return Ok(()) };
        let mut orders = cx.store::<String, Order>("orders")?;
        let order = orders.get(id)?;
        if order.as_ref().is_some_and(|o| o.answered.contains(command)) {
            return Ok(());
        }
        let mut answered = order.as_ref().map_or_else(Vec::new, |o| o.answered.clone());
        answered.push(command.clone());
        let command = command.clone();
        let answer = match decide(order.as_ref(), what) {
            Ok((customer, cents, status)) => {
                orders.put(id, &Order { customer: customer.clone(), cents, status, answered })?;
                Ok(Event { command, status, customer, cents })
            }
            Err(reason) => {
                if let Some(order) = order {
                    orders.put(id, &Order { answered, ..order })?;
                }
                Err(Rejection { command, reason: reason.into() })
            }
        };
        cx.forward(record.with_value(Some(&answer)))
    }
}

/// A customer after an event of one of its orders.
fn read(mut customer: Customer, (order, event): &(String, Event)) -> Customer {
    match event.status {
        Status::Placed => customer.orders += 1,
        Status::Paid => customer.spent_cents += event.cents,
        Status::Cancelled if customer.open.get(order) == Some(&Status::Paid) => customer.spent_cents -= event.cents,
        Status::Shipped | Status::Cancelled => {}
    }
    match event.status {
        Status::Placed | Status::Paid => drop(customer.open.insert(order.clone(), event.status)),
        Status::Shipped | Status::Cancelled => drop(customer.open.remove(order)),
    }
    customer
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    builder.add_state_store(StoreBuilder::key_value("orders", text(), serdes::json::<Order>()));
    let answers = builder
        .stream_with(params.input(0), Consumed::with(text(), serdes::json::<Command>()))
        .process_values(|| Handler, &["orders"]);
    let events = answers.flat_map_values(|answer| answer.and_then(|a| a.clone().ok()));
    let rejections = answers.flat_map_values(|answer| answer.and_then(|a| a.clone().err()));
    events.to_with(params.output(0), Produced::with(text(), serdes::json()));
    rejections.to_with(params.output(1), Produced::with(text(), serdes::json()));

    events
        .map_values_with_key(|order, event| Some((order?.clone(), event?.clone())))
        .group_by_with(
            |_, event| event.map(|(_, e): &(String, Event)| e.customer.clone()),
            Grouped::with(text(), serdes::json()).name("by-customer"),
        )
        .aggregate_with(
            Customer::default,
            |_, event, customer| Some(event.map_or(customer.clone(), |event| read(customer, event))),
            Materialized::as_store("customers").with_key_serde(text()).with_value_serde(serdes::json()),
        )
        .to_stream()
        .to_with(params.output(2), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn commands_become_events_or_rejections() {
        let mut driven = Driven::new(&ENTRY);
        let place = json!({"id": "1", "command": "place", "customer": "ann", "cents": 900});
        let commands = [
            (json!({"id": "0", "command": "ship"}), "there is no such order"),
            (place.clone(), "placed"),
            (place, ""),
            (json!({"id": "2", "command": "ship"}), "only a paid order is shipped"),
            (json!({"id": "3", "command": "pay", "cents": 1}), "the amount is not that of the order"),
            (json!({"id": "4", "command": "pay", "cents": 900}), "paid"),
            (json!({"id": "5", "command": "pay", "cents": 900}), "the order is not open for payment"),
            (json!({"id": "6", "command": "ship"}), "shipped"),
            (json!({"id": "7", "command": "cancel"}), "the order has ended"),
        ];
        for (command, expected) in commands {
            let events = driven.pipe(0, json!("o1"), command);
            let answer = events.first().map(|(_, e)| e["status"].clone());
            let answer = answer.or_else(|| driven.read(1).first().map(|(_, r)| r["reason"].clone()));
            assert_eq!(answer.unwrap_or(json!("")), json!(expected));
        }
    }

    #[test]
    fn the_read_model_follows_the_events() {
        let mut driven = Driven::new(&ENTRY);
        let mut customer = |order: &str, command: serde_json::Value| {
            driven.pipe(0, json!(order), command);
            driven.read(2).pop().map(|(_, row)| row)
        };
        let place = |id: &str| json!({"id": id, "command": "place", "customer": "ann", "cents": 900});
        let row = |open, orders, spent| Some(json!({"open": open, "orders": orders, "spent_cents": spent}));
        assert_eq!(customer("o1", place("1")), row(json!({"o1": "placed"}), 1, 0));
        assert_eq!(customer("o2", place("2")), row(json!({"o1": "placed", "o2": "placed"}), 2, 0));
        let pay = json!({"id": "3", "command": "pay", "cents": 900});
        assert_eq!(customer("o1", pay.clone()), row(json!({"o1": "paid", "o2": "placed"}), 2, 900));
        assert_eq!(customer("o1", pay), None);
        let cancel = json!({"id": "4", "command": "cancel"});
        assert_eq!(customer("o1", cancel), row(json!({"o2": "placed"}), 2, 0));
    }
}
