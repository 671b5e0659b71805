//! `millstream demo`.

use crate::{
    embedded::{MakeDisks, Script, demo},
    fault::{Fault, Result},
    runtime::{Ending, Stop},
};
use std::io::Write;

/// Runs the demo on the best state that is built in: on disk, or in memory.
pub fn run(out: &mut dyn Write) -> Result<Ending> {
    let stop = Stop::on_signals()?;
    let place = Place::new();
    let said = |e: std::io::Error| Fault::stop(format!("can't print: {e}"));
    writeln!(out, "millstream demo: state {}.\n", place.state()).map_err(said)?;
    let verdict = demo(Script::default(), place.disks(), out, &stop.flag())?;
    Ok(if verdict.exact() { Ending::Done } else { Ending::Differs })
}

#[cfg(not(feature = "rocksdb"))]
struct Place;

#[cfg(not(feature = "rocksdb"))]
impl Place {
    fn new() -> Self {
        Self
    }

    fn state(&self) -> &'static str {
        "in memory, restored from the changelog"
    }

    fn disks(&self) -> MakeDisks {
        use crate::{embedded::MemoryDisks, state::MemoryBackend};
        use std::sync::Arc;
        Arc::new(|_| Box::new(MemoryDisks::new(|| Arc::new(MemoryBackend::new()))))
    }
}

/// A directory of this process for temporary files; it goes when the demo ends.
#[cfg(feature = "rocksdb")]
struct Place(std::path::PathBuf);

#[cfg(feature = "rocksdb")]
impl Place {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("millstream-demo-{}", std::process::id())))
    }

    fn state(&self) -> &'static str {
        "on disk in RocksDB, and in the changelog"
    }

    fn disks(&self) -> MakeDisks {
        use crate::{embedded::RocksDisks, state::RocksRuntime};
        use std::sync::Arc;
        let runtime = Arc::new(RocksRuntime::new(16 << 20, 16 << 20));
        let base = self.0.clone();
        Arc::new(move |number| Box::new(RocksDisks::new(Arc::clone(&runtime), base.join(format!("replica-{number}")))))
    }
}

#[cfg(feature = "rocksdb")]
impl Drop for Place {
    fn drop(&mut self) {
        // What is left lies among temporary files and is no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
