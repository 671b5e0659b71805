//! Task directories of one replica on a real disk.

use super::Disks;
use crate::{
    fault::Result,
    record::TaskId,
    state::{Backend, MemoryBackend, RocksRuntime},
    worker::OpenStore,
};
use std::{path::PathBuf, sync::Arc};

/// One RocksDB per task under a directory that belongs to one replica; it outlives a kill.
pub struct RocksDisks {
    runtime: Arc<RocksRuntime>,
    base: PathBuf,
}

impl RocksDisks {
    /// Task directories under `base`.
    pub fn new(runtime: Arc<RocksRuntime>, base: PathBuf) -> Self {
        Self { runtime, base }
    }
}

impl Disks for RocksDisks {
    fn open(&mut self, _member: usize, task: TaskId, stores: &[OpenStore]) -> Option<Result<Vec<Arc<dyn Backend>>>> {
        let names: Vec<&str> = stores.iter().filter(|s| s.persistent).map(|s| &*s.name).collect();
        let on_disk = if names.is_empty() {
            Ok(Vec::new())
        } else {
            self.runtime.open_task(&self.base.join(task.to_string()), &names)
        };
        Some(on_disk.map(|backends| {
            let mut backends = backends.into_iter();
            let backend = |store: &OpenStore| {
                let on_disk = if store.persistent { backends.next() } else { None };
                on_disk.unwrap_or_else(|| Arc::new(MemoryBackend::new()) as Arc<dyn Backend>)
            };
            stores.iter().map(backend).collect()
        }))
    }

    fn close(&mut self, _member: usize, _task: TaskId) {
        // The database closes with its last backend.
    }
}
