//! A worker with the topologies that only tests on a real broker need.

use millstream::{
    cli::{Catalogue, Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    topology::{Consumed, Grouped, Joined, Materialized, Produced, StreamsBuilder, Topology},
};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Orders (a quantity) joined with prices, summed up per key. Only the number at the start of a value counts.
const BILLS: Entry = Entry {
    name: "bills",
    about: "quantities times the price of their time, summed up per key",
    inputs: &[
        Topic::new("orders", Format::String, Format::String),
        Topic::new("prices", Format::String, Format::String),
    ],
    outputs: &[Topic::new("bills", Format::String, Format::Long)],
    settings: &[],
    build: bills,
};

fn bills(params: &Params) -> Result<Topology> {
    let (text, long) = (serdes::string, serdes::i64);
    let builder = StreamsBuilder::new();
    let prices = builder.table_with(
        params.input(1),
        Consumed::with(text(), text()),
        Materialized::as_store("prices").with_key_serde(text()).with_value_serde(text()),
    );
    builder
        .stream_with(params.input(0), Consumed::with(text(), text()))
        .join_with(
            &prices,
            |_, order: &String, price: &String| Some(number(order) * number(price)),
            Joined::with(text(), text()),
        )
        .group_by_key_with(Grouped::with(text(), long()))
        .aggregate_with(
            || 0,
            |_, cents, sum: i64| Some(sum + cents.copied().unwrap_or(0)),
            Materialized::as_store("bills").with_key_serde(text()).with_value_serde(long()),
        )
        .to_stream()
        .to_with(params.output(0), Produced::with(text(), long()));
    builder.build()
}

fn number(value: &str) -> i64 {
    value.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn main() -> ExitCode {
    millstream::cli::main(Catalogue::new([BILLS]))
}
