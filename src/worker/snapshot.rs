//! Figures of a worker at one moment. Counters are plain fields of worker and tasks; whoever serves them reads copies.

use super::{Worker, held::Phase};
use crate::{
    record::{Offset, TaskId, Timestamp, TopicPartition},
    state::Store,
    task::{Counters, Task},
};
use std::{collections::BTreeMap, sync::Arc};

/// Upper bounds of the latency buckets, in milliseconds; the last bucket has none.
pub const LATENCY_BOUNDS_MS: [i64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/// A histogram of milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// Observations by bucket, not cumulated; one more than [`LATENCY_BOUNDS_MS`].
    pub buckets: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// Sum of all observations in milliseconds.
    pub sum_ms: i64,
}

impl Latency {
    /// Adds one observation.
    pub fn observe(&mut self, ms: i64) {
        self.buckets[LATENCY_BOUNDS_MS.partition_point(|b| *b < ms)] += 1;
        self.sum_ms += ms;
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Counters of the worker itself, and of tasks that are gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub rebalances: u64,
    pub committed: u64,
    pub aborted: u64,
    pub fenced: u64,
    pub persists: u64,
    pub restored: u64,
    pub commit_ms: Latency,
    gone: BTreeMap<u32, Counters>,
}

impl Totals {
    /// Keeps the counters of a task that goes, so that sums never fall.
    pub fn retire(&mut self, task: &Task) {
        add(self.gone.entry(task.id.sub_topology).or_default(), &task.counters);
    }
}

fn add(sum: &mut Counters, more: &Counters) {
    sum.processed += more.processed;
    sum.processed_bytes += more.processed_bytes;
    sum.sent += more.sent;
    sum.sent_bytes += more.sent_bytes;
    sum.punctuated += more.punctuated;
    for (sum, more) in sum.dropped.iter_mut().zip(more.dropped) {
        *sum += more;
    }
}

/// Figures of one task.
#[derive(Debug, Clone)]
pub struct TaskSnapshot {
    /// Its id.
    pub id: TaskId,
    /// `opening`, `restoring`, `ready`, `running` or `suspended`.
    pub state: &'static str,
    /// Its source partitions with their committed offsets.
    pub committed: Vec<(TopicPartition, Option<Offset>)>,
    /// Its counters since it was created.
    pub counters: Counters,
    /// Records that wait or are known to come.
    pub lag: i64,
    /// Greatest timestamp processed, -1 before the first.
    pub stream_time: Timestamp,
    /// Changelog offsets still to restore.
    pub restore_remaining: i64,
    /// Stores by name with table and overlay bytes.
    pub stores: Vec<(Arc<str>, usize, usize)>,
}

/// Figures of a worker.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// `starting`, `rebalancing`, `restoring`, `running` or `stopping`.
    pub state: &'static str,
    /// Its tasks.
    pub tasks: Vec<TaskSnapshot>,
    /// Counters by sub-topology over all tasks it ever had; they never fall.
    pub counters: BTreeMap<u32, Counters>,
    /// Assignments received.
    pub rebalances: u64,
    /// Transactions (at least once: commits) that ended well.
    pub committed: u64,
    /// Transactions aborted for any reason.
    pub aborted: u64,
    /// Times that its producer was fenced.
    pub fenced: u64,
    /// Batches that became durable.
    pub persists: u64,
    /// Changelog records restored.
    pub restored: u64,
    /// Time from sending a commit to its outcome.
    pub commit_ms: Latency,
    /// When the last commit ended, by the driver's wall clock; 0 before the first.
    pub last_commit: Timestamp,
    /// Uncommitted rows in bytes.
    pub overlay_bytes: usize,
    /// Committed rows in memory in bytes.
    pub table_bytes: usize,
    /// Updates held back by record caches in bytes.
    pub cache_bytes: usize,
    /// True while processing waits for the disk.
    pub stalled: bool,
}

impl Worker {
    /// Figures for metrics, logs and `/tasks`.
    pub fn snapshot(&mut self) -> Snapshot {
        let mut counters = self.totals.gone.clone();
        let mut tasks = Vec::with_capacity(self.tasks.len());
        let (mut overlay_bytes, mut table_bytes, mut cache_bytes) = (0, 0, 0);
        for (id, held) in &self.tasks {
            let task = &held.task;
            add(counters.entry(id.sub_topology).or_default(), &task.counters);
            overlay_bytes += task.replica.overlay_bytes();
            table_bytes += task.replica.table_bytes();
            cache_bytes += task.pending_bytes();
            let state = match held.phase {
                _ if !held.owned => "suspended",
                Phase::Opening(_) | Phase::Idle => "opening",
                Phase::Ranging(..) | Phase::Restoring(_) => "restoring",
                Phase::Ready => "ready",
                Phase::Running => "running",
            };
            tasks.push(TaskSnapshot {
                id: *id,
                state,
                committed: task.committed.iter().map(|c| (c.partition.clone(), c.offset)).collect(),
                counters: task.counters.clone(),
                lag: task.lag(),
                stream_time: task.stream_time(),
                restore_remaining: task.replica.remaining(),
                stores: task
                    .replica
                    .slots
                    .iter()
                    .map(|s| (Arc::clone(&s.store.spec().name), s.store.table_bytes(), s.store.overlay_bytes()))
                    .collect(),
            });
        }
        let state = if self.stopping.is_some() || self.exited {
            "stopping"
        } else if self.group.is_none() {
            if self.totals.rebalances == 0 { "starting" } else { "rebalancing" }
        } else if tasks.iter().any(|t| matches!(t.state, "opening" | "restoring")) {
            "restoring"
        } else {
            "running"
        };
        Snapshot {
            state,
            tasks,
            counters,
            rebalances: self.totals.rebalances,
            committed: self.totals.committed,
            aborted: self.totals.aborted,
            fenced: self.totals.fenced,
            persists: self.totals.persists,
            restored: self.totals.restored,
            commit_ms: self.totals.commit_ms.clone(),
            last_commit: self.last_commit,
            overlay_bytes,
            table_bytes,
            cache_bytes,
            stalled: self.stalled(),
        }
    }

    /// A store of a task of this member, for queries: between two steps it shows what is committed and, where a
    /// transaction is open, what it wrote.
    pub fn store(&mut self, task: TaskId, name: &str) -> Option<&mut Store> {
        let slots = &mut self.tasks.get_mut(&task)?.task.replica.slots;
        slots.iter_mut().map(|s| &mut s.store).find(|s| &*s.spec().name == name)
    }

    /// True when every owned task has committed all of the given partitions up to these offsets. Partitions of others
    /// don't count.
    pub fn committed_up_to(&self, ends: &[(TopicPartition, Offset)]) -> bool {
        ends.iter().all(|(partition, end)| {
            self.tasks
                .values()
                .filter(|h| h.owned)
                .flat_map(|h| &h.task.committed)
                .filter(|c| c.partition == *partition)
                .all(|c| c.offset.unwrap_or(0) >= *end)
        })
    }

    /// True when this member has an assignment, every task of it runs and is read to the end, and nothing waits for a
    /// commit. With `--until-end` all members must be idle at once.
    pub fn idle(&self) -> bool {
        self.group.is_some()
            && self.transaction.accepts_work()
            && self.outbox.is_empty()
            && self
                .tasks
                .values()
                .filter(|h| h.owned)
                .all(|h| h.running() && h.task.caught_up() && !h.task.wants_commit())
    }
}
