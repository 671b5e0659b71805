//! The board on which stream threads put up their figures, and from which all others read.

use crate::{record::Timestamp, worker::Snapshot};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Newest figures of one stream thread.
#[derive(Debug, Clone)]
pub struct Vitals {
    /// The thread's number from 0.
    pub thread: usize,
    /// Its figures.
    pub snapshot: Arc<Snapshot>,
    /// How long ago it put them up, in milliseconds.
    pub age_ms: i64,
    /// The client calls that it is in, and for how long, in milliseconds. A commit goes on beside another call.
    pub calls: Vec<(&'static str, i64)>,
}

/// A figure of the disk under the stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFigure {
    /// What it counts.
    pub name: &'static str,
    /// The store, for a figure that each has.
    pub store: Option<String>,
    /// The figure.
    pub value: u64,
}

/// Looks at the disk when somebody asks.
pub type LookAtDisk = Arc<dyn Fn() -> Vec<DiskFigure> + Send + Sync>;

struct Entry {
    snapshot: Arc<Snapshot>,
    at: Instant,
    calls: Vec<(&'static str, Instant)>,
}

/// A thread that gives no sign of life, or waits too long for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The thread's number.
    pub thread: usize,
    /// False where only a call takes too long that goes on beside it.
    pub silent: bool,
    /// For how long, in milliseconds.
    pub for_ms: i64,
    /// The client call that it has been in for longest, where it is in one.
    pub call: Option<&'static str>,
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { thread, silent, for_ms, call } = self;
        let call = call.map_or_else(String::new, |call| format!("in `{call}` of the Kafka client"));
        match (silent, call.as_str()) {
            (true, "") => write!(f, "stream thread {thread} gives no sign of life for {for_ms} ms"),
            (true, _) => write!(f, "stream thread {thread} gives no sign of life for {for_ms} ms, {call}"),
            (false, _) => write!(f, "stream thread {thread} is {call} for {for_ms} ms"),
        }
    }
}

fn ms(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Figures of all stream threads of the process. Clones share one board.
#[derive(Clone)]
pub struct Board {
    entries: Arc<Mutex<Vec<Option<Entry>>>>,
    threads: usize,
    /// Ages below this are signs of life.
    stall_ms: i64,
    disk: Option<LookAtDisk>,
}

impl Board {
    /// A board for `threads` stream threads; one that is silent for `stall_ms` counts as stuck.
    pub fn new(threads: usize, stall_ms: i64) -> Self {
        Self { entries: Arc::default(), threads, stall_ms, disk: None }
    }

    /// The same board, with figures of the disk. They are asked for by whoever reads, never by a stream thread.
    #[must_use]
    pub fn with_disk(self, disk: Option<LookAtDisk>) -> Self {
        Self { disk, ..self }
    }

    /// Figures of the disk; none where state lies in memory.
    pub fn disk(&self) -> Vec<DiskFigure> {
        self.disk.as_ref().map_or_else(Vec::new, |look| look())
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Option<Entry>>> {
        // A panicking writer leaves whole entries behind.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts up the figures of a thread; also its sign of life.
    pub fn publish(&self, thread: usize, snapshot: Snapshot) {
        let mut entries = self.entries();
        let entry = entry(&mut entries, thread);
        (entry.snapshot, entry.at) = (Arc::new(snapshot), Instant::now());
    }

    /// A thread enters a call of the Kafka client (`inside`), or is back from it.
    pub fn in_call(&self, thread: usize, call: &'static str, inside: bool) {
        let mut entries = self.entries();
        let calls = &mut entry(&mut entries, thread).calls;
        if inside {
            calls.push((call, Instant::now()));
        } else if let Some(at) = calls.iter().rposition(|(name, _)| *name == call) {
            calls.remove(at);
        }
    }

    /// The newest figures of each thread that has any.
    pub fn read(&self) -> Vec<Vitals> {
        let read = |(thread, entry): (usize, &Option<Entry>)| {
            let entry = entry.as_ref()?;
            let calls = entry.calls.iter().map(|(call, since)| (*call, ms(*since))).collect();
            Some(Vitals { thread, snapshot: Arc::clone(&entry.snapshot), age_ms: ms(entry.at), calls })
        };
        self.entries().iter().enumerate().filter_map(read).collect()
    }

    /// How many threads the process runs.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The thread that has given no sign of life for too long, or whose call takes too long. A silent thread that
    /// stops does not count: it ends, or [`Board::stuck_at_the_end`] sees it.
    pub fn stuck(&self) -> Option<Stuck> {
        let stuck = |v: &Vitals| {
            let longest = v.calls.iter().max_by_key(|(_, for_ms)| *for_ms);
            let silent = v.age_ms > self.stall_ms;
            let for_ms = if silent { v.age_ms } else { longest?.1 };
            let counts = for_ms > self.stall_ms && !(silent && v.snapshot.state == "stopping");
            counts.then(|| Stuck { thread: v.thread, silent, for_ms, call: longest.map(|(call, _)| *call) })
        };
        self.read().iter().find_map(stuck)
    }

    /// True when a thread is on its way out and none has given a sign of life for too long: the process should have
    /// ended, and what it waits for hangs.
    pub fn stuck_at_the_end(&self) -> bool {
        let all = self.read();
        let ending = all.iter().any(|v| v.snapshot.state == "stopping");
        ending && all.iter().all(|v| v.age_ms > self.stall_ms)
    }

    /// `Ok` unless the commit pipeline stands still for longer than the limit: a thread gives no sign of life, is in one
    /// call, owes a commit, or waits for the disk. Restoring, rebalancing and lagging behind are none of these.
    ///
    /// # Errors
    /// The reason in words.
    pub fn live(&self, now: Timestamp) -> Result<(), String> {
        if let Some(stuck) = self.stuck() {
            return Err(stuck.to_string());
        }
        for v in self.read().iter().filter(|v| v.snapshot.state != "stopping") {
            let thread = v.thread;
            let over = |since: Option<Timestamp>| since.map(|t| now - t).filter(|ms| *ms > self.stall_ms);
            if let Some(ms) = over(v.snapshot.overdue_since) {
                return Err(format!("stream thread {thread} has work, and its commit is overdue for {ms} ms"));
            }
            if let Some(ms) = over(v.snapshot.stalled_since) {
                return Err(format!("stream thread {thread} waits for the disk for {ms} ms"));
            }
        }
        Ok(())
    }

    /// `Ok` when every thread lives, has an assignment and restores nothing; otherwise why not.
    ///
    /// # Errors
    /// The reason in words.
    pub fn ready(&self) -> Result<(), String> {
        let all = self.read();
        if all.len() < self.threads {
            return Err(format!("{} of {} stream threads have started", all.len(), self.threads));
        }
        for v in &all {
            if v.snapshot.state != "running" {
                return Err(format!("stream thread {} is {}", v.thread, v.snapshot.state));
            }
            if v.age_ms > self.stall_ms {
                return Err(format!("stream thread {} gives no sign of life for {} ms", v.thread, v.age_ms));
            }
        }
        Ok(())
    }
}

/// The entry of a thread. A thread that has put up nothing yet is starting.
fn entry(entries: &mut Vec<Option<Entry>>, thread: usize) -> &mut Entry {
    if entries.len() <= thread {
        entries.resize_with(thread + 1, || None);
    }
    entries[thread].get_or_insert_with(|| Entry {
        snapshot: Arc::new(Snapshot { state: "starting", ..Snapshot::default() }),
        at: Instant::now(),
        calls: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_all_threads_run() {
        let board = Board::new(2, 1_000_000);
        board.publish(0, Snapshot { state: "running", ..Snapshot::default() });
        assert_eq!(board.ready().unwrap_err(), "1 of 2 stream threads have started");
        board.publish(1, Snapshot { state: "restoring", ..Snapshot::default() });
        assert_eq!(board.ready().unwrap_err(), "stream thread 1 is restoring");
        board.publish(1, Snapshot { state: "running", ..Snapshot::default() });
        assert_eq!(board.ready(), Ok(()));
        assert_eq!(board.stuck(), None);
    }

    #[test]
    fn alive_unless_the_commit_pipeline_stands_still() {
        let board = Board::new(1, 1_000);
        let live = |snapshot: Snapshot| {
            board.publish(
                0,
                Snapshot { state: if snapshot.state.is_empty() { "running" } else { snapshot.state }, ..snapshot },
            );
            board.live(10_000)
        };
        let since = |t| Snapshot { overdue_since: Some(t), ..Snapshot::default() };
        assert_eq!(board.live(0), Ok(()), "before any thread has started");
        assert_eq!(live(Snapshot::default()), Ok(()));
        assert_eq!(live(since(9_000)), Ok(()));
        assert_eq!(live(since(8_999)).unwrap_err(), "stream thread 0 has work, and its commit is overdue for 1001 ms");
        assert_eq!(live(Snapshot { state: "stopping", ..since(0) }), Ok(()), "a stop has a limit of its own");
        let stalled = Snapshot { stalled_since: Some(5_000), ..Snapshot::default() };
        assert_eq!(live(stalled).unwrap_err(), "stream thread 0 waits for the disk for 5000 ms");
        for state in ["restoring", "rebalancing"] {
            assert_eq!(live(Snapshot { state, ..Snapshot::default() }), Ok(()));
        }
        let silent = Board::new(1, -1);
        silent.publish(0, Snapshot::default());
        assert!(silent.ready().is_err());
        assert!(silent.live(0).unwrap_err().starts_with("stream thread 0 gives no sign of life"));
    }

    /// A commit hangs beside a thread that lives and waits for it to stop.
    #[test]
    fn a_call_that_hangs_is_stuck_although_its_thread_lives() {
        let board = Board::new(1, 50);
        board.in_call(0, "commit_transaction", true);
        let deadline = Instant::now() + std::time::Duration::from_secs(30);
        let stuck = loop {
            board.publish(0, Snapshot { state: "stopping", ..Snapshot::default() });
            match board.stuck() {
                Some(stuck) => break stuck,
                None => assert!(Instant::now() < deadline, "nobody sees it"),
            }
        };
        assert_eq!((stuck.silent, stuck.call), (false, Some("commit_transaction")));
        assert!(stuck.to_string().contains("is in `commit_transaction` of the Kafka client for "), "{stuck}");
        board.in_call(0, "commit_transaction", false);
        board.publish(0, Snapshot { state: "stopping", ..Snapshot::default() });
        assert_eq!(board.stuck(), None);
    }

    #[test]
    fn a_silent_thread_is_stuck() {
        let board = Board::new(1, -1);
        assert_eq!(board.stuck(), None);
        // Before its first figures: it registers its transactional id, and the broker does not answer.
        board.in_call(0, "init_transactions", true);
        let stuck = board.stuck().unwrap();
        assert_eq!((stuck.thread, stuck.call), (0, Some("init_transactions")));
        assert!(board.live(0).unwrap_err().contains("in `init_transactions` of the Kafka client"));
        assert!(board.read()[0].calls.len() == 1);
        board.in_call(0, "init_transactions", false);
        board.publish(0, Snapshot::default());
        assert_eq!(board.stuck().map(|s| (s.thread, s.call)), Some((0, None)));
        assert!(!board.stuck_at_the_end());
        board.publish(0, Snapshot { state: "stopping", ..Snapshot::default() });
        assert_eq!(board.stuck(), None);
        assert!(board.stuck_at_the_end());
    }
}
