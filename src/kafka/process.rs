//! The lasting id of the process, and its lock on the state directory.

use crate::{
    config::Config,
    fault::{Fault, Result},
};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

/// Kafka Streams' name of the file that holds the process id.
const METADATA: &str = "kafka-streams-process-metadata";
const LOCK: &str = ".lock";
/// Holds how many stream threads may have left a transaction open.
const THREADS: &str = "millstream-threads";

/// The state directory of one application, locked as long as this lives.
pub struct StateHome {
    /// Where the task directories lie.
    pub path: PathBuf,
    /// Lasting id of the process.
    pub process_id: String,
    _lock: File,
}

impl StateHome {
    /// Where the application of these settings keeps its state.
    pub fn directory(config: &Config) -> PathBuf {
        let base = Path::new(config.text("state.dir").unwrap_or("millstream-state"));
        base.join(config.text("application.id").unwrap_or_default())
    }

    /// Takes the directory `<base>/<application id>`. `configured` overrides the id kept there.
    ///
    /// # Errors
    /// When another process holds it, or the disk fails.
    pub fn take(base: &Path, application_id: &str, configured: Option<&str>) -> Result<Self> {
        let path = base.join(application_id);
        fs::create_dir_all(&path).map_err(|e| io(&path, &e))?;
        let lock_path = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|e| io(&lock_path, &e))?;
        // SAFETY: an open descriptor; the lock ends with it.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            return Err(Fault::stop("another process uses the state directory")
                .at(path.display().to_string())
                .hint("give each process its own state.dir"));
        }
        let process_id = match configured {
            Some(id) => id.to_owned(),
            None => kept_or_drawn(&path.join(METADATA))?,
        };
        Ok(Self { path, process_id, _lock: lock })
    }
}

impl StateHome {
    /// How many stream threads of former runs may have left a transaction open; 0 where nothing is known.
    pub fn threads(&self) -> usize {
        fs::read_to_string(self.path.join(THREADS)).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
    }

    /// Remembers it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn keep_threads(&self, count: usize) -> Result<()> {
        let path = self.path.join(THREADS);
        replace(&path, &count.to_string()).map_err(|e| io(&path, &e))
    }
}

/// Puts a text in the place of a file in one step.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    File::create(&fresh).and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()))?;
    fs::rename(&fresh, path)
}

fn io(path: &Path, error: &std::io::Error) -> Fault {
    Fault::stop(format!("the state directory can't be used: {error}"))
        .at(path.display().to_string())
        .hint("set state.dir to a directory that this process may write")
}

fn kept_or_drawn(path: &Path) -> Result<String> {
    if let Ok(text) = fs::read_to_string(path) {
        let id = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|v| v.get("processId").and_then(|id| id.as_str()).map(str::to_owned));
        return id.ok_or_else(|| {
            Fault::stop("the process id can't be read").at(path.display().to_string()).hint("remove the file")
        });
    }
    let id = draw_id().map_err(|e| io(path, &e))?;
    let text = serde_json::json!({ "processId": id, "version": 1 }).to_string();
    replace(path, &text).map_err(|e| io(path, &e))?;
    Ok(id)
}

fn draw_id() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// A number that no other start of this or another process has drawn.
pub(super) fn draw_session() -> i64 {
    let mut bytes = [0; 8];
    let drawn = File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    if drawn.is_err() {
        return super::wall_clock();
    }
    i64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_lasts_and_the_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateHome::take(dir.path(), "app", None).unwrap();
        let id = first.process_id.clone();
        let second = StateHome::take(dir.path(), "app", None).map(|h| h.process_id);
        assert!(second.unwrap_err().to_string().starts_with("another process uses the state directory"));
        drop(first);
        assert_eq!(StateHome::take(dir.path(), "app", None).unwrap().process_id, id);
        assert_eq!(StateHome::take(dir.path(), "app", Some("pod-0")).unwrap().process_id, "pod-0");
        assert_ne!(StateHome::take(dir.path(), "other", None).unwrap().process_id, id);
    }

    #[test]
    fn the_greatest_thread_count_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let home = StateHome::take(dir.path(), "app", None).unwrap();
        assert_eq!(home.threads(), 0);
        home.keep_threads(4).unwrap();
        drop(home);
        assert_eq!(StateHome::take(dir.path(), "app", None).unwrap().threads(), 4);
    }
}
