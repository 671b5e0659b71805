//! The verdict: output, changelogs and disks against a recount of the committed input that uses no operator.

use super::scene::{self, GRACE_MS, RETENTION_MS, Scene, WINDOW_MS, total_key};
use crate::{
    embedded::MemoryDisks,
    log::{Isolation, Log},
    record::{Offset, RawRecord, TaskId, Timestamp, TopicPartition},
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
}

type Rows = BTreeMap<Bytes, i64>;

/// The recount of one input partition.
#[derive(Default)]
struct Recount {
    /// By key and window start, all windows that ever were.
    windows: BTreeMap<(String, Timestamp), i64>,
    /// Greatest window start.
    newest: Timestamp,
}

fn number(bytes: Option<&[u8]>) -> i64 {
    bytes.and_then(|b| b.try_into().ok()).map_or(i64::MIN, i64::from_be_bytes)
}

fn text(bytes: Option<&Bytes>) -> String {
    bytes.map_or_else(|| "null".into(), |b| String::from_utf8_lossy(b).into_owned())
}

impl Truth<'_> {
    fn read(&self, topic: &str, partition: i32) -> Vec<RawRecord> {
        let tp = TopicPartition::new(topic, partition);
        self.log.read_all(&tp, Isolation::ReadCommitted).expect("a topic of the scene")
    }

    /// Counts one partition again, and adds what it gives to the totals.
    fn recount(&self, partition: i32, totals: &mut Rows) -> Recount {
        let mut recount = Recount::default();
        let mut stream_time = Timestamp::MIN;
        for record in self.read("in", partition) {
            let key = text(record.key.as_ref());
            *totals.entry(total_key(&key).into()).or_default() += number(record.value.as_deref());
            stream_time = stream_time.max(record.timestamp);
            let start = record.timestamp - record.timestamp % WINDOW_MS;
            if start + WINDOW_MS + GRACE_MS > stream_time {
                *recount.windows.entry((key, start)).or_default() += 1;
                recount.newest = recount.newest.max(start);
            }
        }
        recount
    }

    /// Values of an output topic must end with the true ones, and each key's values must grow: a repeat shows.
    fn check_output(&self, topic: &str, truth: &Rows) -> Result<(), String> {
        let mut last: Rows = BTreeMap::new();
        for partition in 0..scene::PARTITIONS {
            for record in self.read(topic, partition) {
                let key = record.key.clone().unwrap_or_default();
                let value = number(record.value.as_deref());
                if let Some(before) = last.insert(key.clone(), value)
                    && value <= before
                    && self.guarantee == Guarantee::ExactlyOnceV2
                {
                    let history = self.history(topic, partition, &key);
                    return Err(format!("{topic}-{partition}: {key:?} went from {before} to {value}: {history}"));
                }
            }
        }
        self.compare(topic, truth, &last).map_err(|wrong| {
            let keys = truth.keys().filter(|k| truth.get(*k) != last.get(*k)).take(3);
            let of = |k: &Bytes| {
                (0..scene::PARTITIONS)
                    .map(|p| format!("{p}: {}", self.history(topic, p, k)))
                    .collect::<Vec<_>>()
                    .join("; ")
            };
            format!("{wrong}: {}", keys.map(of).collect::<Vec<_>>().join(" | "))
        })
    }

    /// All values of a key by offset.
    fn history(&self, topic: &str, partition: i32, key: &Bytes) -> String {
        let records = self.read(topic, partition);
        let of_key = records.iter().filter(|r| r.key.as_ref() == Some(key));
        of_key.map(|r| format!("{}@{}", number(r.value.as_deref()), r.offset)).collect::<Vec<_>>().join(" ")
    }

    fn compare(&self, what: &str, truth: &Rows, found: &Rows) -> Result<(), String> {
        for (key, value) in truth {
            let other = found.get(key).copied();
            let right = match self.guarantee {
                Guarantee::ExactlyOnceV2 => other == Some(*value),
                Guarantee::AtLeastOnce => other.is_some_and(|o| o >= *value),
            };
            if !right {
                return Err(format!("{what}: {key:?} is {other:?}, should be {value}"));
            }
        }
        match found.keys().find(|k| !truth.contains_key(*k)) {
            Some(key) => Err(format!("{what}: {key:?} should not be there")),
            None => Ok(()),
        }
    }

    /// What a store holds that was opened over `backend` and restored from the position that it names.
    fn contents(
        &self,
        spec: &StoreSpec,
        backend: Arc<dyn Backend>,
        changelog: &str,
        partition: i32,
    ) -> Result<Rows, String> {
        let fault = |f: crate::fault::Fault| f.to_string();
        let saved = backend.saved().map_err(fault)?;
        let from: Offset = saved.as_ref().map_or(0, |s| s.position);
        let end = self.log.end(&TopicPartition::new(changelog, partition)).map_err(|e| e.to_string())?;
        if from > end {
            return Err(format!("position {from} lies above the end {end} of {changelog}-{partition} (I2)"));
        }
        let mut store = Store::new(spec.clone(), backend, saved.as_ref(), true);
        for record in self.read(changelog, partition).iter().filter(|r| r.offset >= from) {
            let key = record.key.as_ref().ok_or("a changelog record without a key")?;
            store.restore(key, record.value.as_ref(), record.timestamp).map_err(fault)?;
        }
        let mut rows = BTreeMap::new();
        store
            .scan(b"", None, false, &mut |row, value| {
                rows.insert(Bytes::copy_from_slice(row), number(Some(&value.value)));
                ControlFlow::Continue(())
            })
            .map_err(fault)?;
        Ok(rows)
    }

    /// Every disk, however old, must give the truth together with the changelog above its position (I1, I2); so must
    /// an empty one.
    fn check_stores(&self, disks: &[MemoryDisks], truth: &dyn Fn(&str, i32) -> Rows) -> Result<(), String> {
        // At least once a tick may be out although its row was lost; the next tick is then a repeat.
        let exactly_once = self.guarantee == Guarantee::ExactlyOnceV2;
        for (sub_topology, spec, changelog) in self.scene.stores().filter(|s| exactly_once || &*s.1.name != "ticks") {
            for partition in 0..scene::PARTITIONS {
                let task = TaskId { sub_topology, partition };
                let truth = truth(&spec.name, partition);
                let empty: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
                let found = self.contents(spec, empty, changelog, partition)?;
                self.compare(&format!("changelog of {} {task}", spec.name), &truth, &found)?;
                if !exactly_once {
                    continue;
                }
                for (process, disks) in disks.iter().enumerate() {
                    let Some(backend) = disks.backend(task, &spec.name) else { continue };
                    let found = self.contents(spec, Arc::clone(backend), changelog, partition)?;
                    self.compare(&format!("disk {process} of {} {task}", spec.name), &truth, &found)?;
                }
            }
        }
        Ok(())
    }
}

/// Compares everything that a run left behind with the recount.
pub(super) fn check(truth: &Truth<'_>, disks: &[MemoryDisks]) -> Result<(), String> {
    let mut totals = BTreeMap::new();
    let recounts: Vec<Recount> = (0..scene::PARTITIONS).map(|p| truth.recount(p, &mut totals)).collect();
    let mut windows = BTreeMap::new();
    for ((key, start), count) in recounts.iter().flat_map(|r| &r.windows) {
        windows.insert([key.as_bytes(), &start.to_be_bytes()].concat().into(), *count);
    }
    truth.check_output("windows-out", &windows)?;
    truth.check_output("totals-out", &totals)?;
    let ticks = ticks(truth)?;
    let mut by_partition: BTreeMap<i32, Rows> = BTreeMap::new();
    for (key, value) in &totals {
        let partition = crate::codec::partition_for(key, scene::PARTITIONS);
        by_partition.entry(partition).or_default().insert(key.clone(), *value);
    }
    truth.check_stores(disks, &|store, partition| match store {
        "windows" => {
            let recount = &recounts[partition as usize];
            let live = |start: Timestamp| start > recount.newest - RETENTION_MS;
            let rows = recount.windows.iter().filter(|((_, start), _)| live(*start));
            rows.map(|((key, start), count)| (window_row(*start, key.as_bytes()), *count)).collect()
        }
        "totals" => by_partition.get(&partition).cloned().unwrap_or_default(),
        _ => ticks.iter().filter(|(key, _)| **key == format!("p{partition}")).map(|(k, v)| (k.clone(), *v)).collect(),
    })
}

/// The last tick of each task; exactly once they come without a gap or a repeat.
fn ticks(truth: &Truth<'_>) -> Result<Rows, String> {
    let mut last: Rows = BTreeMap::new();
    for partition in 0..scene::PARTITIONS {
        for record in truth.read("ticks-out", partition) {
            let (key, value) = (record.key.clone().unwrap_or_default(), number(record.value.as_deref()));
            let before = last.insert(key.clone(), value).unwrap_or(0);
            if truth.guarantee == Guarantee::ExactlyOnceV2 && value != before + 1 {
                return Err(format!("ticks-out: {key:?} went from {before} to {value}"));
            }
        }
    }
    Ok(last)
}
