//! Committed rows on their way to disk, the memory they may take, and what is deleted from topics.

use super::{Effect, KeptBy, NEVER, Planted, Request, Worker, held::Closing};
use crate::{
    fault::Fault,
    record::{TaskId, Timestamp},
    task::Task,
};
use std::sync::Arc;

/// Persists under way at a time, of all running tasks. One disk takes them one by one, and each is a copy of its rows.
const PERSISTS_MAX: usize = 2;

impl Worker {
    /// Starts persists that are due by age or bytes, the largest first, and evicts saved rows over the limit.
    pub(super) fn relieve_memory(&mut self, now: Timestamp) {
        let total: usize = self.tasks.values().map(|h| h.task.replica.table_bytes()).sum();
        let over = total > self.settings.table_bytes_max;
        let stores = self.tasks.values().map(|h| h.task.replica.slots.len()).sum::<usize>().max(1);
        let share = self.settings.table_bytes_max / stores;
        let mut due = Vec::new();
        for (id, held) in &mut self.tasks {
            for (index, slot) in held.task.replica.slots.iter_mut().enumerate() {
                if !slot.store.backend().durable() {
                    continue;
                }
                let unsaved = slot.store.unsaved_bytes();
                let old = slot.store.unsaved_since().is_some_and(|t| now - t >= self.settings.persist_interval_ms);
                if unsaved > 0 && (old || unsaved >= self.settings.persist_bytes || (over && unsaved > share / 2)) {
                    due.push((unsaved, *id, index));
                }
                if over {
                    slot.store.evict(share);
                }
            }
        }
        due.extend(self.refreshable(now).into_iter().map(|(id, slot)| (0, id, slot)));
        due.sort_by_key(|(unsaved, ..)| std::cmp::Reverse(*unsaved));
        for (_, id, slot) in due {
            if self.disk_is_busy() {
                break;
            }
            if !self.persists.values().any(|p| *p == (id, slot)) {
                let task = &mut self.tasks.get_mut(&id).expect("just seen").task;
                let effect = freeze(task, slot, false, &mut self.requests);
                self.start_persist(id, slot, effect);
            }
        }
    }

    /// True when no further persist may start; the end of one wakes the worker.
    pub(super) fn disk_is_busy(&self) -> bool {
        self.persists.len() >= PERSISTS_MAX
    }

    fn start_persist(&mut self, id: TaskId, slot: usize, effect: Option<(Request, Effect)>) {
        if let Some((request, effect)) = effect {
            self.persists.insert(request, (id, slot));
            self.effects.push_back(effect);
        }
    }

    /// True while rows that only wait for the disk fill the memory: processing then waits, never the reverse.
    pub(super) fn stalled(&self) -> bool {
        let waiting: usize = self
            .tasks
            .values()
            .flat_map(|h| &h.task.replica.slots)
            .filter(|s| s.store.backend().durable())
            .map(|s| s.store.unsaved_bytes())
            .sum();
        waiting > self.settings.table_bytes_max && !self.persists.is_empty()
    }

    pub(super) fn next_memory_wakeup(&self) -> Timestamp {
        if self.disk_is_busy() {
            return NEVER;
        }
        self.tasks
            .values()
            .flat_map(|h| &h.task.replica.slots)
            .filter(|s| s.store.backend().durable() && !s.store.is_persisting())
            .filter_map(|s| s.store.unsaved_since())
            .map(|t| t + self.settings.persist_interval_ms)
            .min()
            .unwrap_or(NEVER)
    }

    pub(super) fn persisted(&mut self, now: Timestamp, request: Request, result: &Result<(), Fault>) {
        let Some((id, slot)) = self.persists.remove(&request) else { return };
        let closing = self.closing.iter_mut().find(|c| c.task.id == id && c.closed.is_none()).map(|c| &mut c.task);
        let Some(task) = closing.or_else(|| self.tasks.get_mut(&id).map(|h| &mut h.task)) else { return };
        let Some(slot) = task.replica.slots.get_mut(slot) else { return };
        slot.store.persisted(result.is_ok());
        self.totals.persists += 1;
        if let Err(fault) = result {
            let fault = fault.clone().with_remedy(crate::fault::Remedy::Stop);
            self.fail_task(now, id, fault);
        }
    }

    /// Moves tasks on their way out one step on: running persists end, committed rows become durable, the directory
    /// is given back.
    pub(super) fn pump_closing(&mut self) {
        for index in 0..self.closing.len() {
            let id = self.closing[index].task.id;
            let persisting = self.persists.values().any(|(task, _)| *task == id);
            let outlives = self.settings.planted == Planted::PersistOutlivesTask;
            let closing = &mut self.closing[index];
            if closing.opening.is_some() || closing.closed.is_some() || (persisting && !outlives) {
                continue;
            }
            if closing.clean && !closing.frozen && self.stopping_without_disk_trouble() {
                self.persist_last(index);
                if self.persists.values().any(|(task, _)| *task == id) {
                    continue;
                }
            }
            let request = self.request();
            let closing = &mut self.closing[index];
            closing.task.replica.slots.clear();
            closing.closed = Some(request);
            self.effects.push_back(Effect::CloseStores { request, task: id });
        }
    }

    /// A worker that stops because its disk fails doesn't try that disk again.
    fn stopping_without_disk_trouble(&self) -> bool {
        !matches!(&self.stopping, Some(Some(_)))
    }

    fn persist_last(&mut self, index: usize) {
        let Closing { task, frozen, .. } = &mut self.closing[index];
        *frozen = true;
        let id = task.id;
        let mut started = Vec::new();
        for slot in 0..task.replica.slots.len() {
            if task.replica.slots[slot].store.backend().durable() {
                started.push((slot, freeze(task, slot, true, &mut self.requests)));
            }
        }
        for (slot, effect) in started {
            self.start_persist(id, slot, effect);
        }
    }

    /// Deletes what repartition topics hold below committed offsets.
    pub(super) fn purge(&mut self, now: Timestamp) {
        if now - self.last_purge < self.settings.purge_interval_ms {
            return;
        }
        self.last_purge = now;
        for held in self.tasks.values().filter(|h| h.running()) {
            for committed in &held.task.committed {
                let internal = self.resolved.internal.iter().find(|t| t.name == committed.partition.topic);
                let (Some(true), Some(below)) = (internal.map(|t| t.repartition), committed.offset) else { continue };
                let last = self.purged.insert(committed.partition.clone(), below);
                if last != Some(below) && below > 0 {
                    self.effects.push_back(Effect::Purge { partition: committed.partition.clone(), below });
                }
            }
        }
    }

    /// Keeps changelog records whose event time lies so far back that the topic's retention would delete them.
    pub(super) fn keep_old_records(&mut self, now: Timestamp) {
        if self.settings.planted == Planted::RetentionNotRaised {
            return;
        }
        for held in self.tasks.values().filter(|h| h.running()) {
            for slot in &held.task.replica.slots {
                let (Some(by), Some(changelog)) = (KeptBy::of(slot.store.spec()), &slot.changelog) else {
                    continue;
                };
                // The oldest row that is still alive lies behind stream time by the store's retention or history, which
                // is a part of the topic's: only the margin is left for the clock.
                let behind = now - slot.store.stream_time().max(0);
                if slot.store.is_dirty()
                    && behind > self.settings.changelog_margin_ms
                    && !self.kept_forever.contains(&changelog.topic)
                {
                    self.kept_forever.insert(Arc::clone(&changelog.topic));
                    self.effects.push_back(Effect::KeepForever { topic: Arc::clone(&changelog.topic), by });
                }
            }
        }
    }
}

fn freeze(task: &mut Task, index: usize, clean: bool, requests: &mut u64) -> Option<(Request, Effect)> {
    let id = task.id;
    let slot = &mut task.replica.slots[index];
    let batch = slot.store.freeze(&slot.cluster_id, &slot.topic_id, clean)?;
    *requests += 1;
    let request = Request(*requests);
    let backend = task.replica.backend(index);
    Some((request, Effect::Persist { request, task: id, backend, batch }))
}
