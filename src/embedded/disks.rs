//! The task directories of one process.

use crate::{fault::Fault, record::TaskId, state::Backend, worker::OpenStore};
use std::{collections::BTreeMap, sync::Arc};

/// The task directories of one process, handed from member to member.
pub trait Disks {
    /// Takes a task's directory and opens its stores; `None` while somebody holds it.
    ///
    /// # Errors
    /// When the medium fails.
    fn open(
        &mut self,
        member: usize,
        task: TaskId,
        stores: &[OpenStore],
    ) -> Option<Result<Vec<Arc<dyn Backend>>, Fault>>;

    /// Gives a task's directory back. Stores that are not persistent are forgotten.
    fn close(&mut self, member: usize, task: TaskId);
}

type MakeBackend = Box<dyn FnMut() -> Arc<dyn Backend> + Send>;

#[derive(Default)]
struct Directory {
    owner: Option<usize>,
    stores: BTreeMap<Arc<str>, Arc<dyn Backend>>,
}

/// Directories in memory. They outlive the members, as a disk outlives a process.
pub struct MemoryDisks {
    directories: BTreeMap<TaskId, Directory>,
    make: MakeBackend,
}

impl MemoryDisks {
    /// No directories yet; `make` gives an empty backend.
    pub fn new(make: impl FnMut() -> Arc<dyn Backend> + Send + 'static) -> Self {
        Self { directories: BTreeMap::new(), make: Box::new(make) }
    }

    /// Forgets who holds what: the process crashed.
    pub fn release_all(&mut self) {
        self.directories.values_mut().for_each(|d| d.owner = None);
    }

    /// Takes back whatever a member held that has ended.
    pub fn release(&mut self, member: usize) {
        self.directories.values_mut().filter(|d| d.owner == Some(member)).for_each(|d| d.owner = None);
    }

    /// The backend of a store, wherever it is held.
    pub fn backend(&self, task: TaskId, store: &str) -> Option<&Arc<dyn Backend>> {
        self.directories.get(&task)?.stores.get(store)
    }
}

impl Disks for MemoryDisks {
    fn open(
        &mut self,
        member: usize,
        task: TaskId,
        stores: &[OpenStore],
    ) -> Option<Result<Vec<Arc<dyn Backend>>, Fault>> {
        let directory = self.directories.entry(task).or_default();
        // Also when it is the member's own: a former life of the task has not given it back yet.
        if directory.owner.is_some() {
            return None;
        }
        directory.owner = Some(member);
        let make = &mut self.make;
        let open = |store: &OpenStore| {
            if !store.persistent {
                directory.stores.remove(&store.name);
            }
            Arc::clone(directory.stores.entry(Arc::clone(&store.name)).or_insert_with(&mut *make))
        };
        Some(Ok(stores.iter().map(open).collect()))
    }

    fn close(&mut self, member: usize, task: TaskId) {
        if let Some(directory) = self.directories.get_mut(&task)
            && directory.owner == Some(member)
        {
            directory.owner = None;
        }
    }
}
