//! `completed-orders`: how many orders of each customer were completed, in windows of five minutes.
//!
//! Shows the plainest stateful job: filter, group, window, count, by the order's own time. Each update of a window is a
//! record, so a reader keeps the last one of each window. What is no order goes to a dead-letter topic.
//!
//! Use it for counts and sums that may still change. When each window must give one final number, see
//! `event-time-orders`; when an order can be completed twice, put `deduplicator` before it.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::TimeWindows,
    topology::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(300);
const WINDOW_MS: i64 = 300_000;
/// Orders up to this late still count.
const GRACE: Duration = Duration::from_secs(60);

pub const ENTRY: Entry = Entry {
    name: "completed-orders",
    about: "completed orders per customer in 5-minute windows",
    inputs: &[Topic::new("orders", Format::String, Format::Json)],
    outputs: &[
        Topic::new("completed-per-customer", Format::Windowed { size_ms: WINDOW_MS }, Format::Long),
        Topic::new("orders-rejected", Format::String, Format::Json),
    ],
    settings: &[
        ("deserialization.exception.handler", "continue"),
        ("errors.dead.letter.queue.topic.name", "orders-rejected"),
    ],
    build,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Created,
    Paid,
    Completed,
    Cancelled,
}

/// An order, keyed by its id; `ts` is its event time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    customer: String,
    status: Status,
    ts: i64,
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let order = serdes::json::<Order>();
    let orders = Consumed::with(serdes::string(), order.clone())
        .timestamp_extractor(|_, order, broker, _| order.map_or(broker, |o: &Order| o.ts));
    builder
        .stream_with(params.input(0), orders)
        .filter(|_, order| order.is_some_and(|o| o.status == Status::Completed))
        .group_by_with(
            |_, order| order.map(|o: &Order| o.customer.clone()),
            Grouped::with(serdes::string(), order).name("by-customer"),
        )
        .windowed_by(TimeWindows::of_size_and_grace(WINDOW, GRACE))
        .count_with(Materialized::as_store("completed"))
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::windowed(serdes::string(), WINDOW_MS), serdes::i64()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn counts_what_is_completed_and_keeps_what_is_no_order() {
        let mut driven = Driven::new(&ENTRY);
        let mut order = |status: &str, ts: i64| {
            driven.pipe(0, json!("o"), json!({"customer": "ann", "status": status, "ts": ts})).pop().map(|(_, v)| v)
        };
        assert_eq!(order("CREATED", 0), None);
        assert_eq!(order("COMPLETED", 1), Some(json!(1)));
        assert_eq!(order("COMPLETED", 299_999), Some(json!(2)));
        assert_eq!(order("COMPLETED", 300_000), Some(json!(1)));
        assert_eq!(order("COMPLETED", 2), Some(json!(3)), "late, within grace");
        assert_eq!(order("LOST", 3), None);
        assert_eq!(driven.read(1).len(), 1);
    }
}
