//! The desk of a process: questions wait here for stream threads, and changes for whoever listens.
//!
//! A stream thread serves between two steps, for a millisecond at most before records have their turn again; it never
//! waits for who asked. So a query costs the thread a look-up and two hand-overs, and tables need no locks.

use crate::{
    fault::Result,
    record::TaskId,
    state::Change,
    topology::Resolved,
    worker::{Desk, Owner, Standing, Worker},
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a stream thread serves before records have their turn; one question more may exceed it.
const TURN: Duration = Duration::from_millis(1);
/// Who may listen to changes at once.
const LISTENERS_MAX: usize = 64;

/// A question with the way back for its answer.
pub type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// Nobody can take a question or a listener at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// What a listener is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A commit changed rows of a task.
    Changes(TaskId, Arc<Vec<Change>>),
    /// Partitions of the store that this process owns from now on, complete or not.
    Partitions(Vec<i32>),
    /// Changes are missing from here on.
    Cut,
}

/// Hears of the changes of a store. Called by stream threads: it must not wait.
pub trait Listener: Send {
    /// False when it hears no more: it is gone, or too slow.
    fn hear(&self, told: Told) -> bool;
}

/// Asks the group who owns what. It takes as long as the brokers take.
pub type LookUp = Arc<dyn Fn() -> Result<Vec<Owner>> + Send + Sync>;

/// Figures of the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryFigures {
    /// Questions that stream threads answered.
    pub served: u64,
    /// Questions that found the queue full.
    pub turned_away: u64,
    /// Questions waiting.
    pub waiting: usize,
    /// Who listens to changes.
    pub listeners: usize,
    /// Listeners that were cut off because they were too slow.
    pub cut: u64,
}

/// The queue of one stream thread.
struct Line {
    wake: Arc<dyn Fn() + Send + Sync>,
    jobs: VecDeque<Job>,
    standing: Vec<(TaskId, Standing)>,
}

struct Listening {
    sub_topology: u32,
    store: Arc<str>,
    /// What it was told last.
    partitions: Vec<i32>,
    listener: Box<dyn Listener>,
}

#[derive(Default)]
struct Inner {
    /// By thread.
    lines: Mutex<Vec<Option<Line>>>,
    listening: Mutex<Vec<Listening>>,
    /// Length of `listening`, to be read without the lock.
    listeners: AtomicUsize,
    /// Counts changes of who owns what.
    moves: AtomicU64,
    /// Moves that listeners were told of.
    told_moves: AtomicU64,
    resolved: OnceLock<Arc<Resolved>>,
    served: AtomicU64,
    turned_away: AtomicU64,
    cut: AtomicU64,
}

/// The desk. Clones share it.
#[derive(Clone)]
pub struct Queries {
    inner: Arc<Inner>,
    queue_max: usize,
    look_up: Option<LookUp>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded changes by whole values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queries {
    /// A desk where `queue_max` questions may wait for each stream thread. `look_up` tells who owns what is not here.
    pub fn new(queue_max: usize, look_up: Option<LookUp>) -> Self {
        Self { inner: Arc::default(), queue_max, look_up }
    }

    /// The topology with its topics, once the process knows them.
    pub fn resolved(&self) -> Option<&Arc<Resolved>> {
        self.inner.resolved.get()
    }

    /// Who tells the owners of what is not here.
    pub fn look_up(&self) -> Option<&LookUp> {
        self.look_up.as_ref()
    }

    /// The stream thread that can say most of a task, and how much that is.
    pub fn standing(&self, task: TaskId) -> Option<(usize, Standing)> {
        let lines = lock(&self.inner.lines);
        let of_line = |(thread, line): (usize, &Option<Line>)| {
            let standing = &line.as_ref()?.standing;
            let at = standing.binary_search_by_key(&task, |(id, _)| *id).ok()?;
            Some((thread, standing[at].1))
        };
        lines.iter().enumerate().filter_map(of_line).min_by_key(|(_, standing)| *standing as u8)
    }

    /// Queues a question for a stream thread. A question that is dropped unanswered found the thread gone.
    ///
    /// # Errors
    /// When too many wait already, or there is no such thread.
    pub fn ask(&self, thread: usize, job: Job) -> std::result::Result<(), Busy> {
        let mut lines = lock(&self.inner.lines);
        let line = lines.get_mut(thread).and_then(Option::as_mut).ok_or(Busy)?;
        if line.jobs.len() >= self.queue_max {
            self.inner.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(Busy);
        }
        line.jobs.push_back(job);
        // Later ones are seen with the first.
        let wake = (line.jobs.len() == 1).then(|| Arc::clone(&line.wake));
        // Without the lock, which the thread takes as soon as it is awake.
        drop(lines);
        if let Some(wake) = wake {
            wake();
        }
        Ok(())
    }

    /// Tells a listener of the changes of a store from now on, and of the partitions that they are of.
    ///
    /// # Errors
    /// When too many listen already.
    pub fn listen(
        &self,
        sub_topology: u32,
        store: Arc<str>,
        listener: Box<dyn Listener>,
    ) -> std::result::Result<(), Busy> {
        let mut listening = lock(&self.inner.listening);
        let partitions = self.partitions(sub_topology);
        if listening.len() >= LISTENERS_MAX {
            return Err(Busy);
        }
        if listener.hear(Told::Partitions(partitions.clone())) {
            listening.push(Listening { sub_topology, store, partitions, listener });
            self.inner.listeners.store(listening.len(), Ordering::Release);
        }
        Ok(())
    }

    /// Figures for metrics.
    pub fn figures(&self) -> QueryFigures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueryFigures {
            served: count(&self.inner.served),
            turned_away: count(&self.inner.turned_away),
            waiting: lock(&self.inner.lines).iter().flatten().map(|line| line.jobs.len()).sum(),
            listeners: self.inner.listeners.load(Ordering::Relaxed),
            cut: count(&self.inner.cut),
        }
    }

    /// Partitions of a sub-topology that this process owns.
    fn partitions(&self, sub_topology: u32) -> Vec<i32> {
        let lines = lock(&self.inner.lines);
        let all = lines.iter().flatten().flat_map(|line| &line.standing);
        let here = all.filter(|(id, s)| id.sub_topology == sub_topology && *s != Standing::Suspended);
        here.map(|(id, _)| id.partition).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn listeners(&self) -> usize {
        self.inner.listeners.load(Ordering::Acquire)
    }

    /// Answers what waits until the turn is over. True when something was done.
    fn answer(&self, thread: usize, worker: &mut Worker) -> bool {
        let mut jobs = self.take(thread, worker);
        if jobs.is_empty() {
            return false;
        }
        let (began, mut served) = (Instant::now(), 0);
        while let Some(job) = jobs.pop_front() {
            job(worker);
            served += 1;
            if began.elapsed() >= TURN {
                break;
            }
        }
        self.inner.served.fetch_add(served, Ordering::Relaxed);
        let mut lines = lock(&self.inner.lines);
        if let Some(line) = lines.get_mut(thread).and_then(Option::as_mut) {
            // Those whose turn did not come are first in the next one. The queue keeps its memory.
            jobs.append(&mut line.jobs);
            line.jobs = jobs;
        }
        true
    }

    /// Notes which tasks the thread has, and takes the questions that wait for it.
    fn take(&self, thread: usize, worker: &Worker) -> VecDeque<Job> {
        let mut lines = lock(&self.inner.lines);
        let Some(line) = lines.get_mut(thread).and_then(Option::as_mut) else { return VecDeque::new() };
        if !worker.standing().eq(line.standing.iter().copied()) {
            line.standing = worker.standing().collect();
            self.inner.moves.fetch_add(1, Ordering::Release);
        }
        std::mem::take(&mut line.jobs)
    }

    /// Tells listeners what the thread's commits changed, and drops those that hear no more.
    fn tell(&self, worker: &mut Worker) -> bool {
        let mut listening = lock(&self.inner.listening);
        worker.watch_stores(&listening.iter().map(|l| Arc::clone(&l.store)).collect());
        let changes = worker.take_changes();
        let mut busy = false;
        let mut keep = |listening: &mut Vec<Listening>, tell: &mut dyn FnMut(&mut Listening) -> bool| {
            let before = listening.len();
            listening.retain_mut(tell);
            self.inner.cut.fetch_add((before - listening.len()) as u64, Ordering::Relaxed);
            busy = true;
        };
        for ((task, store), rows) in changes.rows {
            let rows = Arc::new(rows);
            keep(&mut listening, &mut |l| l.store != store || l.listener.hear(Told::Changes(task, Arc::clone(&rows))));
        }
        if changes.cut {
            keep(&mut listening, &mut |l| {
                l.listener.hear(Told::Cut);
                false
            });
        }
        let moves = self.inner.moves.load(Ordering::Acquire);
        if self.inner.told_moves.swap(moves, Ordering::AcqRel) != moves {
            keep(&mut listening, &mut |l| {
                let partitions = self.partitions(l.sub_topology);
                let same = l.partitions == partitions;
                l.partitions.clone_from(&partitions);
                same || l.listener.hear(Told::Partitions(partitions))
            });
        }
        self.inner.listeners.store(listening.len(), Ordering::Release);
        busy
    }
}

impl Desk for Queries {
    fn tied(&self, resolved: &Arc<Resolved>) {
        // A process ties its topology once.
        let _again = self.inner.resolved.set(Arc::clone(resolved));
    }

    fn open(&self, thread: usize, wake: Box<dyn Fn() + Send + Sync>) {
        let mut lines = lock(&self.inner.lines);
        if lines.len() <= thread {
            lines.resize_with(thread + 1, || None);
        }
        lines[thread] = Some(Line { wake: wake.into(), jobs: VecDeque::new(), standing: Vec::new() });
    }

    fn serve(&self, thread: usize, worker: &mut Worker) -> bool {
        let busy = self.answer(thread, worker);
        if self.listeners() > 0 {
            return self.tell(worker) | busy;
        }
        worker.watch_stores(&BTreeSet::new());
        busy
    }

    fn close(&self, thread: usize) {
        if let Some(line) = lock(&self.inner.lines).get_mut(thread) {
            *line = None;
        }
        self.inner.moves.fetch_add(1, Ordering::Release);
    }
}
