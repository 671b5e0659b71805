//! Many tasks, one group member, one transaction: a value that drivers feed with events and whose effects they carry out.
//!
//! ```text
//!            handle(now, Event)                 poll_effect() -> Effect
//!   driver ───────────────────────▶  Worker  ───────────────────────────▶ driver
//!            step(now, budget)      tasks, outbox, transaction
//! ```
//!
//! [`membership`](self) decides which tasks exist, [`tasks`](self) brings them up and down, [`commit`](self) runs the
//! transaction, [`memory`](self) moves committed rows to disk, [`query`](self) shows them to others.

mod commit;
mod effect;
mod event;
mod held;
mod idle;
mod membership;
mod memory;
mod planted;
mod progress;
mod query;
mod settings;
mod snapshot;
mod suspicion;
mod tasks;
mod timings;
mod totals;
mod trace;
mod transaction;

pub use crate::record::{Fetch, Request};
pub use crate::task::{Counters, Latency, TopicCounters};
pub use effect::{CommitOffset, Effect, From, KeptBy, OpenStore};
pub use event::{Event, GroupMetadata, LogRange, Now, OpenedStore, Outcome, Stable};
pub use planted::Planted;
pub use progress::Progress;
pub use query::{Changes, Desk, Owner, Refusal, Seat, Standing};
pub use settings::{Guarantee, NEVER, Settings};
pub use snapshot::{Snapshot, TaskSnapshot};
pub use timings::{Stage, Timings};

use crate::{
    fault::{Fault, Remedy},
    operator::Punctuation,
    record::{Offset, TaskId, Timestamp, TopicPartition},
    task::{Env, Outbox, Task, at_task},
    topology::{Resolved, Topology},
};
use held::{Closing, Held};
use membership::GivingUp;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use transaction::{Cause, Transaction};

/// Records of one task in a row before the next task has its turn.
const TURN_RECORDS_MAX: usize = 64;

/// One group member: its tasks and its transaction.
pub struct Worker {
    topology: Arc<Topology>,
    resolved: Arc<Resolved>,
    settings: Settings,
    effects: VecDeque<Effect>,
    requests: u64,
    fetches: u64,
    /// Identity under the current assignment; `None` while there is none.
    group: Option<GroupMetadata>,
    giving_up: Option<GivingUp>,
    tasks: BTreeMap<TaskId, Held>,
    closing: Vec<Closing>,
    /// Running persists: task, store, and whether the task was closing.
    persists: BTreeMap<Request, (TaskId, usize)>,
    transaction: Transaction,
    outbox: Outbox,
    commits: i64,
    last_commit: Timestamp,
    /// From when on the commit interval counts.
    interval_from: Timestamp,
    /// True when all input that was known has been processed at some time since the last commit.
    keeps_up: bool,
    /// Bytes of waiting records above which a partition's flow is turned off.
    queue_bytes_max: usize,
    aborts: u32,
    backoff_until: Timestamp,
    /// The task whose turn is next.
    turn: usize,
    /// Set once the worker is to end; the fault is why, when nobody asked.
    stopping: Option<Option<Fault>>,
    exited: bool,
    kept_forever: BTreeSet<Arc<str>>,
    proof: idle::Proof,
    suspicion: Option<suspicion::Suspicion>,
    last_purge: Timestamp,
    purged: BTreeMap<TopicPartition, Offset>,
    /// Of [`Planted::EndBeforeStable`] alone.
    early_ends: BTreeMap<TaskId, Vec<LogRange>>,
    totals: totals::Totals,
    watch: query::Watch,
}

impl Worker {
    /// A worker without an assignment.
    pub fn new(topology: Arc<Topology>, resolved: Arc<Resolved>, settings: Settings) -> Self {
        Self {
            topology,
            resolved,
            settings,
            effects: VecDeque::new(),
            requests: 0,
            fetches: 0,
            group: None,
            giving_up: None,
            tasks: BTreeMap::new(),
            closing: Vec::new(),
            persists: BTreeMap::new(),
            transaction: Transaction::Idle,
            outbox: Outbox::default(),
            commits: 0,
            last_commit: 0,
            interval_from: 0,
            keeps_up: false,
            queue_bytes_max: 0,
            aborts: 0,
            backoff_until: 0,
            turn: 0,
            stopping: None,
            exited: false,
            kept_forever: BTreeSet::new(),
            proof: idle::Proof::default(),
            suspicion: None,
            last_purge: 0,
            purged: BTreeMap::new(),
            early_ends: BTreeMap::new(),
            totals: totals::Totals::default(),
            watch: query::Watch::default(),
        }
    }

    /// Something happened. Nothing is processed here.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        if self.exited {
            return;
        }
        match event {
            Event::Assigned { partitions, counts, group } => self.assigned(now, partitions, &counts, group),
            Event::Revoked => self.revoked(now),
            Event::Lost => self.lost(now),
            Event::Records { fetch, partition, records, position, end } => {
                self.fetched(fetch, &partition, records, position, end);
            }
            Event::Position { fetch, partition, position, end } => {
                self.fetched(fetch, &partition, Vec::new(), position, end);
            }
            Event::Opened { request, result } => self.opened(now, request, result),
            Event::LogRanges { request, result } => self.ranged(now, request, result),
            Event::Restored { request, result } => self.restored(now, request, result),
            Event::Persisted { request, result } => self.persisted(now, request, &result),
            Event::Closed { request } => self.closing.retain(|c| c.closed != Some(request)),
            Event::CommitEnded { request, outcome } => self.commit_ended(now, request, outcome),
            Event::SendFailed { fault } => self.send_failed(now, fault),
            Event::AbortEnded { request, result } => self.abort_ended(now, request, result),
            Event::ProducerReady { request, result } => self.producer_ready(now, request, result),
            Event::StableOffsets { request, result } => self.stable(now, request, result),
            Event::Budget { table_bytes_max } => self.settings.table_bytes_max = table_bytes_max,
            Event::Stop => {
                self.stopping.get_or_insert(None);
            }
        }
        self.settle(now);
    }

    /// Processes at most `budget` records, then commits when that is due. True when there is more to do at once.
    pub fn step(&mut self, now: Timestamp, budget: usize) -> bool {
        let more = self.work(now, budget);
        self.conclude(now);
        more
    }

    /// The first half of [`Worker::step`]: processes at most `budget` records. A driver that measures calls the halves
    /// one by one.
    pub fn work(&mut self, now: Timestamp, budget: usize) -> bool {
        if self.exited {
            return false;
        }
        if now >= self.backoff_until {
            self.backoff_until = 0;
        }
        self.repeat_commit(now);
        self.close_suspended(now);
        self.prove_idle(now);
        self.relieve_memory(now);
        let stalled = self.watch(now);
        let mut left = budget;
        if !stalled && self.may_process(now) {
            self.punctuate(now);
            left = self.turns(now, left);
            self.note_work(now);
        }
        left == 0
    }

    /// The second half of [`Worker::step`]: prepares a commit when it is due, and brings to its end what was asked for.
    pub fn conclude(&mut self, now: Timestamp) {
        if self.exited {
            return;
        }
        if self.commit_due(now) {
            self.start_commit(now);
        }
        self.purge(now);
        self.settle(now);
    }

    /// Records processed since the start, repeats after aborts included.
    pub fn processed(&self) -> u64 {
        self.totals.processed
    }

    /// Those of them that were processed while the outcome of a commit was awaited.
    pub fn processed_beside_commits(&self) -> u64 {
        self.totals.beside_commits
    }

    /// Commits that did not end well while there was already more to commit.
    pub fn refused_beside(&self) -> u64 {
        self.totals.refused_beside
    }

    /// The next thing for the driver to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Worker::step`] should be called again even if nothing happens; [`NEVER`] when there is no such time.
    pub fn next_wakeup(&self) -> Timestamp {
        if self.exited {
            return NEVER;
        }
        let mut at = if matches!(self.transaction, Transaction::Repeating(_)) { self.backoff_until } else { NEVER };
        let owner = self.group.is_some() && self.giving_up.is_none() && self.stopping.is_none();
        if owner && self.accepts_work() {
            if self.transaction.is_settled() && self.something_to_commit() {
                at = at.min(self.interval_from + self.settings.commit_interval_ms);
            }
            if self.backoff_until > 0 {
                at = at.min(self.backoff_until);
            } else {
                let running = self.tasks.values().filter(|h| h.running());
                at = at.min(running.filter_map(|h| h.task.next_punctuation()).min().unwrap_or(NEVER));
            }
        }
        at.min(self.next_refresh()).min(self.next_memory_wakeup()).min(self.next_suspended_close())
    }

    /// Whether tasks may run now, as long as the disk keeps up: under an assignment, with room beside a commit under way,
    /// not backing off.
    fn may_process(&self, now: Timestamp) -> bool {
        let owner = self.group.is_some() && self.giving_up.is_none() && self.stopping.is_none();
        owner && self.accepts_work() && now >= self.backoff_until
    }

    fn punctuate(&mut self, now: Timestamp) {
        for id in self.running_tasks() {
            let uncached = self.settings.cache_bytes_max == 0;
            let result = self.with_task(now, id, |task, env| {
                task.punctuate(Punctuation::WallClock, env)?;
                if uncached { task.flush(env) } else { Ok(()) }
            });
            if let Err(fault) = result {
                self.task_fault(now, id, fault);
                return;
            }
        }
    }

    /// Gives each ready task its turns until nothing is ready, the budget is spent or a commit is due.
    fn turns(&mut self, now: Timestamp, mut left: usize) -> usize {
        let ids = self.running_tasks();
        if ids.is_empty() {
            return left;
        }
        let mut idle = 0;
        while idle < ids.len() && left > 0 && self.accepts_work() && !self.commit_due(now) {
            let id = ids[self.turn % ids.len()];
            self.turn = self.turn.wrapping_add(1);
            let mut done = 0;
            // Without a cache no record waits for the next one (P-61).
            let uncached = self.settings.cache_bytes_max == 0;
            while done < TURN_RECORDS_MAX.min(left) {
                let processed = self.with_task(now, id, |task, env| {
                    let some = task.process(env)?;
                    if some && uncached {
                        task.flush(env)?;
                    }
                    Ok(some)
                });
                match processed {
                    Ok(true) => done += 1,
                    Ok(false) => break,
                    Err(fault) => {
                        self.task_fault(now, id, fault);
                        return left;
                    }
                }
            }
            idle = if done == 0 { idle + 1 } else { 0 };
            left -= done;
            self.totals.processed += done as u64;
            if matches!(self.transaction, Transaction::Committing(..)) {
                self.totals.beside_commits += done as u64;
            }
            self.resume_flow(id);
            self.relieve_buffers(now, id);
        }
        self.keeps_up |= idle == ids.len() && ids.iter().all(|id| self.tasks[id].task.caught_up());
        left
    }

    /// Keeps outbox and record caches inside their limits.
    fn relieve_buffers(&mut self, now: Timestamp, id: TaskId) {
        let pending: usize = self.tasks.values().map(|h| h.task.pending_bytes()).sum();
        if pending > self.settings.cache_bytes_max
            && let Err(fault) = self.with_task(now, id, Task::flush)
        {
            self.task_fault(now, id, fault);
            return;
        }
        if self.outbox_is_full() {
            self.send_outbox();
        }
    }

    fn running_tasks(&self) -> Vec<TaskId> {
        self.tasks.iter().filter(|(_, h)| h.running()).map(|(id, _)| *id).collect()
    }

    fn with_task<T>(
        &mut self,
        now: Timestamp,
        id: TaskId,
        f: impl FnOnce(&mut Task, &mut Env<'_>) -> crate::fault::Result<T>,
    ) -> crate::fault::Result<T> {
        let mut env = Env {
            now,
            resolved: &self.resolved,
            outbox: &mut self.outbox,
            request_bytes_max: self.settings.request_bytes_max,
            max_task_idle_ms: self.settings.max_task_idle_ms,
            errors: &self.settings.errors,
        };
        f(&mut self.tasks.get_mut(&id).expect("only known tasks are called").task, &mut env)
    }

    /// A failure of a task while records flow.
    fn task_fault(&mut self, now: Timestamp, id: TaskId, fault: Fault) {
        if fault.remedy == Remedy::Stop {
            return self.fail_task(now, id, fault);
        }
        let fault = at_task(fault, id);
        tracing::warn!(task = %id, %fault, "the task has failed");
        self.fault(now, fault);
    }

    /// As [`Worker::fail`], because of a task.
    fn fail_task(&mut self, now: Timestamp, id: TaskId, fault: Fault) {
        let fault = at_task(fault, id);
        tracing::error!(task = %id, %fault, "the worker stops");
        self.stop_for(now, fault);
    }

    /// A failure while records flow: its remedy says what happens.
    fn fault(&mut self, now: Timestamp, fault: Fault) {
        match fault.remedy {
            Remedy::Stop => self.fail(now, fault),
            Remedy::Rejoin => self.abort(now, Cause::Lost),
            Remedy::Skip | Remedy::Retry | Remedy::Rebuild => self.abort(now, Cause::Retry(fault)),
        }
    }

    /// Ends the worker because of a fault: the open transaction is aborted, committed state is kept.
    fn fail(&mut self, now: Timestamp, fault: Fault) {
        tracing::error!(%fault, "the worker stops");
        self.stop_for(now, fault);
    }

    fn stop_for(&mut self, now: Timestamp, fault: Fault) {
        if !matches!(self.stopping, Some(Some(_))) {
            self.stopping = Some(Some(fault));
        }
        self.abort(now, Cause::Stop);
    }

    fn request(&mut self) -> Request {
        self.requests += 1;
        Request(self.requests)
    }
}
