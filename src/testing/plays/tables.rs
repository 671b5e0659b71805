//! Tables: joined with each other and with streams, regrouped, versioned, and on a source topic as changelog.

use super::{Play, both, maybe, ms, row};
use crate::{
    codec::serdes,
    fault::Result,
    operator::{Processor, ProcessorContext},
    record::Record,
    topology::{Consumed, Joined, KTable, Materialized, Optimization, StoreBuilder, StreamsBuilder},
};

pub(super) const TABLES: Play = Play {
    name: "tables",
    inputs: &["left", "right", "steps"],
    before: 0,
    build: tables,
    optimizations: &[],
    record: row,
    restamped: &["inner-out", "left-out", "outer-out", "even-out", "joined", "outer", "even"],
    mixed: &["groups-out", "groups"],
    linger_ms: 0,
};

/// How many rows there are for each last digit: a change of a row takes it out of one group and adds it to another.
fn digits(table: &KTable<String, String>) {
    let digit = |_: &String, v: &String| (v.chars().last().map(|digit| digit.to_string()), Some(v.clone()));
    // An empty group goes: with a cache it may never have been there.
    let fewer = |_: &String, _: &String, count: i64| (count > 1).then_some(count - 1);
    table
        .group_by(digit)
        .aggregate_with(|| 0, |_, _, count| Some(count + 1), fewer, Materialized::as_store("groups"))
        .to_stream()
        .to("groups-out");
}

fn tables(builder: &StreamsBuilder) {
    // Without caches: where both rows go at once, none of the two finds the other's to take the joined one back (in Kafka
    // Streams too).
    let uncached = |name: &str| Materialized::as_store(name).with_caching_disabled();
    let left = builder.table_with("left", Consumed::default(), uncached("left-rows"));
    let right = builder.table_with::<String, String>("right", Consumed::default(), uncached("right-rows"));
    let even = |v: &String| v.ends_with(['0', '2', '4', '6', '8']);
    left.join_with(&right, both, Materialized::as_store("joined")).to_stream().to("inner-out");
    left.left_join(&right, |a, b| maybe(Some(a), b)).to_stream().to("left-out");
    left.outer_join_with(&right, maybe, Materialized::as_store("outer")).to_stream().to("outer-out");
    left.filter_with(move |_, v| even(v), Materialized::as_store("even")).to_stream().to("even-out");
    builder.stream::<String, String>("steps").left_join(&left, |a, b| maybe(Some(a), b)).to("steps-out");
    digits(&right);
}

pub(super) const VERSIONED: Play = Play {
    name: "versioned tables",
    inputs: &["prices", "orders"],
    before: 0,
    build: versioned,
    optimizations: &[],
    record: row,
    restamped: &[],
    mixed: &[],
    linger_ms: 0,
};

fn versioned(builder: &StreamsBuilder) {
    let prices = Materialized::as_versioned("prices", ms(400));
    let prices = builder.table_with::<String, String>("prices", Consumed::default(), prices);
    let orders = builder.stream::<String, String>("orders");
    let patient = Joined::with_name("priced").grace(ms(60));
    orders.join_with(&prices, |_, a, b| both(a, b), patient).to("priced-out");
    orders.left_join(&prices, |a, b| maybe(Some(a), b)).to("left-out");
}

pub(super) const SOURCE_TABLE: Play = Play {
    name: "source topic as changelog",
    inputs: &["rows", "names", "in"],
    before: 0,
    build: source_table,
    optimizations: &[Optimization::ReuseKtableSourceTopics],
    record: row,
    restamped: &[],
    mixed: &["groups-out", "groups"],
    linger_ms: 0,
};

fn source_table(builder: &StreamsBuilder) {
    let rows = builder.table_with("rows", Consumed::default(), Materialized::as_store("rows"));
    rows.to_stream().to("rows-out");
    digits(&rows);
    let names = StoreBuilder::key_value("names", serdes::string(), serdes::string());
    builder.add_read_only_state_store(names, "names", Consumed::default());
    builder.stream::<String, String>("in").process(|| Named, &["names"]).to("named-out");
}

/// Joins each record with the row of a store that only its topic fills.
struct Named;

impl Processor<String, String, String, String> for Named {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, String>,
        record: Record<'_, String, String>,
    ) -> Result<()> {
        let name = record.key.map(|key| cx.store::<String, String>("names")?.get(key)).transpose()?.flatten();
        cx.forward(record.with_value(maybe(record.value, name.as_ref()).as_ref()))
    }
}
