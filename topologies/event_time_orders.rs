//! `event-time-orders`: takings per shop in windows of five minutes, by the time at which an order was placed.
//!
//! Shows event time from the payload, orders that come out of order by up to five seconds, one final result per window,
//! and a side topic for what came later: the order as it was, with the window that it missed (`millstream.late.window.start`)
//! and by how much (`millstream.late.by.ms`) in its headers. Nothing is lost without a trace.
//!
//! Use it when results are acted on once, such as billing. A window is told when a later order of the same partition
//! arrives, so a partition that falls silent holds its last windows back; for dashboards, which want a number at once,
//! take updates as `completed-orders` does.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{EmitStrategy, TimeWindows},
    topology::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(300);
const WINDOW_MS: i64 = 300_000;
const OUT_OF_ORDER: Duration = Duration::from_secs(5);

pub const ENTRY: Entry = Entry {
    name: "event-time-orders",
    about: "final takings per shop in 5-minute windows of event time; late orders go to a side topic",
    inputs: &[Topic::new("orders", Format::String, Format::Json)],
    outputs: &[
        Topic::new("takings", Format::Windowed { size_ms: WINDOW_MS }, Format::Json),
        Topic::new("orders-late", Format::String, Format::Json),
    ],
    settings: &[("errors.late.topic.name", "orders-late")],
    build,
};

/// An order, keyed by its shop; `placed_at` is its event time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: i64,
    placed_at: i64,
}

/// Number and sum of a window's orders.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Takings {
    orders: i64,
    cents: i64,
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let order = serdes::json::<Order>();
    let orders = Consumed::with(serdes::string(), order.clone())
        .timestamp_extractor(|_, order, broker, _| order.map_or(broker, |o: &Order| o.placed_at));
    builder
        .stream_with(params.input(0), orders)
        .group_by_key_with(Grouped::with(serdes::string(), order))
        .windowed_by(TimeWindows::of_size_and_grace(WINDOW, OUT_OF_ORDER))
        .emit_strategy(EmitStrategy::on_window_close())
        .aggregate_with(
            Takings::default,
            |_, order, sum: Takings| {
                let cents = order.map_or(0, |o: &Order| o.cents);
                Some(Takings { orders: sum.orders + 1, cents: sum.cents.saturating_add(cents) })
            },
            Materialized::as_store("takings").with_key_serde(serdes::string()).with_value_serde(serdes::json()),
        )
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::windowed(serdes::string(), WINDOW_MS), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn a_window_is_told_once_and_a_late_order_with_its_lateness() {
        let mut driven = Driven::new(&ENTRY);
        let mut order = |at: i64| driven.pipe(0, json!("rome"), json!({"id": "o", "cents": 100, "placed_at": at}));
        assert_eq!(order(0), []);
        assert_eq!(order(304_999), []);
        assert_eq!(order(299_999), [], "five seconds late, and in time");
        let window = json!({"key": "rome", "start": 0, "end": WINDOW_MS});
        assert_eq!(order(305_000), [(window, json!({"orders": 2, "cents": 200}))]);
        assert_eq!(order(306_000), []);
        assert_eq!(order(299_000), [], "too late");
        assert_eq!(driven.read_header(1, "millstream.late.by.ms"), ["1000"]);
    }
}
