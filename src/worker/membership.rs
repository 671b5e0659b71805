//! Which tasks this member has: assignments, revocations, losses (architecture: tasks and ownership).

use super::{Effect, GroupMetadata, Stable, Worker, held::Closing, held::Held, held::Phase, transaction::Cause};
use crate::{
    fault::Fault,
    record::{TaskId, Timestamp, TopicPartition},
    task::{Committed, Task},
    worker::Planted,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

/// Why the partitions are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivingUp {
    /// The group asks for them: commit first (I5).
    Revoked,
    /// They are gone: write nothing more (I5).
    Lost,
}

impl Worker {
    pub(super) fn assigned(
        &mut self,
        now: Timestamp,
        partitions: Vec<Stable>,
        counts: &[(Arc<str>, i32)],
        group: GroupMetadata,
    ) {
        self.totals.rebalances += 1;
        self.giving_up = None;
        if self.stopping.is_some() {
            return;
        }
        if group.generation < 0 || group.member.is_empty() {
            self.group = None;
            return;
        }
        if let Some(fault) = self.count_changed(counts) {
            self.fail(now, fault);
            return;
        }
        let wanted = match self.complete_tasks(&partitions) {
            Ok(wanted) => wanted,
            Err(fault) => {
                self.fail(now, fault);
                return;
            }
        };
        let tasks: Vec<String> = wanted.keys().map(ToString::to_string).collect();
        tracing::info!(generation = group.generation, tasks = tasks.join(" "), "assigned");
        self.group = Some(group);
        let gone: Vec<TaskId> = self.tasks.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for id in gone {
            self.close_task(id, true);
        }
        for (id, committed) in wanted {
            self.adopt(now, id, committed);
        }
        self.share_queues();
    }

    /// An input whose partition count is no longer the one the topology was resolved with.
    fn count_changed(&self, counts: &[(Arc<str>, i32)]) -> Option<Fault> {
        let (topic, old, new) = counts.iter().find_map(|(topic, new)| {
            let old = *self.resolved.partitions.get(topic)?;
            (old != *new).then_some((topic, old, *new))
        })?;
        Some(
            Fault::stop(format!(
                "topic `{topic}` had {old} partitions when this application started and has {new} now"
            ))
            .at(format!("application `{}`", self.resolved.application_id))
            .hint(
                "keys have moved between partitions, so state would be wrong. Stop all replicas, then either start \
                     under a new application.id, or reset the application and its internal topics",
            ),
        )
    }

    /// The tasks whose source partitions are all here, with their committed offsets in source order.
    fn complete_tasks(&self, partitions: &[Stable]) -> Result<BTreeMap<TaskId, Vec<Committed>>, Fault> {
        let mine: BTreeMap<&TopicPartition, &Stable> = partitions.iter().map(|s| (&s.partition, s)).collect();
        let mut tasks = BTreeMap::new();
        for sub in &self.resolved.sub_topologies {
            let numbers: BTreeSet<i32> = partitions
                .iter()
                .filter(|s| sub.sources.contains(&s.partition.topic))
                .map(|s| s.partition.partition)
                .collect();
            for partition in numbers {
                let mut committed = Vec::with_capacity(sub.sources.len());
                for topic in &sub.sources {
                    let tp = TopicPartition::new(Arc::clone(topic), partition);
                    let Some(stable) = mine.get(&tp) else {
                        return Err(Fault::stop(format!(
                            "partition {partition} of the topics {} went to different members",
                            sub.sources.join(", ")
                        ))
                        .at(format!("sub-topology {}", sub.id))
                        .hint("all members must subscribe to the same topics with the range assignor; stop members that run another version of the topology"));
                    };
                    committed.push(Committed {
                        partition: tp,
                        offset: stable.offset,
                        metadata: stable.metadata.clone(),
                    });
                }
                tasks.insert(TaskId { sub_topology: sub.id, partition }, committed);
            }
        }
        Ok(tasks)
    }

    /// Takes a task up: a suspended one goes on as it is when nobody committed for it meanwhile.
    pub(super) fn adopt(&mut self, now: Timestamp, id: TaskId, committed: Vec<Committed>) {
        let Some(held) = self.tasks.get_mut(&id) else {
            let held = Held {
                task: Task::new(id, committed),
                phase: Phase::Idle,
                owned: true,
                suspended_at: 0,
                opened: None,
                first: true,
                restore_told: now,
                restore: None,
            };
            self.tasks.insert(id, held);
            self.open(id);
            return;
        };
        held.owned = true;
        held.first = true;
        let same = held.task.committed == committed || self.settings.planted == Planted::StampIgnored;
        held.task.committed = committed;
        match held.phase {
            Phase::Opening(_) => {}
            Phase::Ready if same => self.run(now, id),
            _ => {
                held.task.stop();
                held.task.replica.complete = false;
                held.phase = Phase::Idle;
                self.range(now, id);
            }
        }
    }

    pub(super) fn revoked(&mut self, _now: Timestamp) {
        tracing::info!("the group asks for the partitions; committing first");
        self.giving_up.get_or_insert(GivingUp::Revoked);
    }

    pub(super) fn lost(&mut self, _now: Timestamp) {
        tracing::warn!("the partitions are lost to others; what is not committed is dropped");
        self.giving_up = Some(GivingUp::Lost);
    }

    /// Brings what was asked for to its end, as far as the transaction allows now: gives partitions up, stops.
    pub(super) fn settle(&mut self, now: Timestamp) {
        self.pump_closing();
        if !self.transaction.is_settled() || self.exited {
            return;
        }
        match self.giving_up {
            Some(GivingUp::Lost) if self.settings.planted == Planted::LostStillWrites => {
                self.giving_up = None;
                self.group = Some(GroupMetadata { generation: -1, member: String::new(), instance: None });
                self.effects.push_back(Effect::Unassign);
            }
            Some(GivingUp::Lost) => {
                if self.transaction.is_open() {
                    self.abort(now, Cause::Lost);
                    return;
                }
                self.close_all_lost();
                self.giving_up = None;
                self.effects.push_back(Effect::Unassign);
            }
            Some(GivingUp::Revoked) => {
                if self.something_to_commit() && self.group.is_some() {
                    self.start_commit(now);
                    return;
                }
                self.suspend_all(now);
                self.giving_up = None;
                self.effects.push_back(Effect::Unassign);
            }
            None => {}
        }
        if self.stopping.is_some() {
            self.stop(now);
        }
    }

    fn stop(&mut self, now: Timestamp) {
        let asked = matches!(self.stopping, Some(None));
        if asked && self.group.is_some() && self.something_to_commit() {
            self.start_commit(now);
            return;
        }
        if self.transaction.is_open() {
            self.abort(now, Cause::Stop);
            return;
        }
        self.group = None;
        for id in self.tasks.keys().copied().collect::<Vec<_>>() {
            self.close_task(id, true);
        }
        self.pump_closing();
        // A directory that another member still holds need not be waited for: nothing of it was touched.
        if self.closing.iter().all(|c| c.opening.is_some()) && self.persists.is_empty() {
            self.exited = true;
            let fault = self.stopping.take().flatten();
            self.effects.push_back(Effect::Exit { fault });
        }
    }

    /// Suspends every task with its stores open; the group may give them back at once.
    fn suspend_all(&mut self, now: Timestamp) {
        self.group = None;
        self.suspicion = None;
        let mut done = Vec::new();
        for held in self.tasks.values_mut().filter(|h| h.owned) {
            held.owned = false;
            held.suspended_at = now;
            held.restore = None;
            for queue in held.task.queues() {
                queue.reset();
            }
            held.phase = match mem::replace(&mut held.phase, Phase::Idle) {
                Phase::Opening(request) => Phase::Opening(request),
                Phase::Running | Phase::Ready => Phase::Ready,
                Phase::Idle | Phase::Ranging(..) => Phase::Idle,
                Phase::Restoring(_) => {
                    done.extend(held.task.replica.slots.iter_mut().filter_map(|slot| {
                        slot.target.take()?;
                        slot.changelog.clone()
                    }));
                    Phase::Idle
                }
            };
        }
        self.effects.extend(done.into_iter().map(|changelog| Effect::RestoreDone { changelog }));
    }

    /// Closes every task without writing.
    pub(super) fn close_all_lost(&mut self) {
        self.group = None;
        self.suspicion = None;
        self.outbox.discard();
        for id in self.tasks.keys().copied().collect::<Vec<_>>() {
            self.close_task(id, false);
        }
    }

    /// Starts the way out of a task. `clean` makes its committed rows durable first.
    pub(super) fn close_task(&mut self, id: TaskId, clean: bool) {
        let Some(mut held) = self.tasks.remove(&id) else { return };
        self.totals.retire(&held.task);
        if clean && held.task.is_live() {
            let mut env = crate::task::Env {
                now: 0,
                resolved: &self.resolved,
                outbox: &mut crate::task::Outbox::default(),
                request_bytes_max: self.settings.request_bytes_max,
                max_task_idle_ms: 0,
                errors: &self.settings.errors,
            };
            if let Err(fault) = held.task.close_nodes(&mut env) {
                tracing::warn!(task = %id, %fault, "a processor failed to close");
            }
        }
        held.task.stop();
        for slot in &mut held.task.replica.slots {
            if slot.target.take().is_some()
                && let Some(changelog) = slot.changelog.clone()
            {
                self.effects.push_back(Effect::RestoreDone { changelog });
            }
        }
        let opening = match held.phase {
            Phase::Opening(request) => Some(request),
            _ => None,
        };
        self.closing.push(Closing { task: held.task, clean, opening, frozen: false, closed: None });
    }

    /// Closes tasks that waited too long for their partitions.
    pub(super) fn close_suspended(&mut self, now: Timestamp) {
        let limit = self.settings.suspended_close_ms;
        let late: Vec<TaskId> =
            self.tasks.iter().filter(|(_, h)| !h.owned && now - h.suspended_at >= limit).map(|(id, _)| *id).collect();
        for id in late {
            self.close_task(id, true);
        }
    }

    pub(super) fn next_suspended_close(&self) -> Timestamp {
        let limit = self.settings.suspended_close_ms;
        self.tasks.values().filter(|h| !h.owned).map(|h| h.suspended_at + limit).min().unwrap_or(super::NEVER)
    }
}
