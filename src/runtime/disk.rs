//! Where state lies on disk, and what the disk says of itself.

use super::LookAtDisk;
use crate::{config::Config, kafka::StateDir};
use std::sync::Arc;

/// Where stores lie, and how to look at it; both `None` when state lies in memory.
type Disk = (Option<Arc<dyn StateDir>>, Option<LookAtDisk>);

/// RocksDB below `state.dir`, one for each task.
#[cfg(feature = "rocksdb")]
pub fn disk(config: &Config) -> Disk {
    use super::DiskFigure;
    use crate::{
        kafka::{RocksState, StateHome},
        state::RocksRuntime,
    };
    let (cache, buffers) = (config.size("rocksdb.block.cache.bytes"), config.size("rocksdb.write.buffer.bytes"));
    let runtime = Arc::new(RocksRuntime::new(cache, buffers));
    let state = RocksState::new(Arc::clone(&runtime), StateHome::directory(config));
    let look = move || {
        let properties = runtime.properties().into_iter();
        properties.map(|p| DiskFigure { name: p.name, store: p.store, value: p.value }).collect()
    };
    (Some(Arc::new(state)), Some(Arc::new(look)))
}

/// Without RocksDB state lies in memory.
#[cfg(not(feature = "rocksdb"))]
pub fn disk(_: &Config) -> Disk {
    (None, None)
}

#[cfg(all(test, feature = "rocksdb"))]
mod tests {
    use crate::state::RocksRuntime;
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    /// A look at the figures that outlived the backends would keep the directory from its next owner.
    #[test]
    fn a_directory_changes_hands_while_somebody_looks() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = RocksRuntime::new(1 << 20, 1 << 20);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    runtime.properties();
                }
            });
            let opened = (0..30).try_for_each(|_| runtime.open_task(directory.path(), &["s"]).map(drop));
            done.store(true, Ordering::Relaxed);
            opened.unwrap();
        });
    }
}
