//! A worker and its client on the model log.

use super::{Client, ClientConfig, Disks, globals::follow};
use crate::{
    fault::Fault,
    log::Log,
    operator::OnError,
    record::Timestamp,
    sink::Sinks,
    topology::{Resolved, Topology},
    worker::{Event, Settings, Worker},
};
use std::sync::Arc;

/// Events and effects in a row before a tick returns, so that the group hears of a member that never comes to rest.
const STEPS_MAX: usize = 1_000;

/// What a [`Member::tick`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Something happened: tick again at once.
    Busy,
    /// Nothing to do until this time, or until others act.
    Idle(Timestamp),
    /// The worker has ended: [`Member::fault`] says why.
    Exited,
}

/// A worker and its client. Each method is one kind of step; [`Member::tick`] takes them all in a fixed order.
pub struct Member {
    worker: Worker,
    resolved: Arc<Resolved>,
    globals_fault: Option<Fault>,
    unreadable: OnError,
    /// The client; the simulator reaches into it.
    pub client: Client,
}

impl Member {
    /// A member that has not joined yet. `index` tells the members of one process apart.
    pub fn new(
        topology: Arc<Topology>,
        resolved: Arc<Resolved>,
        settings: Settings,
        mut config: ClientConfig,
        index: usize,
    ) -> Self {
        config.guarantee = settings.guarantee;
        config.planted = settings.planted;
        let unreadable = settings.errors.deserialization;
        let mut client = Client::new(config, index);
        client.sinks = Sinks::new(topology.sinks());
        let worker = Worker::new(topology, Arc::clone(&resolved), settings);
        Self { worker, resolved, globals_fault: None, unreadable, client }
    }

    /// The worker.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The worker, for queries of its stores.
    pub fn worker_mut(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// Asks the worker to commit, close and leave.
    pub fn stop(&mut self, now: Timestamp) {
        self.worker.handle(now, Event::Stop);
    }

    /// Reads the topics of global tables to their ends. Called before the member joins its group, and again and again: so
    /// they are restored before any task starts.
    pub fn follow(&mut self, log: &Log) {
        for table in &self.resolved.globals {
            if let Err(fault) = follow(table, log, self.unreadable) {
                self.globals_fault.get_or_insert(fault);
            }
        }
    }

    /// Hands one event to the worker. False when there is none.
    pub fn hear(&mut self, now: Timestamp) -> bool {
        let event = self.client.next_event();
        let some = event.is_some();
        if let Some(event) = event {
            tracing::debug!(target: "member", "{} <- {}", self.client.config().client_id, event);
            self.worker.handle(now, event);
        }
        some
    }

    /// Takes the worker's effects over and carries the next one, or a part of it, out.
    pub fn act(&mut self, log: &mut Log, now: Timestamp) -> bool {
        if !self.client.has_orders()
            && let Some(effect) = self.worker.poll_effect()
        {
            tracing::debug!(target: "member", "{} -> {}", self.client.config().client_id, effect);
            self.client.order(effect);
        }
        self.client.act(log, now)
    }

    /// Lets the worker process at most `budget` records. True when it has more to do.
    pub fn work(&mut self, now: Timestamp, budget: usize) -> bool {
        self.worker.step(now, budget)
    }

    /// True after the worker's end.
    pub fn exited(&self) -> bool {
        self.globals_fault.is_some() || self.client.exited().is_some()
    }

    /// Why the worker ended, when it was not asked to.
    pub fn fault(&self) -> Option<&Fault> {
        self.globals_fault.as_ref().or_else(|| self.client.exited().and_then(Option::as_ref))
    }

    /// Takes every kind of step once: the group, fetches, answers, at most `budget` records, effects.
    pub fn tick(&mut self, log: &mut Log, disks: &mut dyn Disks, now: Timestamp, budget: usize) -> Progress {
        if self.exited() {
            return Progress::Exited;
        }
        self.follow(log);
        self.client.group(log, now);
        let mut busy = false;
        for _ in 0..self.client.fetched() {
            self.client.fetch(log);
            busy |= self.client.deliver();
        }
        busy |= self.drain(log, disks, now);
        busy |= self.work(now, budget);
        busy |= self.drain(log, disks, now);
        match (self.exited(), busy) {
            (true, _) => Progress::Exited,
            (false, true) => Progress::Busy,
            (false, false) => Progress::Idle(self.worker.next_wakeup()),
        }
    }

    /// Events, effects and answers until none is left that need not wait.
    fn drain(&mut self, log: &mut Log, disks: &mut dyn Disks, now: Timestamp) -> bool {
        let mut busy = false;
        for _ in 0..STEPS_MAX {
            let mut again = self.hear(now) || self.act(log, now);
            let mut index = 0;
            while index < self.client.pending() {
                if self.client.complete(index, log, disks) {
                    again = true;
                } else {
                    index += 1;
                }
            }
            if !again {
                break;
            }
            busy = true;
        }
        busy
    }
}
