//! The verdict: output, changelogs and disks against a recount of the committed input that uses no operator.

use super::{
    repeats::{self, StaleWrite},
    scene::{self, GRACE_MS, RETENTION_MS, Scene, WINDOW_MS, total_key},
};
use crate::{
    embedded::MemoryDisks,
    log::{Isolation, Log},
    record::{Offset, RawRecord, TaskId, Timestamp, TopicPartition},
    sink::MemorySink,
    state::{Backend, MemoryBackend, Store, StoreSpec, window_row},
    worker::Guarantee,
};
use bytes::Bytes;
use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

/// What is true at the end of a run.
pub(super) struct Truth<'a> {
    pub log: &'a Log,
    pub scene: &'a Scene,
    pub guarantee: Guarantee,
    /// What members wrote after others had taken over.
    pub stale: &'a [StaleWrite],
    /// What the sinks beyond Kafka hold, in the order of [`scene::SINKS`].
    pub sinks: &'a [MemorySink; 2],
}

/// Numbers of input records by key or row.
pub(super) type Rows = BTreeMap<Bytes, Vec<i64>>;

/// One logged store of one partition, and what it should hold.
pub(super) struct Kept<'a> {
    pub task: TaskId,
    pub spec: &'a StoreSpec,
    pub changelog: TopicPartition,
    pub truth: Rows,
}

/// The recount of one input partition.
#[derive(Default)]
struct Recount {
    /// By key and window start, all windows that ever were.
    windows: BTreeMap<(String, Timestamp), Vec<i64>>,
    /// Greatest window start.
    newest: Timestamp,
}

impl Recount {
    /// Windows that have not expired, by row.
    fn live(&self) -> Rows {
        let rows = self.windows.iter().filter(|((_, start), _)| *start > self.newest - RETENTION_MS);
        rows.map(|((key, start), list)| (window_row(*start, key.as_bytes()), list.clone())).collect()
    }
}

/// The numbers in a value.
pub(super) fn numbers(value: &[u8]) -> Vec<i64> {
    value.chunks(8).map(|n| n.try_into().map_or(i64::MIN, i64::from_be_bytes)).collect()
}

fn text(bytes: Option<&Bytes>) -> String {
    bytes.map_or_else(|| "null".into(), |b| String::from_utf8_lossy(b).into_owned())
}

fn sorted(list: &[i64]) -> Vec<i64> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list
}

impl Truth<'_> {
    pub(super) fn read(&self, topic: &str, partition: i32) -> Vec<RawRecord> {
        let tp = TopicPartition::new(topic, partition);
        self.log.read_all(&tp, Isolation::ReadCommitted).expect("a topic of the scene")
    }

    /// Lists one partition again up to an offset, and adds what it gives to the totals.
    fn recount(&self, partition: i32, end: Offset, totals: &mut Rows) -> Recount {
        let mut recount = Recount::default();
        let mut stream_time = Timestamp::MIN;
        for record in self.read("in", partition).into_iter().take_while(|record| record.offset < end) {
            let key = text(record.key.as_ref());
            let number = numbers(&record.value.unwrap_or_default());
            totals.entry(total_key(&key).into()).or_default().extend(&number);
            stream_time = stream_time.max(record.timestamp);
            let start = record.timestamp - record.timestamp % WINDOW_MS;
            if start + WINDOW_MS + GRACE_MS > stream_time {
                recount.windows.entry((key, start)).or_default().extend(&number);
                recount.newest = recount.newest.max(start);
            }
        }
        recount
    }

    /// All windows of a partition that its input up to an offset makes.
    pub(super) fn windows(&self, partition: i32, end: Offset) -> BTreeMap<(String, Timestamp), Vec<i64>> {
        self.recount(partition, end, &mut Rows::new()).windows
    }

    /// Those of them that have not expired, by row.
    pub(super) fn live_windows(&self, partition: i32, end: Offset) -> Rows {
        self.recount(partition, end, &mut Rows::new()).live()
    }

    /// Values of an output topic must end with the true ones, and each key's list must grow: a repeat shows.
    fn check_output(&self, topic: &str, truth: &Rows) -> Result<(), String> {
        let mut last: Rows = BTreeMap::new();
        for partition in 0..scene::PARTITIONS {
            for record in self.read(topic, partition) {
                let key = record.key.clone().unwrap_or_default();
                let list = numbers(&record.value.unwrap_or_default());
                if let Some(before) = last.insert(key.clone(), list.clone())
                    && !(list.len() > before.len() && list.starts_with(&before))
                {
                    let history = self.history(topic, &key);
                    return Err(format!("{topic}-{partition}: {key:?} went from {before:?} to {list:?}: {history}"));
                }
            }
        }
        compare(topic, truth, &last).map_err(|wrong| {
            let keys = truth.keys().filter(|k| truth.get(*k) != last.get(*k)).take(3);
            format!("{wrong}: {}", keys.map(|k| self.history(topic, k)).collect::<Vec<_>>().join(" | "))
        })
    }

    /// All values of a key by partition and offset.
    pub(super) fn history(&self, topic: &str, key: &Bytes) -> String {
        let mut history = String::new();
        for partition in 0..scene::PARTITIONS {
            for record in self.read(topic, partition).into_iter().filter(|r| r.key.as_ref() == Some(key)) {
                let list = numbers(&record.value.unwrap_or_default());
                history.push_str(&format!("{partition}@{} {list:?} ", record.offset));
            }
        }
        history
    }

    /// What a store holds that was opened over `backend` and restored from the position that it names.
    pub(super) fn contents(&self, kept: &Kept<'_>, backend: Arc<dyn Backend>) -> Result<Rows, String> {
        let changelog = &kept.changelog;
        let fault = |f: crate::fault::Fault| f.to_string();
        let saved = backend.saved().map_err(fault)?;
        let from: Offset = saved.as_ref().map_or(0, |s| s.position);
        let end = self.log.end(changelog).map_err(|e| e.to_string())?;
        if from > end {
            return Err(format!("position {from} lies above the end {end} of {changelog} (I2)"));
        }
        let mut store = Store::new(kept.spec.clone(), backend, saved.as_ref(), true);
        for record in self.read(&changelog.topic, changelog.partition).iter().filter(|r| r.offset >= from) {
            let key = record.key.as_ref().ok_or("a changelog record without a key")?;
            store.restore(key, record.value.as_ref(), record.timestamp).map_err(fault)?;
        }
        let mut rows = BTreeMap::new();
        store
            .scan(b"", None, false, &mut |row, value| {
                rows.insert(Bytes::copy_from_slice(row), numbers(&value.value));
                ControlFlow::Continue(())
            })
            .map_err(fault)?;
        Ok(rows)
    }

    /// Every disk, however old, must give the truth together with the changelog above its position (I1, I2); so must
    /// an empty one.
    fn check_store(&self, kept: &Kept<'_>, disks: &[MemoryDisks]) -> Result<(), String> {
        let (name, task) = (&kept.spec.name, kept.task);
        let empty: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
        compare(&format!("changelog of {name} {task}"), &kept.truth, &self.contents(kept, empty)?)?;
        for (process, disks) in disks.iter().enumerate() {
            let Some(backend) = disks.backend(task, name) else { continue };
            let found = self.contents(kept, Arc::clone(backend))?;
            compare(&format!("disk {process} of {name} {task}"), &kept.truth, &found)?;
        }
        Ok(())
    }

    /// The last tick of each task; they come without a gap or a repeat.
    fn ticks(&self) -> Result<Rows, String> {
        let mut last: Rows = BTreeMap::new();
        for partition in 0..scene::PARTITIONS {
            for record in self.read("ticks-out", partition) {
                let (key, tick) = (record.key.unwrap_or_default(), numbers(&record.value.unwrap_or_default()));
                let before = last.insert(key.clone(), tick.clone()).map_or(0, |list| list[0]);
                if tick != [before + 1] {
                    return Err(format!("ticks-out: {key:?} went from {before} to {tick:?}"));
                }
            }
        }
        Ok(last)
    }
}

fn compare(what: &str, truth: &Rows, found: &Rows) -> Result<(), String> {
    for (key, list) in truth {
        let other = found.get(key);
        if other.is_none_or(|other| sorted(other) != sorted(list)) {
            return Err(format!("{what}: {key:?} is {other:?}, should be {list:?}"));
        }
    }
    match found.keys().find(|k| !truth.contains_key(*k)) {
        Some(key) => Err(format!("{what}: {key:?} should not be there")),
        None => Ok(()),
    }
}

/// Every row of a sink must be the last one of its key.
fn check_sink(name: &str, sink: &MemorySink, truth: &Rows) -> Result<(), String> {
    let rows = sink.rows().into_iter().map(|(key, row)| (key, numbers(&row.value.unwrap_or_default())));
    compare(name, truth, &rows.collect())
}

/// Compares everything that a run left behind with the recount.
pub(super) fn check(truth: &Truth<'_>, disks: &[MemoryDisks]) -> Result<(), String> {
    let mut totals = BTreeMap::new();
    let recounts: Vec<Recount> = (0..scene::PARTITIONS).map(|p| truth.recount(p, Offset::MAX, &mut totals)).collect();
    let mut windows = BTreeMap::new();
    for ((key, start), list) in recounts.iter().flat_map(|r| &r.windows) {
        windows.insert([key.as_bytes(), &start.to_be_bytes()].concat().into(), list.clone());
    }
    let exactly_once = truth.guarantee == Guarantee::ExactlyOnceV2;
    let ticks = if exactly_once { Some(truth.ticks()?) } else { None };
    for (topic, rows) in [("windows-out", &windows), ("totals-out", &totals)] {
        if exactly_once { truth.check_output(topic, rows)? } else { repeats::check_output(truth, topic, rows)? }
    }
    for ((name, sink), rows) in scene::SINKS.into_iter().zip(truth.sinks).zip([&windows, &totals]) {
        if exactly_once { check_sink(name, sink, rows)? } else { repeats::check_sink(name, sink, rows)? }
    }
    let of_store = |store: &str, partition: i32| -> Option<Rows> {
        Some(match store {
            "windows" => recounts[partition as usize].live(),
            "totals" => {
                let here = |key: &Bytes| crate::codec::partition_for(key, scene::PARTITIONS) == partition;
                totals.iter().filter(|(key, _)| here(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
            }
            // A punctuation is no input: at least once it may be lost or repeated.
            _ => {
                let key = Bytes::from(format!("p{partition}"));
                ticks.as_ref()?.get_key_value(&key).map(|(k, v)| (k.clone(), v.clone())).into_iter().collect()
            }
        })
    };
    for (sub_topology, spec, changelog) in truth.scene.stores() {
        for partition in 0..scene::PARTITIONS {
            let Some(rows) = of_store(&spec.name, partition) else { continue };
            let changelog = TopicPartition::new(Arc::clone(changelog), partition);
            let kept = Kept { task: TaskId { sub_topology, partition }, spec, changelog, truth: rows };
            if exactly_once { truth.check_store(&kept, disks)? } else { repeats::check_store(truth, &kept, disks)? }
        }
    }
    Ok(())
}
