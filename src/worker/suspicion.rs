//! A changelog with committed data where no input offset is committed. Either the group's offsets are gone, and going on
//! would count input twice; or this member is the former owner of the task and does not know it yet: it was told that
//! nothing is committed, and the new owner has committed since. The offsets of now tell which.

use super::{Effect, Stable, Worker, held::Phase, transaction::Cause};
use crate::{
    fault::Fault,
    record::{Request, TaskId, Timestamp},
};

/// The question under way, and what is wrong if nothing is committed still.
pub(super) struct Suspicion {
    asked: Request,
    task: TaskId,
    fault: Fault,
}

impl Worker {
    /// Lets a task rest and asks for the stable offsets of its sources. One answer decides for all tasks, so the newest
    /// question is enough.
    pub(super) fn suspect(&mut self, task: TaskId, fault: Fault) {
        let Some(held) = self.tasks.get_mut(&task) else { return };
        held.phase = Phase::Idle;
        let done = held.task.replica.slots.iter_mut().filter_map(|slot| slot.target.take().and(slot.changelog.clone()));
        self.effects.extend(done.map(|changelog| Effect::RestoreDone { changelog }));
        let partitions = held.task.committed.iter().map(|c| c.partition.clone()).collect();
        let asked = self.request();
        self.suspicion = Some(Suspicion { asked, task, fault });
        self.effects.push_back(Effect::FetchStable { request: asked, partitions });
    }

    /// The answer. False when it was to another question.
    pub(super) fn cleared(&mut self, now: Timestamp, request: Request, result: &Result<Vec<Stable>, Fault>) -> bool {
        let Some(Suspicion { task, fault, .. }) = self.suspicion.take_if(|s| s.asked == request) else { return false };
        let ours = self.group.is_some() && self.tasks.get(&task).is_some_and(|held| held.owned);
        match result {
            _ if !ours => {}
            Ok(stable) if stable.iter().all(|s| s.offset.is_none()) => self.fail(now, fault),
            Ok(_) => {
                tracing::warn!(task = %task, "another member has committed for this task: the assignment is given up");
                self.abort(now, Cause::Lost);
            }
            Err(fault) => {
                tracing::warn!(task = %task, %fault, "the committed offsets can't be read; the assignment is given up");
                self.abort(now, Cause::Lost);
            }
        }
        true
    }
}
