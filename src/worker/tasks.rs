//! Bringing a task up: open its stores, learn where its changelogs end, restore, fetch.

use super::{
    Effect, From, LogRange, OpenStore, OpenedStore, Progress, Request, Worker,
    held::{Held, Phase},
};
use crate::{
    fault::{Fault, Remedy},
    record::{Fetch, Offset, RawRecord, TaskId, Timestamp, TopicPartition},
    state::{Flaw, Store},
    task::{Judge, Verdict},
    worker::{Guarantee, Planted},
};
use std::{collections::BTreeMap, sync::Arc};

/// Time between two log lines of one restore, in milliseconds.
const RESTORE_TOLD_MS: i64 = 10_000;

/// However many partitions there are, each has room for so many bytes.
const QUEUE_BYTES_MIN: usize = 64 << 10;

impl Worker {
    pub(super) fn open(&mut self, id: TaskId) {
        let request = self.request();
        let sub = &self.resolved.sub_topologies[id.sub_topology as usize];
        let stores = sub
            .stores
            .iter()
            .map(|plan| OpenStore {
                name: Arc::clone(&plan.spec.name),
                changelog: plan.changelog.as_ref().map(|t| TopicPartition::new(Arc::clone(t), id.partition)),
                persistent: plan.spec.persistent,
            })
            .collect();
        self.tasks.get_mut(&id).expect("just added").phase = Phase::Opening(request);
        self.effects.push_back(Effect::OpenStores { request, task: id, stores });
    }

    pub(super) fn opened(&mut self, now: Timestamp, request: Request, result: Result<Vec<OpenedStore>, Fault>) {
        if let Some(closing) = self.closing.iter_mut().find(|c| c.opening == Some(request)) {
            closing.opening = None;
            return;
        }
        let Some((&id, held)) = self.tasks.iter_mut().find(|(_, h)| h.phase == Phase::Opening(request)) else { return };
        match result {
            Ok(stores) => {
                held.opened = Some(stores);
                held.phase = Phase::Idle;
                if held.owned {
                    self.range(now, id);
                }
            }
            Err(fault) => {
                held.phase = Phase::Idle;
                self.fail_task(now, id, fault);
            }
        }
    }

    /// Asks where the changelogs end. The stable offsets were read before: they came with the assignment (I3).
    pub(super) fn range(&mut self, now: Timestamp, id: TaskId) {
        let sub = &self.resolved.sub_topologies[id.sub_topology as usize];
        let partitions: Vec<TopicPartition> = sub
            .stores
            .iter()
            .filter_map(|plan| Some(TopicPartition::new(Arc::clone(plan.changelog.as_ref()?), id.partition)))
            .collect();
        let request = self.request();
        self.held(id).phase = Phase::Ranging(request, now);
        if partitions.is_empty() {
            self.ranged(now, request, Ok(Vec::new()));
        } else {
            self.effects.push_back(Effect::LogRanges { request, partitions });
        }
    }

    fn held(&mut self, id: TaskId) -> &mut Held {
        self.tasks.get_mut(&id).expect("only known tasks are brought up")
    }

    pub(super) fn ranged(&mut self, now: Timestamp, request: Request, result: Result<Vec<LogRange>, Fault>) {
        let found = self.tasks.iter().find_map(|(id, h)| match h.phase {
            Phase::Ranging(r, asked_at) if r == request => Some((*id, asked_at)),
            _ => None,
        });
        let Some((id, asked_at)) = found else { return };
        match result {
            Ok(ranges) => {
                let ranges = self.early_ends(id, ranges);
                match self.judge(now, id, &ranges, asked_at) {
                    Ok(()) => {}
                    Err(fault) if fault.remedy == Remedy::Rebuild => return self.reopen(now, id, &fault),
                    Err(fault) => return self.fail_task(now, id, fault),
                }
                let held = self.held(id);
                held.phase = Phase::Restoring(BTreeMap::new());
                held.restore_told = now;
                let remaining = held.task.replica.remaining();
                held.restore = (remaining > 0).then_some(Progress { since: now, offsets: remaining });
                if remaining > 0 {
                    tracing::info!(task = %id, remaining, "restoring");
                }
                self.next_pieces(now, id);
            }
            Err(fault) if fault.remedy == Remedy::Retry => self.range(now, id),
            Err(fault) => self.fail_task(now, id, fault),
        }
    }

    /// Planted bug: takes the changelogs' ends as they were the first time this member asked, before the stable offsets
    /// that came with the present assignment.
    fn early_ends(&mut self, id: TaskId, ranges: Vec<LogRange>) -> Vec<LogRange> {
        if self.settings.planted != Planted::EndBeforeStable {
            return ranges;
        }
        self.early_ends.entry(id).or_insert(ranges).clone()
    }

    /// Gives a task's stores up without writing and opens them again: what lies on disk is judged anew against the
    /// changelog as it is now.
    fn reopen(&mut self, now: Timestamp, id: TaskId, why: &Fault) {
        tracing::warn!(task = %id, %why, "the task's state is opened again");
        let committed = self.held(id).task.committed.clone();
        self.close_task(id, false);
        self.pump_closing();
        self.adopt(now, id, committed);
    }

    /// Decides what of the state found can be kept (I2), and where each restore starts and ends.
    fn judge(&mut self, now: Timestamp, id: TaskId, ranges: &[LogRange], asked_at: Timestamp) -> Result<(), Fault> {
        let plans = &self.resolved.sub_topologies[id.sub_topology as usize].stores;
        let settings = &self.settings;
        let held = self.tasks.get_mut(&id).expect("only known tasks are judged");
        let mut ranges = ranges.iter().copied();
        let fresh = held.opened.take();
        let count = plans.len();
        let mut fresh = fresh.map(Vec::into_iter);
        for (index, plan) in plans.iter().enumerate().take(count) {
            let range = plan.changelog.as_ref().and_then(|_| ranges.next());
            let LogRange { start, end: log_end } = range.unwrap_or(LogRange { start: 0, end: 0 });
            // What lies above the committed offset of a source topic is input still to be processed.
            let end = match &plan.source {
                Some(_) if settings.planted == Planted::SourceBeyondCommitted => log_end,
                Some(_) => held.task.committed_offset(plan.changelog.as_ref()).unwrap_or(0).min(log_end),
                None => log_end,
            };
            if let Some(fresh) = fresh.as_mut() {
                let opened = fresh.next().expect("a store was opened for each plan");
                let judge = Judge {
                    cluster_id: &opened.cluster_id,
                    topic_id: &opened.topic_id,
                    start,
                    end,
                    now,
                    delete_retention_ms: settings.delete_retention_ms,
                    clean_only: settings.guarantee == Guarantee::AtLeastOnce,
                };
                let mut saved = opened.saved.clone().filter(|_| plan.changelog.is_some());
                if let Verdict::Discard(why) = judge.verdict(saved.as_ref()) {
                    tracing::info!(task = %id, store = %plan.spec.name, %why, "state on disk is discarded");
                    saved = None;
                }
                if saved.is_none() && opened.saved.is_some() {
                    opened.backend.clear()?;
                }
                let dedup = settings.changelog_deduplicate;
                let mut store = Store::new(plan.spec.clone(), opened.backend, saved.as_ref(), dedup);
                store.count_markers(settings.guarantee == Guarantee::ExactlyOnceV2);
                store.plant(flaw(settings.planted));
                held.task.replica.push(id, plan, store, opened.cluster_id, opened.topic_id);
            } else if plan.changelog.is_some() {
                let position = held.task.replica.slots[index].store.position();
                if position < start || position > end {
                    return Err(Fault::rebuild(format!(
                        "the changelog of store `{}` reaches from {start} to {end}, this member holds it up to {position}",
                        plan.spec.name
                    )));
                }
            }
            if plan.changelog.is_some() {
                held.task.recall_store_time(index, settings.guarantee == Guarantee::AtLeastOnce);
                let floor = held.task.recall_floor(index).filter(|floor| *floor <= end);
                let start = floor.map_or(start, |floor| floor.max(start));
                floor.into_iter().for_each(|floor| held.task.replica.slots[index].store.recall_floor(floor));
                held.task.replica.begin_restore(index, (start, end), end == log_end, asked_at);
            }
        }
        Ok(())
    }

    /// Asks for the next piece of every changelog that has none on its way; starts the task when all are read.
    fn next_pieces(&mut self, now: Timestamp, id: TaskId) {
        let requests = self.requests;
        let held = self.tasks.get_mut(&id).expect("only known tasks are restored");
        let Phase::Restoring(pieces) = &mut held.phase else { return };
        let mut next = requests;
        for slot in 0..held.task.replica.slots.len() {
            if pieces.values().any(|s| *s == slot) {
                continue;
            }
            let before = held.task.replica.slots[slot].target;
            if let Some((changelog, from, to)) = held.task.replica.next_piece(slot) {
                next += 1;
                pieces.insert(Request(next), slot);
                self.effects.push_back(Effect::Restore { request: Request(next), changelog, from, to });
            } else if before.is_some()
                && let Some(changelog) = held.task.replica.slots[slot].changelog.clone()
            {
                self.effects.push_back(Effect::RestoreDone { changelog });
            }
        }
        self.requests = next;
        if pieces.is_empty() {
            let records: u64 = held.task.replica.slots.iter().map(|s| s.restored).sum();
            if held.restore.take().is_some() {
                tracing::info!(task = %id, records, "restored");
            }
            held.task.replica.complete = true;
            held.phase = Phase::Ready;
            self.run(now, id);
        }
    }

    pub(super) fn restored(
        &mut self,
        now: Timestamp,
        request: Request,
        result: Result<(Vec<RawRecord>, Offset), Fault>,
    ) {
        let found = self.tasks.iter_mut().find_map(|(id, h)| match &mut h.phase {
            Phase::Restoring(pieces) => pieces.remove(&request).map(|slot| (*id, slot)),
            _ => None,
        });
        let Some((id, slot)) = found else { return };
        let (records, position) = match result {
            Ok(piece) => piece,
            Err(fault) if fault.remedy == Remedy::Retry => return self.next_pieces(now, id),
            // The changelog's start has moved past the piece: its retention deleted what had expired.
            Err(fault) if fault.remedy == Remedy::Rebuild => return self.reopen(now, id, &fault),
            Err(fault) => return self.fail_task(now, id, fault),
        };
        self.totals.restored += records.len() as u64;
        self.tell_restore(now, id);
        // At least once a crash before the first offset commit leaves just this, and repeats are allowed.
        let accept_reset = self.settings.accept_reset || self.settings.guarantee == Guarantee::AtLeastOnce;
        let task = &mut self.tasks.get_mut(&id).expect("found above").task;
        let own = task.replica.slots[slot].source.is_none();
        if own && !records.is_empty() && !accept_reset && task.committed.iter().all(|c| c.offset.is_none()) {
            let changelog = task.replica.slots[slot].changelog.clone().map_or_else(String::new, |c| c.to_string());
            let fault = Fault::stop("the changelog holds committed data, but no input offset is committed")
                .at(format!("{changelog} of task {id}"))
                .hint(
                    "the group's offsets were deleted or have expired: going on would count input twice. Restore the \
                     offsets, reset the application with its internal topics, or start with --accept-reset",
                );
            return self.suspect(id, fault);
        }
        if let Err(fault) = task.replica.restore(slot, &records, position) {
            return self.fail_task(now, id, fault);
        }
        self.next_pieces(now, id);
    }

    /// Says from time to time how far a long restore has come.
    fn tell_restore(&mut self, now: Timestamp, id: TaskId) {
        let held = self.held(id);
        if now - held.restore_told >= RESTORE_TOLD_MS {
            held.restore_told = now;
            let records: u64 = held.task.replica.slots.iter().map(|s| s.restored).sum();
            let remaining = held.task.replica.remaining();
            let seconds_left = held.restore.and_then(|restore| restore.left_ms(now, remaining)).map(|ms| ms / 1_000);
            tracing::info!(task = %id, records, remaining, seconds_left, "restoring");
        }
    }

    /// Starts the operators of a complete task, or lets them go on, and fetches from the committed offsets.
    pub(super) fn run(&mut self, now: Timestamp, id: TaskId) {
        let held = self.held(id);
        if !held.owned || held.phase != Phase::Ready {
            return;
        }
        held.phase = Phase::Running;
        if !held.task.is_live() && !self.restart(now, id) {
            return;
        }
        self.fetch(id);
    }

    /// Makes the operators of a task anew from what is committed. False when that failed and the worker stops.
    pub(super) fn restart(&mut self, now: Timestamp, id: TaskId) -> bool {
        let topology = Arc::clone(&self.topology);
        let keep_times = self.settings.planted == Planted::TimesAfterAbort;
        let result = self.with_task(now, id, |task, env| {
            if keep_times { task.restart_keeping_times(&topology, env) } else { task.restart(&topology, env) }
        });
        match result {
            Ok(()) => true,
            Err(fault) => {
                self.fail_task(now, id, fault);
                false
            }
        }
    }

    /// Fetches every source partition of a task from its committed offset.
    pub(super) fn fetch(&mut self, id: TaskId) {
        let resolved = Arc::clone(&self.resolved);
        let mut fetches = self.fetches;
        let held = self.tasks.get_mut(&id).expect("only known tasks fetch");
        let committed: Vec<Option<Offset>> = held.task.committed.iter().map(|c| c.offset).collect();
        for (queue, committed) in held.task.queues().iter_mut().zip(committed) {
            queue.reset();
            fetches += 1;
            let fetch = Fetch(fetches);
            queue.fetch = Some(fetch);
            let topic = &queue.partition.topic;
            let repartition = resolved.internal.iter().any(|t| t.repartition && t.name == *topic);
            let from = match committed {
                Some(offset) => From::Offset(offset),
                None if repartition => From::Start,
                None => From::Reset,
            };
            self.effects.push_back(Effect::Fetch { fetch, partition: queue.partition.clone(), from });
        }
        self.fetches = fetches;
    }

    /// Divides the room for waiting records among the partitions of all tasks.
    pub(super) fn share_queues(&mut self) {
        let partitions: usize = self.tasks.values().map(|h| h.task.committed.len()).sum();
        let share = self.settings.queues_bytes_max / partitions.max(1);
        self.queue_bytes_max = share.max(QUEUE_BYTES_MIN).min(self.settings.partition_queue_bytes_max);
    }

    /// Records, or only a position, of a current fetch. What an older fetch brings is stale and dropped.
    pub(super) fn fetched(
        &mut self,
        fetch: Fetch,
        partition: &TopicPartition,
        records: Vec<RawRecord>,
        position: Offset,
        end: Offset,
    ) {
        let limit = self.queue_bytes_max;
        for held in self.tasks.values_mut().filter(|h| h.running()) {
            let Some(queue) = held.task.queue(partition) else { continue };
            if queue.fetch != Some(fetch) {
                return;
            }
            queue.push(records, position, end);
            if queue.flowing && queue.bytes() > limit {
                queue.flowing = false;
                self.effects.push_back(Effect::Flow { partition: partition.clone(), on: false });
            }
            return;
        }
    }

    /// Lets partitions flow again whose queue is half empty.
    pub(super) fn resume_flow(&mut self, id: TaskId) {
        let limit = self.queue_bytes_max / 2;
        let Some(held) = self.tasks.get_mut(&id) else { return };
        for queue in held.task.queues() {
            if !queue.flowing && queue.bytes() <= limit {
                queue.flowing = true;
                self.effects.push_back(Effect::Flow { partition: queue.partition.clone(), on: true });
            }
        }
    }
}

/// Planted bugs that live in the store.
fn flaw(planted: Planted) -> Flaw {
    match planted {
        Planted::StoreBeforeCommit => Flaw::StoreBeforeCommit,
        Planted::OverlayAfterAbort => Flaw::OverlayAfterAbort,
        Planted::PositionAboveData => Flaw::PositionAboveData,
        Planted::ExpiryUncommitted => Flaw::ExpiryUncommitted,
        Planted::SavedReadStale => Flaw::SavedReadStale,
        Planted::MarkerWithoutRecords => Flaw::MarkerWithoutRecords,
        Planted::FloorTooHigh => Flaw::FloorTooHigh,
        Planted::QueriesSeeOverlay => Flaw::QueriesSeeOverlay,
        Planted::PositionBeforeFlush => Flaw::PositionBeforeCommit,
        _ => Flaw::None,
    }
}
