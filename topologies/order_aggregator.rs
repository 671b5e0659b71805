//! `order-aggregator`: an order, its payment and its reservation become one completed order.
//!
//! Shows a join of three topics whose records come in any order, once each or more often, with a time-out: an order that
//! is not complete 15 minutes after its first part goes to a topic of its own, with what is missing. Time is stream time,
//! so a replay of the topics gives the same answers; a schedule looks at what is open every ten seconds of it. What is
//! done is remembered for as long, so that a repeated part opens nothing.
//!
//! Use it for parts that meet once. When parts change and the result must follow, join tables instead; for two streams
//! a windowed stream-stream join is enough. When silence itself must time out, schedule by the wall clock.

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

const TIMEOUT_MS: i64 = 900_000;
const LOOK_EVERY: Duration = Duration::from_secs(10);

pub const ENTRY: Entry = Entry {
    name: "order-aggregator",
    about: "order, payment and reservation become one completed order, or time out",
    inputs: &[
        Topic::new("orders", Format::String, Format::Json),
        Topic::new("payments", Format::String, Format::Json),
        Topic::new("reservations", Format::String, Format::Json),
    ],
    outputs: &[
        Topic::new("orders-completed", Format::String, Format::Json),
        Topic::new("orders-incomplete", Format::String, Format::Json),
    ],
    settings: &[],
    build,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    customer: String,
    cents: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Payment {
    method: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reservation {
    warehouse: String,
}

/// One of the three, keyed by the id of the order.
enum Part {
    Order(Order),
    Payment(Payment),
    Reservation(Reservation),
}

/// What has come for an order so far; `since` is the event time of the part that came first, in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parts {
    since: Timestamp,
    done: bool,
    order: Option<Order>,
    payment: Option<Payment>,
    reservation: Option<Reservation>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Outcome {
    Completed { order: Order, payment: Payment, reservation: Reservation },
    Incomplete { missing: Vec<String> },
}

impl Parts {
    fn add(&mut self, part: &Part) {
        match part {
            Part::Order(order) => self.order = Some(order.clone()),
            Part::Payment(payment) => self.payment = Some(payment.clone()),
            Part::Reservation(reservation) => self.reservation = Some(reservation.clone()),
        }
    }

    fn completed(&self) -> Option<Outcome> {
        let (order, payment, reservation) = (self.order.clone()?, self.payment.clone()?, self.reservation.clone()?);
        Some(Outcome::Completed { order, payment, reservation })
    }

    fn incomplete(&self) -> Outcome {
        let parts = [
            ("order", self.order.is_some()),
            ("payment", self.payment.is_some()),
            ("reservation", self.reservation.is_some()),
        ];
        let missing = parts.iter().filter(|(_, there)| !there).map(|(name, _)| (*name).to_owned());
        Outcome::Incomplete { missing: missing.collect() }
    }
}

struct Aggregator;

impl Processor<String, Part, String, Outcome> for Aggregator {
    fn init(&mut self, cx: &mut ProcessorContext<'_, String, Outcome>) -> Result<()> {
        cx.schedule(LOOK_EVERY, Punctuation::StreamTime).map(drop)
    }

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Outcome>,
        record: Record<'_, String, Part>,
    ) -> Result<()> {
        let (Some(id), Some(part)) = (record.key, record.value) else { return Ok(()) };
        let mut open = cx.store::<String, Parts>("open-orders")?;
        let since = record.timestamp;
        let empty = Parts { since, done: false, order: None, payment: None, reservation: None };
        let mut parts = open.get(id)?.unwrap_or(empty);
        if parts.done {
            return Ok(());
        }
        parts.add(part);
        let completed = parts.completed();
        parts.done = completed.is_some();
        open.put(id, &parts)?;
        completed.map_or(Ok(()), |outcome| cx.forward(record.with_value(Some(&outcome))))
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Outcome>,
        _: ScheduleId,
        now: Timestamp,
    ) -> Result<()> {
        for (id, parts) in cx.store::<String, Parts>("open-orders")?.all()? {
            if parts.since + TIMEOUT_MS > now {
                continue;
            }
            cx.store::<String, Parts>("open-orders")?.delete(&id)?;
            if !parts.done {
                cx.forward(Record::new(Some(&id), Some(&parts.incomplete()), now))?;
            }
        }
        Ok(())
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    builder.add_state_store(StoreBuilder::key_value("open-orders", text(), serdes::json::<Parts>()));
    let orders = builder.stream_with(params.input(0), Consumed::with(text(), serdes::json::<Order>()));
    let payments = builder.stream_with(params.input(1), Consumed::with(text(), serdes::json::<Payment>()));
    let reservations = builder.stream_with(params.input(2), Consumed::with(text(), serdes::json::<Reservation>()));
    let outcomes = orders
        .map_values(|order| order.cloned().map(Part::Order))
        .merge(&payments.map_values(|payment| payment.cloned().map(Part::Payment)))
        .merge(&reservations.map_values(|reservation| reservation.cloned().map(Part::Reservation)))
        .process(|| Aggregator, &["open-orders"]);
    let how = || Produced::with(text(), serdes::json());
    let completed = |outcome: Option<&Outcome>| matches!(outcome, Some(Outcome::Completed { .. }));
    outcomes.filter(move |_, outcome| completed(outcome)).to_with(params.output(0), how());
    outcomes.filter_not(move |_, outcome| completed(outcome)).to_with(params.output(1), how());
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn parts_meet_in_any_order_and_once() {
        let parts = [json!({"customer": "ann", "cents": 900}), json!({"method": "card"}), json!({"warehouse": "w"})];
        for inputs in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut driven = Driven::new(&ENTRY);
            let found: Vec<_> =
                inputs.iter().flat_map(|input| driven.pipe(*input, json!("o1"), parts[*input].clone())).collect();
            let completed = json!({"order": parts[0], "payment": parts[1], "reservation": parts[2]});
            assert_eq!(found, [(json!("o1"), completed)]);
            assert_eq!(driven.pipe(1, json!("o1"), parts[1].clone()), [], "a payment that comes twice");
            driven.pipe_at(1, json!("o2"), parts[1].clone(), TIMEOUT_MS);
            assert_eq!(driven.read(1), [], "nothing is left open of it");
        }
    }

    #[test]
    fn what_is_incomplete_times_out() {
        let mut driven = Driven::new(&ENTRY);
        driven.pipe_at(1, json!("o1"), json!({"method": "card"}), 0);
        driven.pipe_at(2, json!("o2"), json!({"warehouse": "w"}), TIMEOUT_MS - 1);
        assert_eq!(driven.read(1), []);
        driven.pipe_at(0, json!("o3"), json!({"customer": "ann", "cents": 1}), TIMEOUT_MS + 10_000);
        assert_eq!(driven.read(1), [(json!("o1"), json!({"missing": ["order", "reservation"]}))]);
        assert_eq!(driven.read(0), []);
    }
}
