//! The stores of a task and how complete they are: all that restore (and later a standby) needs.

use super::{
    metadata::floor_name,
    outbox::{Changelog, Outbox},
};
use crate::{
    fault::{Fault, Result},
    record::{Offset, RawRecord, TaskId, Timestamp, TopicPartition},
    state::{Backend, Saved, Store},
    topology::{SourceRows, StorePlan},
};
use std::{collections::BTreeMap, sync::Arc};

/// What is done with the state found on disk (I2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is proved right: restore goes on from its position.
    Keep,
    /// There is none.
    Empty,
    /// It can't be proved right, and why.
    Discard(String),
}

/// How a state's description is judged.
pub struct Judge<'a> {
    /// The cluster at hand.
    pub cluster_id: &'a str,
    /// Id of the changelog topic at hand.
    pub topic_id: &'a str,
    /// First offset still in the changelog.
    pub start: Offset,
    /// Its read-uncommitted end.
    pub end: Offset,
    /// Wall clock.
    pub now: Timestamp,
    /// `delete.retention.ms` of the changelog.
    pub delete_retention_ms: i64,
    /// True when only a clean close is trusted (at least once).
    pub clean_only: bool,
}

impl Judge<'_> {
    /// Judges what a backend says of itself. A tenth of the retention is kept as a margin for the restore's own time.
    pub fn verdict(&self, saved: Option<&Saved>) -> Verdict {
        let Some(saved) = saved else { return Verdict::Empty };
        let age = self.now - saved.covered_at;
        let discard = |why: String| Verdict::Discard(why);
        if saved.cluster_id != self.cluster_id {
            discard(format!("it belongs to cluster {}, this is {}", saved.cluster_id, self.cluster_id))
        } else if saved.topic_id != self.topic_id {
            discard("its changelog topic was deleted and made again".into())
        } else if self.clean_only && !saved.clean {
            discard("it was not closed cleanly, and at_least_once trusts nothing else".into())
        } else if saved.position > self.end {
            discard(format!("its position {} lies above the changelog's end {}", saved.position, self.end))
        } else if saved.position == self.end {
            Verdict::Keep
        } else if saved.position < self.start {
            discard(format!("its position {} lies below the changelog's start {}", saved.position, self.start))
        } else if age > self.delete_retention_ms - self.delete_retention_ms / 10 {
            discard(format!("it is {age} ms old, and deletions may be gone after {} ms", self.delete_retention_ms))
        } else {
            Verdict::Keep
        }
    }
}

/// One store with its changelog partition.
pub struct Slot {
    /// The rows.
    pub store: Store,
    /// Where they are restored from, if they are: their log, or the source partition in its place.
    pub changelog: Option<TopicPartition>,
    /// For a source partition: what makes rows of its records.
    pub source: Option<SourceRows>,
    /// The cluster of the changelog.
    pub cluster_id: String,
    /// Id of the changelog topic.
    pub topic_id: String,
    /// Name under which the floor of the changelog travels; `None` where rows do not expire, or the log is not known by
    /// an id.
    floor_name: Option<Arc<str>>,
    /// Where the running restore ends; `None` when there is none.
    pub target: Option<Offset>,
    /// True when the running restore reads all that the log holds: of a source partition input may still be to come.
    pub whole: bool,
    /// Greatest timestamp that was restored.
    pub latest: Timestamp,
    /// Wall clock when the running restore asked for its end: what it reads was there then.
    pub asked_at: Timestamp,
    /// Records restored so far.
    pub restored: u64,
}

impl Slot {
    /// True when the store's stream time travels with the committed offsets: rows expire by it.
    pub(super) fn expires(&self) -> bool {
        self.changelog.is_some() && self.store.spec().retention_ms().is_some()
    }

    /// Where a restore may start, as the times of committed metadata say.
    pub(super) fn floor_in(&self, times: &BTreeMap<String, i64>) -> Option<Offset> {
        times.get(self.floor_name.as_deref()?).copied()
    }
}

/// The stores of one task.
#[derive(Default)]
pub struct Replica {
    /// By [`StoreIx`](crate::record::StoreIx).
    pub slots: Vec<Slot>,
    /// True when every store holds all that was committed when the task was assigned.
    pub complete: bool,
}

impl Replica {
    /// Adds an opened store.
    pub fn push(&mut self, task: TaskId, plan: &StorePlan, store: Store, cluster_id: String, topic_id: String) {
        let changelog = plan.changelog.as_ref().map(|topic| TopicPartition::new(Arc::clone(topic), task.partition));
        let mut slot = Slot {
            latest: store.stream_time(),
            store,
            changelog,
            source: plan.source.clone(),
            cluster_id,
            topic_id,
            floor_name: None,
            target: None,
            whole: true,
            asked_at: 0,
            restored: 0,
        };
        if slot.expires() && slot.source.is_none() && !slot.topic_id.is_empty() {
            slot.floor_name = Some(floor_name(&slot.topic_id, slot.store.spec().kind).into());
        }
        self.slots.push(slot);
    }

    /// Starts the restore of a store up to `end`. `whole` says that the log ends there.
    pub fn begin_restore(&mut self, slot: usize, (start, end): (Offset, Offset), whole: bool, asked_at: Timestamp) {
        let slot = &mut self.slots[slot];
        slot.whole = whole;
        slot.store.advance_position(start.min(end));
        slot.target = Some(end);
        slot.asked_at = asked_at;
    }

    /// The next piece to read: slot, changelog partition, from, to. Finished restores are closed on the way.
    pub fn next_piece(&mut self, slot: usize) -> Option<(TopicPartition, Offset, Offset)> {
        let slot = &mut self.slots[slot];
        let target = slot.target?;
        if slot.store.position() < target {
            return Some((slot.changelog.clone()?, slot.store.position(), target));
        }
        slot.target = None;
        if slot.whole {
            slot.store.covered(slot.asked_at);
        } else {
            slot.store.note_unsaved(slot.asked_at);
        }
        None
    }

    /// Applies one piece of a changelog.
    ///
    /// # Errors
    /// When a changelog key is malformed.
    pub fn restore(&mut self, slot: usize, records: &[RawRecord], position: Offset) -> Result<()> {
        let slot = &mut self.slots[slot];
        let place = || slot.changelog.as_ref().map_or_else(String::new, ToString::to_string);
        for record in records {
            if let Some(source) = &slot.source {
                if let Some(row) = source.row(record, slot.latest) {
                    slot.latest = slot.latest.max(row.timestamp);
                    slot.store.restore(&row.key, row.value.as_ref(), row.timestamp)?;
                }
                continue;
            }
            let Some(key) = &record.key else {
                return Err(Fault::stop("changelog record without a key")
                    .at(place())
                    .hint("is it another program's topic?"));
            };
            slot.store.restore(key, record.value.as_ref(), record.timestamp)?;
        }
        slot.restored += records.len() as u64;
        slot.store.advance_position(position);
        Ok(())
    }

    /// By name, where a restore of each store may start once the open transaction is committed.
    pub(super) fn floors(&self) -> BTreeMap<String, Offset> {
        let floor = |slot: &Slot| Some((slot.floor_name.as_deref()?.to_owned(), slot.store.changelog_floor()?));
        self.slots.iter().filter_map(floor).collect()
    }

    /// Hands the dirty rows of all stores to the outbox as changelog records.
    pub fn drain(&mut self, outbox: &mut Outbox, partition: i32) {
        for slot in &mut self.slots {
            let nowhere: Arc<str> = "".into();
            let topic = slot.changelog.as_ref().map_or(&nowhere, |tp| &tp.topic);
            slot.store.drain(&mut Changelog { topic, partition, outbox });
        }
    }

    /// Records that the restore still has to read, counted in offsets.
    pub fn remaining(&self) -> i64 {
        self.slots.iter().filter_map(|s| Some((s.target? - s.store.position()).max(0))).sum()
    }

    /// Bytes of uncommitted rows.
    pub fn overlay_bytes(&self) -> usize {
        self.slots.iter().map(|s| s.store.overlay_bytes()).sum()
    }

    /// Bytes of committed rows in memory.
    pub fn table_bytes(&self) -> usize {
        self.slots.iter().map(|s| s.store.table_bytes()).sum()
    }

    /// Backends that survive the process.
    pub fn durable(&self) -> bool {
        self.slots.iter().any(|s| s.store.backend().durable())
    }

    /// The backend of a slot.
    pub fn backend(&self, slot: usize) -> Arc<dyn Backend> {
        Arc::clone(self.slots[slot].store.backend())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(position: Offset) -> Saved {
        Saved {
            position,
            stream_time: -1,
            cluster_id: "c".into(),
            topic_id: "t".into(),
            covered_at: 1_000,
            clean: false,
        }
    }

    fn judge() -> Judge<'static> {
        Judge {
            cluster_id: "c",
            topic_id: "t",
            start: 5,
            end: 20,
            now: 1_500,
            delete_retention_ms: 1_000,
            clean_only: false,
        }
    }

    #[test]
    fn i2_state_is_kept_only_when_the_changelog_proves_it() {
        let discarded = |judge: &Judge<'_>, s: &Saved| matches!(judge.verdict(Some(s)), Verdict::Discard(_));
        assert_eq!(judge().verdict(None), Verdict::Empty);
        assert_eq!(judge().verdict(Some(&saved(5))), Verdict::Keep);
        assert!(discarded(&judge(), &saved(4)), "below the start");
        assert!(discarded(&judge(), &saved(21)), "above the end");
        assert!(discarded(&judge(), &Saved { topic_id: "u".into(), ..saved(10) }), "another topic");
        assert!(discarded(&judge(), &Saved { cluster_id: "d".into(), ..saved(10) }), "another cluster");
        assert!(discarded(&Judge { now: 1_901, ..judge() }, &saved(10)), "too old");
        assert_eq!(
            Judge { now: 9_000, ..judge() }.verdict(Some(&saved(20))),
            Verdict::Keep,
            "at the end, age is nothing"
        );
        assert!(discarded(&Judge { clean_only: true, ..judge() }, &saved(10)), "not clean");
    }
}
