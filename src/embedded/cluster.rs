//! Replicas as threads on one embedded log: started, killed without a goodbye, started again.
#![expect(clippy::disallowed_methods, reason = "replicas are threads that live by the wall clock")]

use super::{ClientConfig, Disks, Member};
use crate::{
    fault::{Fault, Result},
    log::Log,
    record::Timestamp,
    topology::{Resolved, Topology},
    worker::{Desk, Seat, Settings, Snapshot},
};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Records that a replica processes before it looks after its client again.
const STEP_RECORDS_MAX: usize = 500;
/// Longest sleep of a replica with nothing to do, in milliseconds; what it waits for also wakes it.
const SLEEP_MS_MAX: i64 = 20;
/// Time between two looks at a replica's figures, in milliseconds.
const PUBLISH_MS: u128 = 100;

/// The wall clock in milliseconds.
pub fn wall_clock() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| Timestamp::try_from(d.as_millis()).unwrap_or(0))
}

/// Everything a replica is made of.
pub struct ReplicaConfig {
    /// What it runs.
    pub topology: Arc<Topology>,
    /// The same, tied to the topics of the log.
    pub resolved: Arc<Resolved>,
    /// Settings of its worker.
    pub settings: Settings,
    /// Its client.
    pub client: ClientConfig,
    /// Where queries wait for it, and its number there.
    pub desk: Option<(usize, Arc<dyn Desk>)>,
    /// Makes its disk, on its thread. Each start of a replica gets one.
    pub disks: Box<dyn FnOnce() -> Box<dyn Disks> + Send>,
}

#[derive(Default)]
struct Orders {
    stop: AtomicBool,
    kill: AtomicBool,
}

/// A running replica.
pub struct Replica {
    orders: Arc<Orders>,
    figures: Arc<Mutex<Snapshot>>,
    thread: Option<JoinHandle<Option<Fault>>>,
}

impl Replica {
    /// Its newest figures.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.figures).clone()
    }

    /// Ends it in the middle of whatever it does, as a power cut would: nothing is committed, the group isn't told, an
    /// open transaction stays open.
    pub fn kill(mut self) {
        self.orders.kill.store(true, Ordering::SeqCst);
        self.join();
    }

    /// Asks it to commit, close and leave, and waits until it has.
    ///
    /// # Errors
    /// What ended the replica, if something else did; or that it was killed because it took longer than `patience`.
    pub fn stop(mut self, patience: Duration) -> Result<()> {
        self.orders.stop.store(true, Ordering::SeqCst);
        let asked = Instant::now();
        while self.thread.as_ref().is_some_and(|t| !t.is_finished()) {
            if asked.elapsed() > patience {
                return Err(Fault::stop(format!("a replica did not stop within {} ms", patience.as_millis())));
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.join().map_or(Ok(()), Err)
    }

    /// What ended it, when it ended by itself.
    pub fn failure(&mut self) -> Option<Fault> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) { self.join() } else { None }
    }

    fn join(&mut self) -> Option<Fault> {
        match self.thread.take()?.join() {
            Ok(fault) => fault,
            Err(_) => Some(Fault::stop("a replica's thread panicked")),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.orders.kill.store(true, Ordering::SeqCst);
        self.join();
    }
}

/// One embedded log and whoever works on it. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<(Mutex<Log>, Condvar)>,
}

impl Cluster {
    /// A cluster on this log.
    pub fn new(log: Log) -> Self {
        Self { shared: Arc::new((Mutex::new(log), Condvar::new())) }
    }

    /// Does something with the log, then wakes the replicas.
    pub fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> T {
        let result = act(&mut lock(&self.shared.0));
        self.shared.1.notify_all();
        result
    }

    /// Starts a replica on a thread of its own.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start(&self, config: ReplicaConfig) -> Result<Replica> {
        let (orders, figures) = (Arc::<Orders>::default(), Arc::<Mutex<Snapshot>>::default());
        let name = config.client.client_id.clone();
        let live = {
            let (shared, orders, figures) = (Arc::clone(&self.shared), Arc::clone(&orders), Arc::clone(&figures));
            move || live(config, &shared, &orders, &figures)
        };
        let thread = thread::Builder::new()
            .name(name)
            .spawn(live)
            .map_err(|e| Fault::stop(format!("can't start a replica's thread: {e}")))?;
        Ok(Replica { orders, figures, thread: Some(thread) })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A replica that panicked has left the log between two whole steps of its own; the others go on.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A replica's life. Only the client's steps hold the log; records are processed beside the other replicas.
fn live(
    config: ReplicaConfig,
    shared: &Arc<(Mutex<Log>, Condvar)>,
    orders: &Orders,
    figures: &Mutex<Snapshot>,
) -> Option<Fault> {
    let (log, woken) = &**shared;
    let mut disks = (config.disks)();
    let desk = config.desk.map(|(number, desk)| {
        desk.tied(&config.resolved);
        let shared = Arc::clone(shared);
        Seat::take(number, desk, move || shared.1.notify_all())
    });
    let mut member = Member::new(config.topology, config.resolved, config.settings, config.client, 0);
    let mut stopping = false;
    let mut published = Instant::now();
    while !member.exited() {
        if orders.kill.load(Ordering::SeqCst) {
            return None;
        }
        let now = wall_clock();
        if orders.stop.load(Ordering::SeqCst) && !stopping {
            stopping = true;
            member.stop(now);
        }
        let mut busy = {
            let mut log = lock(log);
            log.tick(now);
            let busy = client_steps(&mut member, &mut log, disks.as_mut(), now);
            if busy {
                woken.notify_all();
            }
            busy
        };
        busy |= member.work(now, STEP_RECORDS_MAX);
        if let Some(desk) = &desk {
            busy |= desk.serve(member.worker_mut());
        }
        if published.elapsed().as_millis() >= PUBLISH_MS {
            published = Instant::now();
            *lock(figures) = member.worker_mut().snapshot();
        }
        if !busy {
            let sleep = (member.worker().next_wakeup() - now).clamp(1, SLEEP_MS_MAX);
            let held = lock(log);
            drop(woken.wait_timeout(held, Duration::from_millis(sleep.unsigned_abs())));
        }
    }
    *lock(figures) = member.worker_mut().snapshot();
    member.fault().cloned()
}

/// The group, a fetch per partition, and all effects and answers that need not wait.
fn client_steps(member: &mut Member, log: &mut Log, disks: &mut dyn Disks, now: Timestamp) -> bool {
    member.follow(log);
    member.client.group(log, now);
    let mut busy = false;
    for _ in 0..member.client.fetched() {
        busy |= member.client.fetch(log) && member.client.deliver();
    }
    loop {
        let mut again = member.hear(now) || member.act(log, now);
        let mut index = 0;
        while index < member.client.pending() {
            if member.client.complete(index, log, disks) {
                again = true;
            } else {
                index += 1;
            }
        }
        if !again {
            return busy;
        }
        busy = true;
    }
}
