//! Figures of a worker at one moment. Counters are plain fields of worker and tasks; whoever serves them reads copies.

use super::{Progress, Timings, Worker, held::Phase};
use crate::{
    record::{Offset, TaskId, Timestamp, TopicPartition},
    state::Store,
    task::{Counters, Latency},
};
use std::{collections::BTreeMap, sync::Arc};

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
    /// Bytes of the records that wait in the queues of its partitions.
    pub queued_bytes: usize,
    /// Greatest timestamp processed, -1 before the first.
    pub stream_time: Timestamp,
    /// Changelog offsets still to restore.
    pub restore_remaining: i64,
    /// The restore under way.
    pub restore: Option<Progress>,
    /// Changelog records restored since its stores were opened.
    pub restored: u64,
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
    /// Transactions aborted for any other reason than fencing.
    pub aborted: u64,
    /// Transactions that were lost because the producer was fenced.
    pub fenced: u64,
    /// Batches that became durable.
    pub persists: u64,
    /// Changelog records restored.
    pub restored: u64,
    /// Time from preparing a commit to its outcome, by the driver's wall clock.
    pub commit: Latency,
    /// From giving the partitions up, or the start, until every task ran again.
    pub pauses: Latency,
    /// What the driver measured; empty where it measures nothing.
    pub timings: Timings,
    /// Since when a commit is overdue: work waits, `commit.interval.ms` is over, and no commit has ended.
    pub overdue_since: Option<Timestamp>,
    /// When the last commit ended, by the driver's wall clock; 0 before the first.
    pub last_commit: Timestamp,
    /// Uncommitted rows in bytes.
    pub overlay_bytes: usize,
    /// Committed rows in memory in bytes.
    pub table_bytes: usize,
    /// Updates held back by record caches in bytes.
    pub cache_bytes: usize,
    /// Since when processing waits for the disk.
    pub stalled_since: Option<Timestamp>,
    /// How long it waited altogether, in milliseconds.
    pub stalled_ms: i64,
}

impl Worker {
    /// Figures for metrics, logs and `/tasks`.
    pub fn snapshot(&mut self) -> Snapshot {
        let mut counters = self.totals.gone().clone();
        let mut tasks = Vec::with_capacity(self.tasks.len());
        let (mut overlay_bytes, mut table_bytes, mut cache_bytes) = (0, 0, 0);
        for (id, held) in &self.tasks {
            let task = &held.task;
            counters.entry(id.sub_topology).or_default().add(&task.counters);
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
                queued_bytes: task.queued_bytes(),
                stream_time: task.stream_time(),
                restore_remaining: task.replica.remaining(),
                restore: held.restore,
                restored: task.replica.slots.iter().map(|s| s.restored).sum(),
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
            commit: self.totals.commit.clone(),
            pauses: self.totals.pauses.clone(),
            timings: Timings::default(),
            overdue_since: self.totals.uncommitted_since.map(|t| t + self.settings.commit_interval_ms),
            last_commit: self.last_commit,
            overlay_bytes,
            table_bytes,
            cache_bytes,
            stalled_since: self.totals.stalled_since,
            stalled_ms: self.totals.stalled_ms,
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
            && self.transaction.is_settled()
            && self.outbox.is_empty()
            && self.outbox.rows.is_empty()
            && self
                .tasks
                .values()
                .filter(|h| h.owned)
                .all(|h| h.running() && h.task.caught_up() && !h.task.wants_commit())
    }
}
