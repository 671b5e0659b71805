//! A worker with the topologies that only tests on a real broker need.

use millstream::{
    cli::{Catalogue, Entry, Format, Params, Topic},
    codec::serdes,
    fault::{Fault, Result},
    record::Record,
    topology::{
        Consumed, Grouped, Joined, Materialized, Optimization, Processor, ProcessorContext, Produced, Retry,
        StreamsBuilder, Topology,
    },
};
use std::{process::ExitCode, time::Duration};

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

/// Members by name with their team, and how many each team has: the source topic is the table's changelog. Beside it the
/// sums of numbers by key, over all topics whose names match a pattern.
const TEAMS: Entry = Entry {
    name: "teams",
    about: "members of teams from a table, and sums over the topics of a pattern",
    inputs: &[
        Topic::new("members", Format::String, Format::String),
        Topic::new("scores-.*", Format::String, Format::String),
    ],
    outputs: &[Topic::new("teams", Format::String, Format::Long), Topic::new("sums", Format::String, Format::Long)],
    settings: &[],
    build: teams,
};

fn teams(params: &Params) -> Result<Topology> {
    let (text, long) = (serdes::string, serdes::i64);
    let builder = StreamsBuilder::new();
    let written = || Produced::with(text(), long());
    builder
        .table_with::<String, String>(params.input(0), Consumed::default(), Materialized::as_store("rows"))
        .group_by(|_, team: &String| (Some(team.clone()), Some(team.clone())))
        .count_with(Materialized::as_store("counts"))
        .to_stream()
        .to_with(params.output(0), written());
    builder
        .stream_pattern::<String, String>(params.input(1))
        .group_by_key()
        .aggregate_with(
            || 0,
            |_, value, sum: i64| Some(sum + value.map_or(0, |value| number(value))),
            Materialized::as_store("sums"),
        )
        .to_stream()
        .to_with(params.output(1), written());
    builder.build_optimized(&[Optimization::ReuseKtableSourceTopics])
}

/// Orders, some of which can't be handled: they become dead letters after two attempts.
const BRITTLE: Entry = Entry {
    name: "brittle",
    about: "fails on bad orders",
    inputs: &[Topic::new("orders", Format::String, Format::String)],
    outputs: &[
        Topic::new("handled", Format::String, Format::String),
        Topic::new("dead-orders", Format::String, Format::String),
    ],
    settings: &[],
    build: |params| orders(params, false),
};

/// The same once it is mended.
const MENDED: Entry =
    Entry { name: "mended", about: "handles bad orders too", build: |params| orders(params, true), ..BRITTLE };

struct Handle {
    mended: bool,
}

impl Processor<String, String, String, String> for Handle {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, String>,
        record: Record<'_, String, String>,
    ) -> Result<()> {
        match record.value {
            Some(order) if order.starts_with("bad") && !self.mended => Err(Fault::retry("this order can't be handled")),
            _ => cx.forward(record),
        }
    }
}

fn orders(params: &Params, mended: bool) -> Result<Topology> {
    let retry = Retry::as_store("order-retries").attempts(2).delay(Duration::from_millis(20));
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(params.input(0))
        .process_with_retries(move || Handle { mended }, &[], retry.dead_letter_topic(params.output(1)))
        .to(params.output(0));
    builder.build()
}

fn main() -> ExitCode {
    millstream::cli::main(Catalogue::new([BILLS, TEAMS, BRITTLE, MENDED]))
}
