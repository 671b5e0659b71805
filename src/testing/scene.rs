//! The topology under simulation and its input.
//!
//! ```text
//! in ─┬─▶ list per key and window, short retention (store `windows`) ──▶ windows-out, sink of windows
//!     ├─▶ by another key ─▶ repartition topic ─▶ list per key (store `totals`) ──▶ totals-out, sink of totals
//!     └─▶ every few milliseconds of wall clock: count up (store `ticks`) ──▶ ticks-out
//! ```
//!
//! A list holds the number of each record that it counts, so that a record left out or repeated shows, where a plain
//! count would let the one hide the other.

use super::Play;
use crate::{
    fault::Result,
    operator::{Processor, ProcessorContext, Punctuation, ScheduleId, TimeWindows},
    record::{Record, Timestamp},
    sink::MemorySink,
    state::StoreSpec,
    topology::{Materialized, Produced, Resolved, StoreBuilder, StreamsBuilder, Topology},
};
use std::{sync::Arc, time::Duration};

pub(super) const APPLICATION: &str = "sim";
pub(super) const PARTITIONS: i32 = 4;
/// Wall clock at the start, and event time of most runs.
pub(super) const START: Timestamp = 1_000_000_000;
/// Event time at the start of the others: three days before, beyond what the retention of changelogs allows for.
pub(super) const LONG_AGO: Timestamp = START - 3 * 86_400_000;
const TOPICS: [&str; 4] = ["in", "windows-out", "totals-out", "ticks-out"];
/// The sinks beyond Kafka; each run gives them rows of its own.
pub(super) const SINKS: [&str; 2] = ["windows-sink", "totals-sink"];
pub(super) const WINDOW_MS: i64 = 100;
pub(super) const GRACE_MS: i64 = 50;
pub(super) const RETENTION_MS: i64 = 200;
const TICK_MS: i64 = 45;

/// The topology, ready to run.
pub(super) struct Scene {
    pub topology: Arc<Topology>,
    pub resolved: Arc<Resolved>,
    /// Topics that are not the application's own.
    pub topics: Vec<Arc<str>>,
    /// Where the input comes from, and the verdict; `None` for the lists above.
    pub play: Option<&'static Play>,
}

/// Another key that several input partitions share.
pub(super) fn total_key(key: &str) -> String {
    format!("t{}", &key[key.len() - 1..])
}

impl Scene {
    pub(super) fn new(cached: bool) -> Self {
        let builder = StreamsBuilder::new();
        let cache = |m: Materialized<String, Vec<u8>>| if cached { m } else { m.with_caching_disabled() };
        builder.add_state_store(StoreBuilder::key_value(
            "ticks",
            crate::codec::serdes::string(),
            crate::codec::serdes::i64(),
        ));
        let input = builder.stream::<String, i64>("in");
        let windows = input
            .group_by_key()
            .windowed_by(TimeWindows::of_size_and_grace(ms(WINDOW_MS), ms(GRACE_MS)))
            .aggregate_with(
                Vec::new,
                |_, value, list| Some(listed(list, value)),
                cache(Materialized::as_store("windows").with_retention(ms(RETENTION_MS))),
            )
            .to_stream();
        windows.to("windows-out");
        windows.to_sink(SINKS[0], MemorySink::default(), Produced::default());
        let totals = input
            .group_by(|key, _| key.map(|k| total_key(k)))
            .aggregate_with(
                Vec::new,
                |_, value, list| Some(listed(list, value)),
                cache(Materialized::as_store("totals")),
            )
            .to_stream();
        totals.to("totals-out");
        totals.to_sink(SINKS[1], MemorySink::default(), Produced::default());
        input.process(|| Ticker, &["ticks"]).to("ticks-out");
        let topology = builder.build().expect("the simulated topology is sound");
        Self::with(topology, TOPICS.iter().map(|t| Arc::from(*t)).collect(), None)
    }

    /// The topology of a play.
    pub(super) fn of(play: &'static Play) -> Self {
        let topology = play.topology();
        let mut topics: Vec<Arc<str>> = play.inputs.iter().map(|t| Arc::from(*t)).collect();
        topics.extend(topology.external_sinks());
        Self::with(topology, topics, Some(play))
    }

    fn with(topology: Topology, topics: Vec<Arc<str>>, play: Option<&'static Play>) -> Self {
        let counts = topics.iter().map(|t| (Arc::clone(t), PARTITIONS)).collect();
        let resolved = topology.resolve(APPLICATION, &counts).expect("all topics are there");
        Self { topology: Arc::new(topology), resolved: Arc::new(resolved), topics, play }
    }

    /// Name and shape of each store with the topic that it is logged to, and its sub-topology.
    pub(super) fn stores(&self) -> impl Iterator<Item = (u32, &StoreSpec, &Arc<str>)> {
        let subs = self.resolved.sub_topologies.iter();
        subs.flat_map(|s| s.stores.iter().filter_map(|p| Some((s.id, &p.spec, p.changelog.as_ref()?))))
    }
}

/// A list with one more record.
fn listed(mut list: Vec<u8>, value: Option<&i64>) -> Vec<u8> {
    list.extend_from_slice(&value.copied().unwrap_or(-1).to_be_bytes());
    list
}

/// Writes when the clock says so, never because of a record.
struct Ticker;

impl Processor<String, i64, String, i64> for Ticker {
    fn init(&mut self, cx: &mut ProcessorContext<'_, String, i64>) -> Result<()> {
        cx.schedule(ms(TICK_MS), Punctuation::WallClock).map(drop)
    }

    fn process(&mut self, _: &mut ProcessorContext<'_, String, i64>, _: Record<'_, String, i64>) -> Result<()> {
        Ok(())
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, String, i64>,
        _: ScheduleId,
        timestamp: Timestamp,
    ) -> Result<()> {
        let key = format!("p{}", cx.task_id().partition);
        let mut store = cx.store::<String, i64>("ticks")?;
        let next = store.get(&key)?.unwrap_or(0) + 1;
        store.put(&key, &next)?;
        cx.forward(Record::new(Some(&key), Some(&next), timestamp))
    }
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}
