//! The verdict at least once: repeats are allowed, skipped input is not.
//!
//! - Every committed input record is in some value of every output that it belongs to, without exception: offsets are
//!   committed only after output is acknowledged, and the group refuses the offsets of a member it has given up on.
//! - The last value in the changelog holds every record too, and so does a disk closed cleanly with the changelog above
//!   its position. One exception: a member that stood still beyond its session and goes on may write an older value
//!   over a newer one, because nothing fences a plain producer (Kafka Streams has the same hole). Such writes are known
//!   here, and excuse just the records that they themselves lack.
//! - No value holds a record that does not belong there.

use super::{
    checker::{Kept, Rows, Truth, numbers},
    scene,
};
use crate::{
    embedded::MemoryDisks,
    record::{RawRecord, TopicPartition},
    sink::MemorySink,
    state::{Backend, MemoryBackend},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A record that a member wrote after others had taken over.
pub(super) type StaleWrite = (TopicPartition, RawRecord);

fn strangers(what: &str, key: &Bytes, truth: &Rows, list: &[i64]) -> Result<(), String> {
    let known = truth.get(key).map_or(&[][..], Vec::as_slice);
    match list.iter().find(|n| !known.contains(n)) {
        Some(number) => Err(format!("{what}: record {number} is in {key:?} and does not belong there")),
        None => Ok(()),
    }
}

/// Every record of the truth must be in some value of its key.
pub(super) fn check_output(truth: &Truth<'_>, topic: &str, rows: &Rows) -> Result<(), String> {
    let mut seen: BTreeMap<Bytes, BTreeSet<i64>> = BTreeMap::new();
    for partition in 0..scene::PARTITIONS {
        for record in truth.read(topic, partition) {
            let key = record.key.unwrap_or_default();
            let list = numbers(&record.value.unwrap_or_default());
            strangers(topic, &key, rows, &list)?;
            seen.entry(key).or_default().extend(list);
        }
    }
    match unseen(rows, &seen) {
        Some((key, number)) => {
            let history = truth.history(topic, key);
            Err(format!("{topic}: record {number} of {key:?} is in no value: {history}"))
        }
        None => Ok(()),
    }
}

/// The first key and record of the truth that no value holds.
fn unseen<'a>(truth: &'a Rows, seen: &BTreeMap<Bytes, BTreeSet<i64>>) -> Option<(&'a Bytes, i64)> {
    truth.iter().find_map(|(key, list)| {
        let seen = seen.get(key);
        Some((key, *list.iter().find(|n| seen.is_none_or(|seen| !seen.contains(n)))?))
    })
}

/// As [`check_output`], of all rows that reached a sink beyond Kafka.
pub(super) fn check_sink(name: &str, sink: &MemorySink, truth: &Rows) -> Result<(), String> {
    let mut seen: BTreeMap<Bytes, BTreeSet<i64>> = BTreeMap::new();
    for written in sink.written() {
        let list = numbers(&written.row.value.unwrap_or_default());
        strangers(name, &written.row.key, truth, &list)?;
        seen.entry(written.row.key).or_default().extend(list);
    }
    match unseen(truth, &seen) {
        Some((key, number)) => Err(format!("{name}: record {number} of {key:?} reached it in no row")),
        None => Ok(()),
    }
}

/// The changelog, and every disk that was closed cleanly together with the changelog above its position, must hold
/// every record of the truth; where no member wrote out of turn, disk and changelog must be the same.
pub(super) fn check_store(truth: &Truth<'_>, kept: &Kept<'_>, disks: &[MemoryDisks]) -> Result<(), String> {
    let (name, task) = (&kept.spec.name, kept.task);
    let mut stale: BTreeMap<Bytes, Vec<Vec<i64>>> = BTreeMap::new();
    for (_, record) in truth.stale.iter().filter(|(tp, _)| *tp == kept.changelog) {
        let key = record.key.clone().unwrap_or_default();
        let row = kept.spec.kind.row_of(&key).map_err(|fault| fault.to_string())?;
        stale.entry(row).or_default().push(numbers(record.value.as_deref().unwrap_or_default()));
    }
    let empty: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let logged = truth.contents(kept, empty)?;
    holds_all(&format!("changelog of {name} {task}"), &kept.truth, &logged, &stale)?;
    for (process, disks) in disks.iter().enumerate() {
        let Some(backend) = disks.backend(task, name) else { continue };
        if !backend.saved().map_err(|fault| fault.to_string())?.is_some_and(|saved| saved.clean) {
            continue;
        }
        let what = format!("disk {process} of {name} {task}");
        let found = truth.contents(kept, Arc::clone(backend))?;
        holds_all(&what, &kept.truth, &found, &stale)?;
        if stale.is_empty() && found != logged {
            return Err(format!("{what} gives {found:?}, its changelog alone {logged:?}"));
        }
    }
    Ok(())
}

fn holds_all(what: &str, truth: &Rows, found: &Rows, stale: &BTreeMap<Bytes, Vec<Vec<i64>>>) -> Result<(), String> {
    for (row, list) in found {
        strangers(what, row, truth, list)?;
    }
    for (row, list) in truth {
        let found = found.get(row).map_or(&[][..], Vec::as_slice);
        let overwritten = |number: &i64| stale.get(row).is_some_and(|s| s.iter().any(|list| !list.contains(number)));
        if let Some(number) = list.iter().find(|n| !found.contains(n) && !overwritten(n)) {
            return Err(format!("{what}: record {number} is not in {row:?}, which holds {found:?}"));
        }
    }
    Ok(())
}
