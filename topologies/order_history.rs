//! `order-history`: an order is what its events say, at any time.
//!
//! Shows event sourcing. Events are folded into the order's state, which a versioned store keeps as it was after each of
//! them: a question for a time gets the state of that time. After every third event a snapshot goes to a compacted topic,
//! so that another reader can start from it and read only the events after its version. `version` counts the events.
//!
//! Use it where the past is asked for: audits, disputes. The events are facts, so nothing is refused here; that is done
//! before they are written, see `orders-cqrs`. For the present state alone a table is enough.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord},
    record::Timestamp,
    topology::{Consumed, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How far back questions reach; what holds now never expires.
const HISTORY: Duration = Duration::from_secs(90 * 86_400);
const SNAPSHOT_EVERY: u64 = 3;

pub const ENTRY: Entry = Entry {
    name: "order-history",
    about: "orders folded from their events, with snapshots, and answers for any time of the past",
    inputs: &[
        Topic::new("order-events", Format::String, Format::Json),
        Topic::new("history-questions", Format::String, Format::Json),
    ],
    outputs: &[
        Topic::new("history-answers", Format::String, Format::Json),
        Topic::new("order-snapshots", Format::String, Format::Json),
    ],
    settings: &[],
    build,
};

/// What happened to an order, the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Placed { customer: String },
    ItemAdded { sku: String, cents: i64 },
    ItemRemoved { sku: String },
    Paid { cents: i64 },
    Shipped,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    sku: String,
    cents: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    version: u64,
    status: String,
    customer: String,
    items: Vec<Item>,
    paid_cents: i64,
}

impl Order {
    fn apply(mut self, event: &Event) -> Self {
        self.version += 1;
        match event {
            Event::Placed { customer } => {
                self.customer.clone_from(customer);
                self.status = "placed".into();
            }
            Event::ItemAdded { sku, cents } => self.items.push(Item { sku: sku.clone(), cents: *cents }),
            Event::ItemRemoved { sku } => {
                if let Some(at) = self.items.iter().position(|item| item.sku == *sku) {
                    self.items.remove(at);
                }
            }
            Event::Paid { cents } => {
                self.paid_cents += cents;
                self.status = "paid".into();
            }
            Event::Shipped => self.status = "shipped".into(),
            Event::Cancelled => self.status = "cancelled".into(),
        }
        self
    }
}

/// What the order, the key, was at this time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Question {
    as_of: Timestamp,
}

/// The order as it was; `None` before its first event, and when the history doesn't reach as far.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answer {
    as_of: Timestamp,
    order: Option<Order>,
}

enum Input {
    Event(Event),
    Question(Question),
}

enum Output {
    Snapshot(Order),
    Answer(Answer),
}

struct History;

impl FixedKeyProcessor<String, Input, Output> for History {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, Output>,
        record: FixedKeyRecord<'_, String, Input>,
    ) -> Result<()> {
        let (Some(id), Some(input)) = (record.key(), record.value()) else { return Ok(()) };
        let mut orders = cx.versioned_store::<String, Order>("orders")?;
        match input {
            Input::Event(event) => {
                let last = orders.get(id)?;
                // Events count in the order in which they were written, even where a clock went back.
                let at = last.as_ref().map_or(record.timestamp(), |last| last.timestamp.max(record.timestamp()));
                let order = last.map(|last| last.value).unwrap_or_default().apply(event);
                orders.put(id, Some(&order), at)?;
                if order.version % SNAPSHOT_EVERY == 0 {
                    cx.forward(record.with_timestamp(at).with_value(Some(&Output::Snapshot(order))))?;
                }
                Ok(())
            }
            Input::Question(Question { as_of }) => {
                let order = orders.get_as_of(id, *as_of)?.map(|version| version.value);
                cx.forward(record.with_value(Some(&Output::Answer(Answer { as_of: *as_of, order }))))
            }
        }
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    builder.add_state_store(StoreBuilder::versioned("orders", HISTORY, text(), serdes::json::<Order>()));
    let events = builder.stream_with(params.input(0), Consumed::with(text(), serdes::json::<Event>()));
    let questions = builder.stream_with(params.input(1), Consumed::with(text(), serdes::json::<Question>()));
    let outputs = events
        .map_values(|event| event.cloned().map(Input::Event))
        .merge(&questions.map_values(|question| question.cloned().map(Input::Question)))
        .process_values(|| History, &["orders"]);
    let answers = outputs.flat_map_values(|output| match output {
        Some(Output::Answer(answer)) => Some(answer.clone()),
        _ => None,
    });
    let snapshots = outputs.flat_map_values(|output| match output {
        Some(Output::Snapshot(order)) => Some(order.clone()),
        _ => None,
    });
    answers.to_with(params.output(0), Produced::with(text(), serdes::json()));
    snapshots.to_with(params.output(1), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::{Value, json};

    fn events() -> Vec<Event> {
        let added = |sku: &str| Event::ItemAdded { sku: sku.into(), cents: 150 };
        let (placed, removed) = (Event::Placed { customer: "ann".into() }, Event::ItemRemoved { sku: "pen".into() });
        vec![placed, added("pen"), added("ink"), removed, Event::Paid { cents: 150 }, Event::Shipped]
    }

    #[test]
    fn every_past_state_can_be_asked_for() {
        let mut driven = Driven::new(&ENTRY);
        for (at, event) in events().iter().enumerate() {
            driven.pipe_at(0, json!("o1"), serde_json::to_value(event).unwrap(), 10 * at as i64);
        }
        let mut order = Order::default();
        for (at, event) in events().iter().enumerate() {
            order = order.apply(event);
            for as_of in [10 * at as i64, 10 * at as i64 + 9] {
                let answer = driven.pipe(1, json!("o1"), json!({"as_of": as_of}));
                assert_eq!(answer, [(json!("o1"), json!({"as_of": as_of, "order": order}))]);
            }
        }
        assert_eq!(driven.pipe(1, json!("o1"), json!({"as_of": -1}))[0].1["order"], Value::Null);
    }

    #[test]
    fn a_snapshot_and_the_events_after_it_give_the_state() {
        let mut driven = Driven::new(&ENTRY);
        let events = events();
        for event in &events {
            driven.pipe_at(0, json!("o1"), serde_json::to_value(event).unwrap(), 0);
        }
        let snapshots = driven.read(1);
        assert_eq!(snapshots.len(), 2);
        let whole = events.iter().fold(Order::default(), Order::apply);
        for (_, snapshot) in snapshots {
            let snapshot: Order = serde_json::from_value(snapshot).unwrap();
            let rest = &events[snapshot.version as usize..];
            assert_eq!(rest.iter().fold(snapshot, Order::apply), whole);
        }
    }
}
