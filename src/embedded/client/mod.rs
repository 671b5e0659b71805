//! What a Kafka client is to a worker: the producer, the group membership, the fetches and the answers that are still
//! on their way. Effects go in, events come out; every step is small, so that anything may happen in between.

mod fetch;
mod group;
mod producer;
mod requests;
#[cfg(test)]
mod tests;

pub use producer::{CommitTrouble, Trouble};

use super::Disks;
use crate::{
    fault::Fault,
    log::Log,
    record::{OutRecord, RawRecord, Timestamp, TopicPartition},
    sink::{Batch, Sinks},
    worker::{Effect, Event, Guarantee, KeptBy, Planted},
};
use fetch::Fetches;
use group::Membership;
use producer::{Commit, Handle};
use requests::Pending;
use std::{collections::VecDeque, sync::Arc};

/// `auto.offset.reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reset {
    /// The start of the log.
    #[default]
    Earliest,
    /// The end of the log.
    Latest,
}

/// Who a client is and how patient the group is with it.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Group id: the application's id.
    pub group: Arc<str>,
    /// `client.id`: the beginning of the member id.
    pub client_id: String,
    /// `group.instance.id` of a static member: it never says that it leaves, and takes its place up again when it comes
    /// back within the session timeout.
    pub instance_id: Option<String>,
    /// `transactional.id`, stable over restarts.
    pub transactional_id: String,
    /// Topics to subscribe to.
    pub topics: Vec<Arc<str>>,
    /// Whether there are transactions.
    pub guarantee: Guarantee,
    /// Where to start without a committed offset.
    pub reset: Reset,
    /// `session.timeout.ms`.
    pub session_timeout_ms: i64,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval_ms: i64,
    /// `max.poll.interval.ms`: how long a rebalance waits for this member.
    pub rebalance_timeout_ms: i64,
    /// `transaction.timeout.ms`.
    pub transaction_timeout_ms: i64,
    /// Bytes per fetch of a partition and per piece of a restore.
    pub fetch_bytes_max: usize,
    /// A bug to plant, for the checkers' own tests.
    pub planted: Planted,
}

impl ClientConfig {
    /// Defaults for a member of `group`.
    pub fn new(group: impl Into<Arc<str>>, client_id: impl Into<String>, topics: Vec<Arc<str>>) -> Self {
        let (group, client_id) = (group.into(), client_id.into());
        Self {
            transactional_id: format!("{group}-{client_id}"),
            group,
            client_id,
            instance_id: None,
            topics,
            guarantee: Guarantee::ExactlyOnceV2,
            reset: Reset::Earliest,
            session_timeout_ms: 10_000,
            heartbeat_interval_ms: 500,
            rebalance_timeout_ms: 300_000,
            transaction_timeout_ms: 10_000,
            fetch_bytes_max: 256 << 10,
            planted: Planted::None,
        }
    }
}

/// How an attempt at a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Did {
    /// It is done.
    Done,
    /// A part of it is done.
    Part,
    /// It has to wait for others.
    Blocked,
}

/// One client.
pub struct Client {
    config: ClientConfig,
    /// Place of the member among those of its process.
    index: usize,
    orders: VecDeque<Effect>,
    events: VecDeque<Event>,
    pending: Vec<Pending>,
    producer: Handle,
    buffer: VecDeque<OutRecord>,
    commit: Option<Commit>,
    membership: Membership,
    member: Option<Arc<str>>,
    /// Another member took this one's instance id.
    fenced: bool,
    heartbeat_at: Timestamp,
    fetches: Fetches,
    exited: Option<Option<Fault>>,
    commits: u64,
    /// Generation of the last assignment that the worker heard of.
    generation: i32,
    stale_writes: Vec<(TopicPartition, RawRecord)>,
    /// True while rows are on their way to a sink.
    rows_sent: bool,
    /// True until the worker hears that a delivery failed: the driver takes no effect before.
    undelivered: bool,
    /// Sinks beyond Kafka.
    pub sinks: Sinks,
    /// Faults to happen; none by default.
    pub trouble: Trouble,
}

impl Client {
    /// A client that has not joined yet. `index` tells the members of a process apart.
    pub fn new(config: ClientConfig, index: usize) -> Self {
        Self {
            config,
            index,
            orders: VecDeque::new(),
            events: VecDeque::new(),
            pending: Vec::new(),
            producer: Handle::default(),
            buffer: VecDeque::new(),
            commit: None,
            membership: Membership::Out,
            member: None,
            fenced: false,
            heartbeat_at: Timestamp::MIN,
            fetches: Fetches::default(),
            exited: None,
            commits: 0,
            generation: -1,
            stale_writes: Vec::new(),
            rows_sent: false,
            undelivered: false,
            sinks: Sinks::default(),
            trouble: Trouble::default(),
        }
    }

    /// Who this client is.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Takes an effect; it is carried out by [`Client::act`], or waits in [`Client::pending`].
    pub fn order(&mut self, effect: Effect) {
        self.orders.push_back(effect);
    }

    /// The next thing to tell the worker.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        self.undelivered &= !matches!(event, Some(Event::SendFailed { .. }));
        event
    }

    /// True when effects wait to be carried out in order, or the worker has still to hear of one that failed.
    pub fn has_orders(&self) -> bool {
        !self.orders.is_empty() || self.undelivered
    }

    /// The end of the worker, with its fault, after [`Effect::Exit`].
    pub fn exited(&self) -> Option<&Option<Fault>> {
        self.exited.as_ref()
    }

    /// Number of commits that the worker was told of as committed.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// What this client appended, outside of transactions, after the group had moved on: nothing fences that.
    pub fn stale_writes(&self) -> &[(TopicPartition, RawRecord)] {
        &self.stale_writes
    }

    /// True once another member has joined with the same instance id; this one ends.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Member id in the group.
    pub fn member_id(&self) -> Option<&Arc<str>> {
        self.member.as_ref()
    }

    /// Carries out the next effect, or one step of it; where there is none, a step of the commit under way. False when
    /// there is nothing, or it has to wait.
    ///
    /// # Panics
    /// When the worker wants anything of the producer while the outcome of a commit is awaited (I4).
    pub fn act(&mut self, log: &mut Log, now: Timestamp) -> bool {
        self.act_in_order(log, now) || self.step_commit(log, now)
    }

    fn act_in_order(&mut self, log: &mut Log, now: Timestamp) -> bool {
        let Some(effect) = self.orders.pop_front() else { return false };
        assert!(self.commit.is_none() || !wants_producer(&effect), "I4: {effect} beside a commit");
        let did = match &effect {
            Effect::Begin => self.begin(log, now),
            Effect::Commit { request, offsets, group } => {
                self.start_commit(*request, offsets.clone(), group.clone());
                return true;
            }
            Effect::Abort { request } => self.abort(log, now, *request),
            Effect::ReplaceProducer { request } => self.replace_producer(log, now, *request),
            Effect::Deliver { batches } => self.deliver_rows(batches),
            _ => {
                self.act_plain(effect, log, now);
                return true;
            }
        };
        if did != Did::Done {
            self.orders.push_front(effect);
        }
        did != Did::Blocked
    }

    fn act_plain(&mut self, effect: Effect, log: &mut Log, now: Timestamp) {
        match effect {
            Effect::Send { records } => self.send(records, log, now),
            Effect::Fetch { fetch, partition, from } => self.fetches.start(fetch, partition, from),
            Effect::Flow { partition, on } => self.fetches.flow(&partition, on),
            Effect::Unassign => self.unassign(log, now),
            Effect::Rejoin => self.rejoin(),
            Effect::Purge { partition, below } => {
                // A topic that was deleted or is compacted has nothing to purge.
                let _ = log.delete_records(&partition, below);
            }
            Effect::KeepForever { .. } if self.trouble.keep => {
                let fault = Fault::stop("retention can't be changed");
                self.events.push_back(Event::SendFailed { fault });
            }
            Effect::KeepForever { topic, by } => {
                if let Some(mut config) = log.topic_config(&topic) {
                    match by {
                        KeptBy::Retention => config.retention_ms = None,
                        KeptBy::CompactionLag => config.min_compaction_lag_ms = i64::MAX,
                    }
                    let _ = log.configure_topic(&topic, config);
                }
            }
            Effect::Exit { fault } => {
                self.exited = Some(fault);
                self.pending.clear();
                self.events.clear();
                self.leave(log, now);
            }
            Effect::RestoreDone { .. } => {}
            request => self.pending.extend(Pending::new(request)),
        }
    }

    /// One try: the worker aborts after a failure, and comes again.
    fn deliver_rows(&mut self, batches: &[Batch]) -> Did {
        if self.trouble.slow_sinks && !std::mem::replace(&mut self.rows_sent, true) {
            return Did::Part;
        }
        self.rows_sent = false;
        let written = batches.iter().try_for_each(|batch| self.sinks.write(batch));
        if let Err(fault) = written
            && self.config.planted != Planted::SinkFailureIgnored
        {
            self.undelivered = true;
            self.events.push_back(Event::SendFailed { fault });
        }
        Did::Done
    }

    /// Batches that wait to be delivered. A process that dies may have them on the wire.
    pub fn undelivered_rows(&self) -> Vec<Batch> {
        let batches = |order: &Effect| match order {
            Effect::Deliver { batches } => batches.clone(),
            _ => Vec::new(),
        };
        self.orders.iter().flat_map(batches).collect()
    }

    /// Number of requests that wait for [`Client::complete`].
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// True when the pending request at `index` is a persist.
    pub fn is_persist(&self, index: usize) -> bool {
        matches!(self.pending[index], Pending::Persist { .. })
    }

    /// True between giving the partitions up and the next assignment.
    pub fn is_joining(&self) -> bool {
        self.membership == Membership::Joining
    }

    /// True while a commit or its rows wait to be carried out, or records wait to be written.
    pub fn is_committing(&self) -> bool {
        let waits =
            |order: &Effect| matches!(order, Effect::Send { .. } | Effect::Deliver { .. } | Effect::Commit { .. });
        self.commit.is_some() || !self.buffer.is_empty() || self.orders.iter().any(waits)
    }

    /// Completes the pending request at `index`. False when it can't be completed yet.
    pub fn complete(&mut self, index: usize, log: &mut Log, disks: &mut dyn Disks) -> bool {
        if let Some(task) = self.pending[index].opens()
            && self.pending.iter().any(|p| p.uses(task))
        {
            return false;
        }
        let Some(event) = self.pending[index].try_complete(&self.config, self.index, log, disks) else {
            return false;
        };
        self.pending.remove(index);
        self.events.push_back(event);
        true
    }

    /// Carries out the persists that are under way although the process is gone: each may have reached the disk.
    pub fn finish_persist(&mut self, index: usize) {
        self.pending[index].finish_persist();
    }

    /// Fetches from the next partition that may be read. False when none has news.
    pub fn fetch(&mut self, log: &Log) -> bool {
        self.fetches.fetch(log, &self.config)
    }

    /// Delivers the next fetched batch. False when there is none.
    pub fn deliver(&mut self) -> bool {
        let event = self.fetches.take();
        let some = event.is_some();
        self.events.extend(event);
        some
    }

    /// Number of fetched partitions.
    pub fn fetched(&self) -> usize {
        self.fetches.count()
    }

    /// Keeps batches that come too late for [`Client::deliver_stale`] instead of dropping them.
    pub fn keep_stale(&mut self) {
        self.fetches.keep_stale = true;
    }

    /// Batches of former fetches that were on their way when a newer fetch, or the end of the assignment, came.
    pub fn stale(&self) -> usize {
        self.fetches.stale.len()
    }

    /// Delivers a batch of a former fetch.
    pub fn deliver_stale(&mut self, index: usize) {
        let event = self.fetches.stale.remove(index);
        self.events.push_back(event);
    }

    /// Position of a fetched partition.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.fetches.position(partition)
    }
}

fn wants_producer(effect: &Effect) -> bool {
    use Effect as E;
    matches!(effect, E::Begin | E::Send { .. } | E::Commit { .. } | E::Abort { .. } | E::ReplaceProducer { .. })
}
