//! Counters of the worker itself, and of tasks that are gone; and since when it pauses, stalls or owes a commit.

use super::Worker;
use crate::{
    record::Timestamp,
    task::{Counters, EVENT_BOUNDS_US, Latency, Task},
};
use std::collections::BTreeMap;

/// Counters and times of a worker.
#[derive(Debug, Clone)]
pub(super) struct Totals {
    /// Records processed by all tasks.
    pub processed: u64,
    /// Those of them that were processed while the outcome of a commit was awaited.
    pub beside_commits: u64,
    /// Commits that did not end well while there was already more to commit.
    pub refused_beside: u64,
    pub rebalances: u64,
    pub committed: u64,
    pub aborted: u64,
    pub fenced: u64,
    pub persists: u64,
    pub restored: u64,
    pub commit: Latency,
    /// From giving the partitions up, or the start, until every task runs.
    pub pauses: Latency,
    /// Since when not every task runs.
    paused_since: Option<Timestamp>,
    /// False before the first step: the pause of the start has not begun.
    started: bool,
    /// Since when there is something to commit.
    pub uncommitted_since: Option<Timestamp>,
    /// Since when processing waits for the disk.
    pub stalled_since: Option<Timestamp>,
    /// How long it waited, up to the last step, in milliseconds.
    pub stalled_ms: i64,
    stepped: Timestamp,
    gone: BTreeMap<u32, Counters>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            processed: 0,
            beside_commits: 0,
            refused_beside: 0,
            rebalances: 0,
            committed: 0,
            aborted: 0,
            fenced: 0,
            persists: 0,
            restored: 0,
            commit: Latency::default(),
            pauses: Latency::new(EVENT_BOUNDS_US),
            paused_since: None,
            started: false,
            uncommitted_since: None,
            stalled_since: None,
            stalled_ms: 0,
            stepped: 0,
            gone: BTreeMap::new(),
        }
    }
}

impl Totals {
    /// Keeps the counters of a task that goes, so that sums never fall.
    pub fn retire(&mut self, task: &Task) {
        self.gone.entry(task.id.sub_topology).or_default().add(&task.counters);
    }

    /// Counters of tasks that are gone, by sub-topology.
    pub fn gone(&self) -> &BTreeMap<u32, Counters> {
        &self.gone
    }

    /// A commit ended well.
    pub fn commit_done(&mut self, ms: i64) {
        self.committed += 1;
        self.commit.observe(ms.saturating_mul(1_000), 1);
        self.uncommitted_since = None;
    }
}

impl Worker {
    /// Notes, once in a step and before it processes, what the times of [`Totals`] need. True when processing must
    /// wait for the disk.
    pub(super) fn watch(&mut self, now: Timestamp) -> bool {
        let stalled = self.stalled();
        let owner = self.group.is_some();
        let running = owner && self.tasks.values().filter(|h| h.owned).all(super::held::Held::running);
        let totals = &mut self.totals;
        if totals.stalled_since.is_some() {
            totals.stalled_ms += (now - totals.stepped).max(0);
        }
        totals.stepped = now;
        totals.stalled_since = if stalled { totals.stalled_since.or(Some(now)) } else { None };
        if !running && !totals.started {
            totals.paused_since = Some(now);
        }
        totals.started = true;
        if !owner {
            totals.paused_since = totals.paused_since.or(Some(now));
            // What is not committed goes to others.
            totals.uncommitted_since = None;
        } else if running && let Some(since) = totals.paused_since.take() {
            totals.pauses.observe((now - since).saturating_mul(1_000), 1);
        }
        stalled
    }

    /// Notes that there is something to commit, if there is.
    pub(super) fn note_work(&mut self, now: Timestamp) {
        if self.totals.uncommitted_since.is_none() && self.group.is_some() && self.something_to_commit() {
            self.totals.uncommitted_since = Some(now);
        }
    }
}
