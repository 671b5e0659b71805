//! State on disk says up to when it is known to be complete, and is worth nothing once that is too long ago (I2). A
//! store that nobody writes to would grow old that way, so its description is written anew now and then.

use super::{Effect, Guarantee, NEVER, Stable, Worker};
use crate::{
    record::{Request, TaskId, Timestamp},
    task::{Committed, Slot},
};

/// Proof that an idle store is complete: the stable offsets of its task, asked for at a known time.
#[derive(Default)]
pub(super) struct Proof {
    /// The question under way, and when it was asked.
    asked: Option<(Request, Timestamp)>,
    /// When it may be asked again.
    next: Timestamp,
}

impl Worker {
    /// How old the description on disk may grow: an eighth of the time for which the changelog keeps deletions.
    fn refresh_ms(&self) -> i64 {
        (self.settings.delete_retention_ms / 8).max(1)
    }

    /// Running tasks with a store whose description on disk is old. At least once none is trusted after a crash anyway,
    /// and a clean one is worth more than a young one.
    fn stale_tasks(&self, now: Timestamp) -> Vec<TaskId> {
        if self.settings.guarantee == Guarantee::AtLeastOnce {
            return Vec::new();
        }
        let old = |slot: &Slot| saved_at(slot).is_some_and(|at| now - at >= self.refresh_ms());
        let tasks = self.tasks.iter().filter(|(_, h)| h.running());
        tasks.filter(|(_, h)| h.task.replica.slots.iter().any(old)).map(|(id, _)| *id).collect()
    }

    /// Stores whose description on disk shall be written anew: they are known to be complete since.
    pub(super) fn refreshable(&self, now: Timestamp) -> Vec<(TaskId, usize)> {
        let mut due = Vec::new();
        for id in self.stale_tasks(now) {
            for (index, slot) in self.tasks[&id].task.replica.slots.iter().enumerate() {
                let (covered, _) = slot.store.covered_at();
                let young = now - covered < self.refresh_ms();
                if young && saved_at(slot).is_some_and(|at| now - at >= self.refresh_ms()) {
                    due.push((id, index));
                }
            }
        }
        due
    }

    /// Asks for the stable offsets of tasks that have committed nothing for so long that their stores seem old.
    pub(super) fn prove_idle(&mut self, now: Timestamp) {
        let member = self.group.is_some() && self.giving_up.is_none() && self.stopping.is_none();
        let refresh_ms = self.refresh_ms();
        let asked = self.proof.asked.is_some_and(|(_, at)| now - at < refresh_ms);
        if !member || asked || now < self.proof.next || !self.transaction.is_settled() {
            return;
        }
        let unproved = |slot: &Slot| now - slot.store.covered_at().0 >= refresh_ms;
        let mut partitions = Vec::new();
        for id in self.stale_tasks(now) {
            let task = &self.tasks[&id].task;
            if task.replica.slots.iter().any(unproved) {
                partitions.extend(task.committed.iter().map(|c| c.partition.clone()));
            }
        }
        if !partitions.is_empty() {
            let request = self.request();
            self.proof = Proof { asked: Some((request, now)), next: now + (refresh_ms / 8).max(1) };
            self.effects.push_back(Effect::FetchStable { request, partitions });
        }
    }

    /// The answer: a task for which nobody has committed since holds all that was committed when the question was asked.
    /// False when the answer was to another question.
    pub(super) fn proved(&mut self, request: Request, result: &Result<Vec<Stable>, crate::fault::Fault>) -> bool {
        let Some((_, asked_at)) = self.proof.asked.take_if(|(asked, _)| *asked == request) else { return false };
        let Ok(stable) = result else { return true };
        for held in self.tasks.values_mut().filter(|h| h.running()) {
            let same = |c: &Committed| {
                stable.iter().any(|s| s.partition == c.partition && s.offset == c.offset && s.metadata == c.metadata)
            };
            if held.task.committed.iter().all(same) {
                held.task.proved(asked_at);
            }
        }
        true
    }

    /// When [`Worker::prove_idle`] or a refresh is due next.
    pub(super) fn next_refresh(&self) -> Timestamp {
        let waits = self.proof.asked.is_some() || self.group.is_none() || !self.transaction.is_settled();
        if self.settings.guarantee == Guarantee::AtLeastOnce || waits || self.disk_is_busy() {
            return NEVER;
        }
        let running = self.tasks.values().filter(|h| h.running());
        let slots = running.flat_map(|h| &h.task.replica.slots).filter(|slot| !slot.store.is_persisting());
        let first = slots.filter_map(saved_at).min().map_or(NEVER, |at| at + self.refresh_ms());
        first.max(self.proof.next)
    }
}

/// Up to when the disk says that a logged store is complete.
fn saved_at(slot: &Slot) -> Option<Timestamp> {
    slot.changelog.as_ref()?;
    slot.store.backend().durable().then(|| slot.store.covered_at().1)?
}
