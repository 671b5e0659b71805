//! The topologies of the side-by-side benchmark with Kafka Streams: the same serdes, windows, stores and names there.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::TimeWindows,
    topology::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, time::Duration};

const GRACE: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;
const FIVE_MINUTES: Duration = Duration::from_secs(300);
const FIVE_MINUTES_MS: i64 = 300_000;

/// `bench-window-count`
pub const WINDOW_COUNT: Entry = Entry {
    name: "bench-window-count",
    about: "benchmark: count per key in 1-minute windows",
    inputs: &[Topic::new("bench-in", Format::String, Format::Bytes)],
    outputs: &[Topic::new("bench-window-count", Format::Windowed { size_ms: MINUTE_MS }, Format::Long)],
    settings: &[],
    build: window_count,
};

/// `bench-window-count-brief`
pub const WINDOW_COUNT_BRIEF: Entry = Entry {
    name: "bench-window-count-brief",
    about: "benchmark: count per key in 1-minute windows that are kept for 70 seconds",
    inputs: &[Topic::new("bench-in", Format::String, Format::Bytes)],
    outputs: &[Topic::new("bench-window-count-brief", Format::Windowed { size_ms: MINUTE_MS }, Format::Long)],
    settings: &[],
    build: window_count_brief,
};

/// `bench-count`
pub const COUNT: Entry = Entry {
    name: "bench-count",
    about: "benchmark: count per key, of all times",
    inputs: &[Topic::new("bench-in", Format::String, Format::Bytes)],
    outputs: &[Topic::new("bench-count", Format::String, Format::Long)],
    settings: &[],
    build: count,
};

/// `bench-window-sum`
pub const WINDOW_SUM: Entry = Entry {
    name: "bench-window-sum",
    about: "benchmark: sum of a JSON field per key in 1-minute windows",
    inputs: &[Topic::new("bench-in", Format::String, Format::Json)],
    outputs: &[Topic::new("bench-window-sum", Format::Windowed { size_ms: MINUTE_MS }, Format::Double)],
    settings: &[],
    build: window_sum,
};

/// `bench-repartition-count`
pub const REPARTITION_COUNT: Entry = Entry {
    name: "bench-repartition-count",
    about: "benchmark: count per new key in hopping windows, through a repartition topic",
    inputs: &[Topic::new("bench-in", Format::String, Format::Json)],
    outputs: &[Topic::new("bench-repartition-count", Format::Windowed { size_ms: FIVE_MINUTES_MS }, Format::Long)],
    settings: &[],
    build: repartition_count,
};

/// `bench-passthrough`
pub const PASSTHROUGH: Entry = Entry {
    name: "bench-passthrough",
    about: "benchmark: every record as it is",
    inputs: &[Topic::new("bench-in", Format::Bytes, Format::Bytes)],
    outputs: &[Topic::new("bench-passthrough", Format::Bytes, Format::Bytes)],
    settings: &[],
    build: passthrough,
};

#[derive(Debug, Serialize, Deserialize)]
struct Amount {
    #[serde(default)]
    amount: f64,
}

#[derive(Debug, Deserialize)]
struct UserAndKind<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

fn window_count(params: &Params) -> Result<Topology> {
    count_in_windows(params, Materialized::as_store("counts"))
}

/// Windows go as soon as no record can change them.
fn window_count_brief(params: &Params) -> Result<Topology> {
    count_in_windows(params, Materialized::as_store("counts").with_retention(MINUTE + GRACE))
}

fn count_in_windows(params: &Params, store: Materialized<String, i64>) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream_with(params.input(0), Consumed::with(serdes::string(), serdes::bytes()))
        .group_by_key_with(Grouped::with(serdes::string(), serdes::bytes()))
        .windowed_by(TimeWindows::of_size_and_grace(MINUTE, GRACE))
        .count_with(store.with_key_serde(serdes::string()).with_value_serde(serdes::i64()))
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::windowed(serdes::string(), MINUTE_MS), serdes::i64()));
    builder.build()
}

fn count(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream_with(params.input(0), Consumed::with(serdes::string(), serdes::bytes()))
        .group_by_key_with(Grouped::with(serdes::string(), serdes::bytes()))
        .count_with(Materialized::as_store("counts").with_key_serde(serdes::string()).with_value_serde(serdes::i64()))
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::string(), serdes::i64()));
    builder.build()
}

fn window_sum(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream_with(params.input(0), Consumed::with(serdes::string(), serdes::json::<Amount>()))
        .map_values(|event| event.map(|e: &Amount| e.amount))
        .group_by_key_with(Grouped::with(serdes::string(), serdes::f64()))
        .windowed_by(TimeWindows::of_size_and_grace(MINUTE, GRACE))
        .aggregate_with(
            || 0.0,
            |_, amount, sum: f64| Some(sum + amount.copied().unwrap_or(0.0)),
            Materialized::as_store("sums").with_key_serde(serdes::string()).with_value_serde(serdes::f64()),
        )
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::windowed(serdes::string(), MINUTE_MS), serdes::f64()));
    builder.build()
}

/// A value that is no event gets a null key, and is dropped and counted where the key is needed.
fn repartition_count(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::of_size_and_grace(FIVE_MINUTES, GRACE).advance_by(MINUTE);
    builder
        .stream_with(params.input(0), Consumed::with(serdes::string(), serdes::bytes()))
        .select_key(|_, value| {
            let event: UserAndKind<'_> = serde_json::from_slice(value?).ok()?;
            Some([event.kind, event.user].concat())
        })
        .group_by_key_with(Grouped::with(serdes::string(), serdes::bytes()).name("by-kind"))
        .windowed_by(windows)
        .count_with(Materialized::as_store("hops").with_key_serde(serdes::string()).with_value_serde(serdes::i64()))
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::windowed(serdes::string(), FIVE_MINUTES_MS), serdes::i64()));
    builder.build()
}

fn passthrough(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream_with(params.input(0), Consumed::with(serdes::bytes(), serdes::bytes()))
        .map_values(|value: Option<&bytes::Bytes>| value.cloned())
        .to_with(params.output(0), Produced::with(serdes::bytes(), serdes::bytes()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{last, run};
    use serde_json::{Value, json};

    fn window(key: &str, start: i64, size: i64) -> String {
        json!({"key": key, "start": start, "end": start + size}).to_string()
    }

    fn event(key: &str, amount: f64, timestamp: i64) -> String {
        let value = json!({"user": key, "amount": amount, "kind": "buy"});
        json!({"key": key, "value": value, "timestamp": timestamp}).to_string() + "\n"
    }

    fn events() -> String {
        [event("a", 1.5, 0), event("a", 2.0, 59_999), event("b", 1.0, 60_000), event("a", 4.0, 61_000)].concat()
    }

    #[test]
    fn window_count_counts() {
        let counts = last(&run(&WINDOW_COUNT, &[&events()]));
        assert_eq!(counts.len(), 3);
        assert_eq!(counts[&window("a", 0, MINUTE_MS)], json!(2));
    }

    #[test]
    fn count_counts() {
        let counts = last(&run(&COUNT, &[&events()]));
        assert_eq!((counts.len(), &counts["\"a\""]), (2, &json!(3)));
    }

    #[test]
    fn window_sum_sums() {
        let sums = last(&run(&WINDOW_SUM, &[&events()]));
        assert_eq!(sums[&window("a", 0, MINUTE_MS)], json!(3.5));
        assert_eq!(sums[&window("a", 60_000, MINUTE_MS)], json!(4.0));
    }

    #[test]
    fn repartition_count_hops() {
        let counts = last(&run(&REPARTITION_COUNT, &[&events()]));
        // Windows begin each minute and last five, but none begins below zero.
        assert_eq!(counts[&window("buya", 0, FIVE_MINUTES_MS)], json!(3));
        assert_eq!(counts[&window("buya", 60_000, FIVE_MINUTES_MS)], json!(1));
        assert_eq!(counts[&window("buyb", 60_000, FIVE_MINUTES_MS)], json!(1));
    }

    #[test]
    fn passthrough_passes() {
        let records = run(&PASSTHROUGH, &["{\"key\":\"k\",\"value\":\"v\",\"timestamp\":7}\n"]);
        assert_eq!(records, [json!({"key": "k", "value": "v", "timestamp": 7})]);
        let null: Vec<Value> = run(&PASSTHROUGH, &["{\"value\":null,\"timestamp\":7}\n"]);
        assert_eq!(null, [json!({"key": null, "value": null, "timestamp": 7})]);
    }
}
