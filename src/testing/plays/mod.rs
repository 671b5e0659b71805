//! Topologies for the simulator, each with a script of input: between them every stateful operator.
//!
//! All input lies in the log before the first worker starts. A task with several source topics then takes its records in
//! an order that their timestamps decide, whatever happens to the workers; with input that is still to come, that
//! order is a matter of luck, in Kafka Streams too. So the output of an uninterrupted run is the only right one:
//! record by record where one partition of input makes one of output; by the last value of each key where a repartition
//! topic mixes what several tasks write, and where record caches leave updates out.

mod joins;
mod processors;
mod retries;
mod tables;
mod windows;

use super::Chance;
use crate::topology::{Optimization, StreamsBuilder, Topology};
use std::time::Duration;

/// Keys of an input topic.
const KEYS: usize = 12;

/// A topology with its input, whose results must be those of an uninterrupted run.
#[derive(Debug)]
pub struct Play {
    /// Its name.
    pub name: &'static str,
    /// Its topics, in the order of the sources; the first [`Play::before`] ones belong to global tables.
    pub(super) inputs: &'static [&'static str],
    pub(super) before: usize,
    build: fn(&StreamsBuilder),
    optimizations: &'static [Optimization],
    /// Key and value of a record: of which input topic, and the record's number.
    pub(super) record: fn(&mut Chance, usize, i64) -> (String, Option<String>),
    /// Outputs and stores behind a repartition topic: only the last value of each key is defined, not its time.
    pub(super) mixed: &'static [&'static str],
    /// Outputs and stores whose times are not defined where a cache leaves out updates before them.
    pub(super) restamped: &'static [&'static str],
    /// How long the wall clock goes on after the input, for what is due by it, in milliseconds.
    pub(super) linger_ms: i64,
}

impl Play {
    /// Every play.
    pub const ALL: [&'static Self; 12] = [
        &windows::SESSIONS,
        &windows::SLIDING,
        &windows::SUPPRESSED,
        &windows::COGROUPED,
        &joins::STREAMS,
        &joins::FOREIGN_KEYS,
        &joins::GLOBAL,
        &tables::TABLES,
        &tables::VERSIONED,
        &tables::SOURCE_TABLE,
        &processors::PROCESSORS,
        &retries::RETRIES,
    ];

    pub(super) fn topology(&self) -> Topology {
        let builder = StreamsBuilder::new();
        (self.build)(&builder);
        builder.build_optimized(self.optimizations).expect("a play's topology is sound")
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn key(chance: &mut Chance) -> String {
    format!("k{}", chance.below(KEYS))
}

/// A record of a stream.
fn keyed(chance: &mut Chance, _: usize, number: i64) -> (String, Option<String>) {
    (key(chance), Some(number.to_string()))
}

/// A row of a table, now and then its deletion.
fn row(chance: &mut Chance, _: usize, number: i64) -> (String, Option<String>) {
    (key(chance), (!chance.one_in(5)).then(|| number.to_string()))
}

/// A list with one more record.
fn listed(mut list: String, value: Option<&String>) -> String {
    if !list.is_empty() {
        list.push(' ');
    }
    list.push_str(value.map_or("-", String::as_str));
    list
}

fn both(a: &String, b: &String) -> Option<String> {
    Some(format!("{a}+{b}"))
}

fn maybe(a: Option<&String>, b: Option<&String>) -> Option<String> {
    let text = |part: Option<&String>| part.map_or_else(|| "-".to_owned(), String::clone);
    Some(format!("{}+{}", text(a), text(b)))
}
