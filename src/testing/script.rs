//! The input of a [`Play`](super::Play), what an uninterrupted run makes of it, and the verdict on all other runs.

use super::{Chance, DriverOptions, Play, TestDriver, scene, scene::Scene};
use crate::{
    codec::partition_for,
    embedded::MemoryDisks,
    fault::{Fault, Result},
    log::{Isolation, Log},
    record::{Headers, NO_TIMESTAMP, OutRecord, RawRecord, Target, TaskId, Timestamp, TopicPartition},
    state::{Backend, MemoryBackend, Row, Store, StoreKind},
    topology::StorePlan,
    worker::Settings,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

/// Turns of the clock in which what a transaction made visible passes through all repartition topics.
const PASSES: usize = 8;
const COMMIT_MS: i64 = 100;
/// Step of the clock where a play lets it go on.
const LINGER_STEP_MS: i64 = 5;

/// The committed input of one run.
pub(super) struct Script {
    play: &'static Play,
    /// By topic and partition.
    records: BTreeMap<(usize, i32), Vec<RawRecord>>,
    start: Timestamp,
    /// True when record caches leave updates out.
    cached: bool,
}

type Rows = BTreeMap<Bytes, (Bytes, Timestamp)>;

impl Script {
    /// Draws so many records and writes them to the log, with aborted ones among them.
    pub(super) fn write(
        play: &'static Play,
        records: usize,
        start: Timestamp,
        cached: bool,
        chance: &mut Chance,
        log: &mut Log,
    ) -> Self {
        let mut script = Self { play, records: BTreeMap::new(), start, cached };
        let mut times = [start; scene::PARTITIONS as usize];
        let mut left = records;
        let mut number = 0;
        while left > 0 {
            let producer = log.init_transactions("input", 1_000_000, start).expect("nobody else has the id");
            let commit = !chance.one_in(10);
            let count = (chance.below(8) + 1).min(left);
            for _ in 0..count {
                let topic = chance.below(play.inputs.len());
                number += 1;
                let (key, value) = (play.record)(chance, topic, number);
                let key = Bytes::from(key);
                let partition = partition_for(&key, scene::PARTITIONS);
                let time = &mut times[partition as usize];
                *time += chance.between(0, 15);
                if chance.one_in(20) {
                    *time += chance.between(150, 700);
                }
                let late = if chance.one_in(3) { chance.between(0, 180) } else { 0 };
                let raw = RawRecord {
                    offset: 0,
                    timestamp: (*time - late).max(0),
                    key: Some(key),
                    value: value.map(Into::into),
                    headers: Headers::new(),
                };
                let record = OutRecord {
                    topic: play.inputs[topic].into(),
                    partition,
                    key: raw.key.clone(),
                    value: raw.value.clone(),
                    timestamp: raw.timestamp,
                    headers: Headers::new(),
                    target: Target::Sink,
                };
                log.produce(producer, record, start).expect("the transaction is open");
                if commit {
                    script.records.entry((topic, partition)).or_default().push(raw);
                }
            }
            log.end_transaction(producer, commit, start).expect("the transaction is open");
            left -= if commit { count } else { 0 };
        }
        script
    }

    /// How long the clock goes on after the input, in milliseconds.
    pub(super) fn linger_ms(&self) -> i64 {
        self.play.linger_ms
    }

    /// How many records were committed.
    pub(super) fn len(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }

    /// The records in an order in which tasks may take them: by partition, of each the smallest head among its topics,
    /// ties by the order of the topics. Topics of global tables come first.
    fn in_order(&self) -> Vec<(&'static str, &RawRecord)> {
        let mut order = Vec::new();
        let (before, after) = (0..self.play.before, self.play.before..self.play.inputs.len());
        for topics in [before, after] {
            for partition in 0..scene::PARTITIONS {
                let queue = |topic| self.records.get(&(topic, partition)).into_iter().flatten().collect();
                let mut queues: Vec<(usize, VecDeque<&RawRecord>)> = topics.clone().map(|t| (t, queue(t))).collect();
                while let Some((topic, queue)) = queues
                    .iter_mut()
                    .filter(|(_, queue)| !queue.is_empty())
                    .min_by_key(|(topic, queue)| (queue.front().map(|r| r.timestamp), *topic))
                {
                    order.extend(queue.pop_front().map(|record| (self.play.inputs[*topic], record)));
                }
            }
        }
        order
    }

    /// The test driver takes all records, one by one and without a fault.
    fn uninterrupted(&self) -> Result<TestDriver> {
        let settings = Settings { commit_interval_ms: COMMIT_MS, cache_bytes_max: 0, ..Settings::default() };
        let mut driver = TestDriver::with(
            self.play.topology(),
            DriverOptions {
                application_id: scene::APPLICATION.into(),
                partitions: scene::PARTITIONS,
                start_ms: self.start,
                settings,
                ..DriverOptions::default()
            },
        )?;
        for (topic, record) in self.in_order() {
            driver.pipe_raw(topic, record.clone())?;
        }
        for _ in 0..self.play.linger_ms / LINGER_STEP_MS {
            driver.advance(Duration::from_millis(LINGER_STEP_MS.unsigned_abs()))?;
        }
        for _ in 0..PASSES {
            driver.advance(Duration::from_millis(COMMIT_MS.unsigned_abs()))?;
        }
        Ok(driver)
    }

    /// Compares what a run left behind with an uninterrupted one.
    pub(super) fn check(&self, log: &Log, scene: &Scene, disks: &[MemoryDisks]) -> std::result::Result<(), String> {
        let fault = |fault: Fault| fault.to_string();
        let mut driver = self.uninterrupted().map_err(fault)?;
        for topic in scene.topology.external_sinks() {
            let wanted = driver.read_raw(&topic).map_err(fault)?;
            self.check_output(&topic, &wanted, &read(log, &topic))?;
        }
        for sub in &scene.resolved.sub_topologies {
            // A buffer holds the value before the last update too, which a cache may have left out.
            let defined = |plan: &&StorePlan| !(self.cached && plan.spec.kind == StoreKind::Buffer);
            for plan in sub.stores.iter().filter(|plan| plan.changelog.is_some()).filter(defined) {
                for partition in 0..scene::PARTITIONS {
                    let task = TaskId { sub_topology: sub.id, partition };
                    let store =
                        driver.store_of(partition, &plan.spec.name).ok_or("a task of the driver has no store")?;
                    let (time, wanted) = (store.stream_time(), live_rows(store).map_err(fault)?);
                    let empty: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
                    let disks = disks.iter().filter_map(|disks| disks.backend(task, &plan.spec.name));
                    for (place, backend) in std::iter::once(&empty).chain(disks).enumerate() {
                        let found = contents(log, plan, task, backend, time).map_err(fault)?;
                        let what = match place {
                            0 => format!("changelog of {} {task}", plan.spec.name),
                            _ => format!("disk {place} of {} {task}", plan.spec.name),
                        };
                        self.check_rows(&what, &plan.spec.name, &wanted, &found)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn check_output(&self, topic: &str, wanted: &[RawRecord], found: &[RawRecord]) -> std::result::Result<(), String> {
        if !self.cached && !self.play.mixed.contains(&topic) {
            let same = |(a, b): &(&RawRecord, &RawRecord)| {
                (&a.key, &a.value, a.timestamp, &a.headers) == (&b.key, &b.value, b.timestamp, &b.headers)
            };
            let first = wanted.iter().zip(found).position(|pair| !same(&pair));
            return match first {
                Some(at) => Err(format!("{topic}: record {at} is {:?}, should be {:?}", found[at], wanted[at])),
                None if wanted.len() == found.len() => Ok(()),
                None => {
                    let (more, at) = (found.len() > wanted.len(), wanted.len().min(found.len()));
                    let odd = if more { &found[at] } else { &wanted[at] };
                    Err(format!("{topic}: {} records, should be {}: {odd:?}", found.len(), wanted.len()))
                }
            };
        }
        self.check_rows(topic, topic, &last_values(wanted), &last_values(found))
    }

    fn check_rows(&self, what: &str, name: &str, wanted: &Rows, found: &Rows) -> std::result::Result<(), String> {
        let timeless = self.play.mixed.contains(&name) || self.cached && self.play.restamped.contains(&name);
        let same = |a: &(Bytes, Timestamp), b: &(Bytes, Timestamp)| a.0 == b.0 && (timeless || a.1 == b.1);
        for (id, row) in wanted {
            match found.get(id) {
                Some(other) if same(row, other) => {}
                other => return Err(format!("{what}: {id:?} is {other:?}, should be {row:?}")),
            }
        }
        match found.iter().find(|(id, _)| !wanted.contains_key(*id)) {
            Some((id, row)) => Err(format!("{what}: {id:?} is {row:?}, should not be there")),
            None => Ok(()),
        }
    }
}

fn read(log: &Log, topic: &str) -> Vec<RawRecord> {
    let partitions = (0..scene::PARTITIONS).map(|p| TopicPartition::new(topic, p));
    partitions.flat_map(|tp| log.read_all(&tp, Isolation::ReadCommitted).expect("a topic of the play")).collect()
}

/// The last value of each key. Whether a result that never was is also deleted is a matter of order.
fn last_values(records: &[RawRecord]) -> Rows {
    let mut rows = Rows::new();
    for record in records {
        let key = record.key.clone().unwrap_or_default();
        match &record.value {
            Some(value) => rows.insert(key, (value.clone(), record.timestamp)),
            None => rows.remove(&key),
        };
    }
    rows
}

/// What a store holds that was opened over `backend` and restored from its position, as a worker does it.
fn contents(log: &Log, plan: &StorePlan, task: TaskId, backend: &Arc<dyn Backend>, time: Timestamp) -> Result<Rows> {
    let topic = plan.changelog.as_ref().expect("only stores with a changelog are looked at");
    let saved = backend.saved()?;
    let from = saved.as_ref().map_or(0, |saved| saved.position);
    let mut store = Store::new(plan.spec.clone(), Arc::clone(backend), saved.as_ref(), true);
    store.set_stream_time(time);
    let changelog = TopicPartition::new(Arc::clone(topic), task.partition);
    let end = log.end(&changelog).expect("a topic of the play");
    if from > end {
        return Err(Fault::stop(format!("position {from} of {changelog} lies above its end {end} (I2)")));
    }
    let records = log.read_all(&changelog, Isolation::ReadCommitted).expect("a topic of the play");
    for record in records.iter().filter(|record| record.offset >= from) {
        match &plan.source {
            Some(source) => {
                if let Some(row) = source.row(record, NO_TIMESTAMP) {
                    store.restore(&row.key, row.value.as_ref(), row.timestamp)?;
                }
            }
            None => {
                let key = record.key.as_ref().expect("changelog records have keys");
                store.restore(key, record.value.as_ref(), record.timestamp)?;
            }
        }
    }
    live_rows(&mut store)
}

/// Where a row of a buffer holds the offset of its record, which aborted input moves.
const OFFSET_IN_BUFFER: std::ops::Range<usize> = 8..16;

/// The rows that can be read: without an index, those that have expired in a segment that is still kept, and versions
/// that the history no longer reaches.
fn live_rows(store: &mut Store) -> Result<Rows> {
    let mut rows: Vec<(Bytes, Row)> = Vec::new();
    store.scan(b"", None, false, &mut |id, row| {
        rows.push((Bytes::copy_from_slice(id), row));
        ControlFlow::Continue(())
    })?;
    let (kind, time) = (store.spec().kind, store.stream_time());
    let mut live = Rows::new();
    for (id, row) in rows {
        let mut value = row.value.to_vec();
        let readable = match kind {
            StoreKind::Segmented(segmented) => segmented.split(&id).is_some() && store.get(&id)?.is_some(),
            StoreKind::Versioned { .. } => {
                let (key, at) = version_of(&id);
                store.get_versions(key, at, time)?.iter().any(|version| version.timestamp == at)
            }
            _ => true,
        };
        if kind == StoreKind::Buffer || store.spec().name.ends_with("-Buffer") {
            value[OFFSET_IN_BUFFER].fill(0);
        }
        if readable {
            live.insert(id, (value.into(), row.timestamp));
        }
    }
    Ok(live)
}

/// The key and time in the row id of a versioned store: `{length u32}{key}{time i64}`.
fn version_of(id: &[u8]) -> (&[u8], Timestamp) {
    let (key, at) = id[4..].split_last_chunk().expect("a row id ends with a time");
    (key, Timestamp::from_be_bytes(*at))
}
