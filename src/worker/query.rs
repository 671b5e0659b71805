//! Queries between two steps: they see committed rows only, and change nothing.

use super::{Worker, held::Phase};
use crate::{
    record::{TaskId, TopicPartition},
    state::{Change, Store},
    topology::Resolved,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Why a store can't be asked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// This member does not own the task, or knows of no store by this name in it.
    NotHere,
    /// The store is being filled; so many changelog offsets are still to come, as far as known.
    Restoring(i64),
}

/// A member of the group and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Where its process answers queries, as `host:port`; `None` when it doesn't.
    pub endpoint: Option<String>,
    /// Source partitions assigned to it.
    pub partitions: Vec<TopicPartition>,
}

/// What a member can say of the stores of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All that is committed.
    Complete,
    /// What has come so far.
    Restoring,
    /// What was committed before the partitions were given up: they may come back, or be with another member.
    Suspended,
}

/// Where questions to the stores of a process wait until the stream thread that owns them has time: between two steps,
/// where no record is in hand. A driver tells it of its threads, and lets each serve.
pub trait Desk: Send + Sync {
    /// The topology is tied to topics; stream threads follow.
    fn tied(&self, resolved: &Arc<Resolved>);

    /// A stream thread is there. `wake` ends its sleep, and costs little when it does not sleep.
    fn open(&self, thread: usize, wake: Box<dyn Fn() + Send + Sync>);

    /// Answers what waits for a thread, as much as one turn may take. True when something was done.
    fn serve(&self, thread: usize, worker: &mut Worker) -> bool;

    /// The thread is gone: nobody answers for it any more.
    fn close(&self, thread: usize);
}

/// A stream thread's place at the desk, given back when the thread ends.
pub struct Seat {
    thread: usize,
    desk: Arc<dyn Desk>,
}

impl Seat {
    /// Takes the place of a thread; `wake` ends its sleep.
    pub fn take(thread: usize, desk: Arc<dyn Desk>, wake: impl Fn() + Send + Sync + 'static) -> Self {
        desk.open(thread, Box::new(wake));
        Self { thread, desk }
    }

    /// Answers what waits ([`Desk::serve`]).
    pub fn serve(&self, worker: &mut Worker) -> bool {
        self.desk.serve(self.thread, worker)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.close(self.thread);
    }
}

/// Stores whose changes somebody wants to hear of, and the changes since they were taken last.
#[derive(Debug, Default)]
pub(super) struct Watch {
    stores: BTreeSet<Arc<str>>,
    changes: Changes,
    bytes: usize,
}

/// What commits changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// By task and store, in the order of commits; within one commit in the order of first writes.
    pub rows: BTreeMap<(TaskId, Arc<str>), Vec<Change>>,
    /// True when there were more than the limit allows: some are missing.
    pub cut: bool,
}

impl Worker {
    /// Reads a store of a task as of the last commit ([`Store::committed_view`]). `stale` also asks a store that is being
    /// restored, or whose partitions are given up for the time being: then rows may be missing or old, but each was
    /// committed at some time.
    ///
    /// # Errors
    /// When the store is not here, or not complete.
    pub fn query<T>(
        &mut self,
        task: TaskId,
        store: &str,
        stale: bool,
        read: impl FnOnce(&mut Store) -> T,
    ) -> Result<T, Refusal> {
        let held = self.tasks.get_mut(&task).ok_or(Refusal::NotHere)?;
        let complete = matches!(held.phase, Phase::Ready | Phase::Running);
        if !stale && !held.owned {
            return Err(Refusal::NotHere);
        }
        if !stale && !complete {
            return Err(Refusal::Restoring(held.task.replica.remaining()));
        }
        let slots = &mut held.task.replica.slots;
        match slots.iter_mut().map(|slot| &mut slot.store).find(|s| &*s.spec().name == store) {
            Some(store) => Ok(store.committed_view(read)),
            // Its stores are being opened.
            None if !complete => Err(Refusal::Restoring(0)),
            None => Err(Refusal::NotHere),
        }
    }

    /// The tasks of this member, by id.
    pub fn standing(&self) -> impl Iterator<Item = (TaskId, Standing)> {
        self.tasks.iter().map(|(id, held)| {
            let standing = match held.phase {
                _ if !held.owned => Standing::Suspended,
                Phase::Ready | Phase::Running => Standing::Complete,
                _ => Standing::Restoring,
            };
            (*id, standing)
        })
    }

    /// Keeps the changes of these stores from now on, and of no others.
    pub fn watch_stores(&mut self, stores: &BTreeSet<Arc<str>>) {
        if self.watch.stores != *stores {
            self.watch.stores.clone_from(stores);
        }
    }

    /// What was committed to watched stores since the last call. A restore changes nothing: it brings back what was
    /// committed before.
    pub fn take_changes(&mut self) -> Changes {
        self.watch.bytes = 0;
        std::mem::take(&mut self.watch.changes)
    }

    /// Notes what a task's stores are about to move to their tables, when somebody wants to hear of it.
    pub(super) fn note_changes(&mut self, task: TaskId) {
        let Some(held) = self.tasks.get(&task) else { return };
        if self.watch.stores.is_empty() {
            return;
        }
        let Watch { stores, changes, bytes } = &mut self.watch;
        for store in held.task.replica.slots.iter().map(|slot| &slot.store) {
            let name = &store.spec().name;
            if !stores.contains(name) {
                continue;
            }
            store.committing(&mut |change| {
                *bytes += change.bytes();
                if *bytes > self.settings.watch_bytes_max {
                    changes.cut = true;
                } else {
                    changes.rows.entry((task, Arc::clone(name))).or_default().push(change);
                }
            });
        }
    }
}
