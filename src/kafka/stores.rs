//! The task directories of the process: one owner each, handed from thread to thread.

use crate::{
    fault::{Fault, Result},
    record::TaskId,
    state::{Backend, MemoryBackend},
    worker::OpenStore,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Where the stores of tasks lie.
pub trait StateDir: Send + Sync {
    /// Opens the stores of a task, in the order given.
    ///
    /// # Errors
    /// When the medium fails.
    fn open(&self, task: TaskId, stores: &[OpenStore]) -> Result<Vec<Arc<dyn Backend>>>;
}

/// State in memory: each opening restores from the changelog.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryState;

impl StateDir for MemoryState {
    fn open(&self, _: TaskId, stores: &[OpenStore]) -> Result<Vec<Arc<dyn Backend>>> {
        Ok(stores.iter().map(|_| Arc::new(MemoryBackend::new()) as Arc<dyn Backend>).collect())
    }
}

/// State on disk: one RocksDB per task, in the directory of its id.
#[cfg(feature = "rocksdb")]
pub struct RocksState {
    runtime: Arc<crate::state::RocksRuntime>,
    base: std::path::PathBuf,
}

#[cfg(feature = "rocksdb")]
impl RocksState {
    /// Task directories under `base`.
    pub fn new(runtime: Arc<crate::state::RocksRuntime>, base: std::path::PathBuf) -> Self {
        Self { runtime, base }
    }
}

#[cfg(feature = "rocksdb")]
impl StateDir for RocksState {
    fn open(&self, task: TaskId, stores: &[OpenStore]) -> Result<Vec<Arc<dyn Backend>>> {
        let persistent: Vec<&str> = stores.iter().filter(|s| s.persistent).map(|s| &*s.name).collect();
        let mut opened = if persistent.is_empty() {
            Vec::new().into_iter()
        } else {
            self.runtime.open_task(&self.base.join(task.to_string()), &persistent)?.into_iter()
        };
        let backend = |store: &OpenStore| -> Arc<dyn Backend> {
            let on_disk = if store.persistent { opened.next() } else { None };
            on_disk.unwrap_or_else(|| Arc::new(MemoryBackend::new()))
        };
        Ok(stores.iter().map(backend).collect())
    }
}

/// How long a thread waits for another one of the process to give a task up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who holds which task directory of this process.
pub(super) struct Registry {
    state: Arc<dyn StateDir>,
    held: Mutex<BTreeSet<TaskId>>,
    freed: Condvar,
}

impl Registry {
    pub fn new(state: Arc<dyn StateDir>) -> Self {
        Self { state, held: Mutex::default(), freed: Condvar::new() }
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<TaskId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a task's directory, waiting while another thread holds it, and opens its stores.
    pub fn open(&self, task: TaskId, stores: &[OpenStore]) -> Result<Vec<Arc<dyn Backend>>> {
        let start = Instant::now();
        let mut held = self.held();
        while held.contains(&task) {
            if start.elapsed() > PATIENCE {
                return Err(Fault::stop("another thread of this process does not give the task up")
                    .hint("start again, and report this"));
            }
            let wait = self.freed.wait_timeout(held, Duration::from_secs(1));
            held = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        held.insert(task);
        drop(held);
        self.state.open(task, stores).inspect_err(|_| self.close(task))
    }

    /// Gives a task's directory back.
    pub fn close(&self, task: TaskId) {
        self.held().remove(&task);
        self.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_opened_when_its_holder_has_closed_it() {
        let registry = Arc::new(Registry::new(Arc::new(MemoryState)));
        let task = TaskId { sub_topology: 0, partition: 1 };
        let store = OpenStore { name: "s".into(), changelog: None, persistent: true };
        registry.open(task, std::slice::from_ref(&store)).unwrap();
        let other = Arc::clone(&registry);
        let waiting = std::thread::spawn(move || other.open(task, &[store]).map(|s| s.len()));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished());
        registry.close(task);
        assert_eq!(waiting.join().unwrap(), Ok(1));
    }
}
