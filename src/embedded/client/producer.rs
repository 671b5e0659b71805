//! The producer: one transaction after the other, and all the ways in which a commit can end.

use super::{Client, Did};
use crate::{
    fault::Fault,
    log::{Committed, Identity, Log, LogError, Producer},
    record::{Offset, OutRecord, RawRecord, Timestamp, TopicPartition},
    worker::{CommitOffset, Effect, Event, GroupMetadata, Guarantee, Outcome, Planted, Request},
};

/// What goes wrong with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitTrouble {
    /// The broker refuses the transaction; it is aborted.
    Refused,
    /// It is committed, but the answer is lost.
    UnknownDone,
    /// The request is lost.
    UnknownNot,
    /// The request is on its way and arrives when [`Client::arrive`] is called, or never.
    UnknownLate,
}

/// Faults that a test wants to happen.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    /// Taken by the next commit.
    pub commit: Option<CommitTrouble>,
    /// The next send fails.
    pub send: bool,
    /// Retention can't be changed.
    pub keep: bool,
    /// Records stay in the client's buffer until the commit.
    pub lazy: bool,
    /// The commit's offsets reach the broker before the buffered records.
    pub offsets_first: bool,
    /// Rows are on their way to a sink for a while.
    pub slow_sinks: bool,
    /// Steps for which each commit stands still at its beginning.
    pub slow_commits: usize,
}

type Offsets = Vec<(TopicPartition, Committed)>;

/// A commit under way. Everything but the producer goes on beside it.
#[derive(Debug)]
pub(super) struct Commit {
    request: Request,
    offsets: Vec<CommitOffset>,
    group: GroupMetadata,
    /// Steps in which nothing of it happens.
    waits: usize,
    flushed: bool,
    offsets_sent: bool,
}

#[derive(Debug, Default)]
pub(super) struct Handle {
    current: Option<Producer>,
    /// The open transaction can't be committed any more.
    doomed: Option<Fault>,
    /// A request to commit that has not arrived yet.
    late: Option<Producer>,
    /// An offset commit without a transaction that has not arrived yet.
    late_offsets: Option<(Identity, Offsets)>,
}

fn broker(error: LogError) -> Fault {
    Fault::rebuild(error.to_string())
}

/// Ends the open transaction. While the last one's markers are being written the open one is still empty, and a
/// client asks nothing of the broker for an empty transaction.
fn end(log: &mut Log, producer: Producer, commit: bool, now: Timestamp) -> Result<(), LogError> {
    match log.end_transaction(producer, commit, now) {
        Err(LogError::Concurrent) => Ok(()),
        result => result,
    }
}

impl Client {
    fn exactly_once(&self) -> bool {
        self.config.guarantee == Guarantee::ExactlyOnceV2
    }

    /// Makes sure that there is a producer. False while the log still decides what the last one left.
    pub(super) fn ensure_producer(&mut self, log: &mut Log, now: Timestamp) -> bool {
        if self.producer.current.is_none() {
            let (id, timeout_ms) = (&self.config.transactional_id, self.config.transaction_timeout_ms);
            self.producer.current = log.init_transactions(id, timeout_ms, now).ok();
        }
        self.producer.current.is_some()
    }

    pub(super) fn begin(&mut self, log: &mut Log, now: Timestamp) -> Did {
        if self.exactly_once() && !self.ensure_producer(log, now) {
            return Did::Blocked;
        }
        self.producer.doomed = None;
        Did::Done
    }

    pub(super) fn send(&mut self, records: Vec<OutRecord>, log: &mut Log, now: Timestamp) {
        if self.producer.doomed.is_some() {
            return;
        }
        if std::mem::take(&mut self.trouble.send) {
            self.refuse(records, log, now);
            return;
        }
        self.buffer.extend(records);
        if !self.trouble.lazy {
            self.flush(log, now, usize::MAX);
        }
    }

    /// The broker refuses the first record. Without a transaction the others are written all the same.
    fn refuse(&mut self, records: Vec<OutRecord>, log: &mut Log, now: Timestamp) {
        if !self.exactly_once() {
            self.buffer.extend(records.into_iter().skip(1));
            self.flush(log, now, usize::MAX);
        }
        if self.config.planted != Planted::RefusalIgnored {
            self.doom(Fault::rebuild("the broker refused a record"));
        }
    }

    fn doom(&mut self, fault: Fault) {
        self.buffer.clear();
        self.producer.doomed = Some(fault.clone());
        // A commit that waits already will say so itself.
        let waits = |order: &Effect| matches!(order, Effect::Commit { .. } | Effect::Abort { .. });
        if self.commit.is_none() && !self.orders.iter().any(waits) {
            self.events.push_back(Event::SendFailed { fault });
        }
    }

    /// Writes at most `count` buffered records to the log. False when some have to wait.
    pub fn flush(&mut self, log: &mut Log, now: Timestamp, count: usize) -> bool {
        for _ in 0..count {
            let Some(record) = self.buffer.pop_front() else { break };
            let result = match self.producer.current {
                _ if !self.exactly_once() => self.append(record, log),
                Some(producer) => {
                    let again = record.clone();
                    let result = log.produce(producer, record, now);
                    if result == Err(LogError::Concurrent) {
                        self.buffer.push_front(again);
                        return false;
                    }
                    result
                }
                None => Err(LogError::Fenced),
            };
            if let Err(error) = result {
                if error == LogError::Fenced {
                    self.producer.current = None;
                }
                self.doom(broker(error));
                break;
            }
        }
        true
    }

    /// Writes a record outside of any transaction, whoever owns the partitions by then.
    fn append(&mut self, record: OutRecord, log: &mut Log) -> Result<Offset, LogError> {
        // A member that takes the place of another by its instance id does so within the generation.
        let replaced = self.member.as_ref().is_some_and(|member| log.is_fenced(&self.config.group, member));
        if log.generation(&self.config.group) == self.generation && !replaced {
            return log.append(record);
        }
        let offset = log.append(record.clone())?;
        let OutRecord { topic, partition, key, value, timestamp, headers, .. } = record;
        let written = RawRecord { offset, timestamp, key, value, headers };
        self.stale_writes.push((TopicPartition::new(topic, partition), written));
        Ok(offset)
    }

    /// Writes some of the buffered records, each partition's in order and each partition as far as `choose` (a number
    /// below its argument) says: the client is dead, and its requests are on their way to different brokers.
    pub fn scatter(&mut self, log: &mut Log, now: Timestamp, mut choose: impl FnMut(usize) -> usize) {
        while !self.buffer.is_empty() {
            let chosen = self.buffer[choose(self.buffer.len())].clone();
            let (of_chosen, others) = std::mem::take(&mut self.buffer)
                .into_iter()
                .partition(|r| r.topic == chosen.topic && r.partition == chosen.partition);
            self.buffer = of_chosen;
            let arrive = choose(self.buffer.len() + 1);
            self.flush(log, now, arrive);
            self.buffer = others;
        }
    }

    /// Number of records that are not in the log yet.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn start_commit(&mut self, request: Request, offsets: Vec<CommitOffset>, group: GroupMetadata) {
        let waits = self.trouble.slow_commits;
        self.commit = Some(Commit { request, offsets, group, waits, flushed: false, offsets_sent: false });
    }

    /// Takes the commit under way one step on. False when there is none, or it has to wait.
    pub(super) fn step_commit(&mut self, log: &mut Log, now: Timestamp) -> bool {
        let Some(mut commit) = self.commit.take() else { return false };
        if commit.waits > 0 {
            commit.waits -= 1;
            self.commit = Some(commit);
            return true;
        }
        let (request, did) = (commit.request, self.try_commit(log, now, &mut commit));
        match did {
            Ok(did) => {
                self.commit = Some(commit);
                did != Did::Blocked
            }
            Err(outcome) => {
                self.end_commit(request, outcome);
                true
            }
        }
    }

    /// One step of a commit; the error is how it ended.
    fn try_commit(&mut self, log: &mut Log, now: Timestamp, commit: &mut Commit) -> Result<Did, Outcome> {
        if let Some(fault) = &self.producer.doomed {
            let lost_producer = self.exactly_once() && self.producer.current.is_none();
            return Err(if lost_producer { Outcome::Fenced } else { Outcome::Aborted(fault.clone()) });
        }
        let unacknowledged = self.exactly_once() && self.trouble.offsets_first
            || !self.exactly_once() && self.config.planted == Planted::OffsetsBeforeFlush;
        let offsets_next = !commit.offsets_sent && (commit.flushed || unacknowledged);
        if offsets_next {
            let identity = Identity { generation: commit.group.generation, member: commit.group.member.clone() };
            let list = commit
                .offsets
                .iter()
                .map(|o| (o.partition.clone(), Committed { offset: o.offset, metadata: o.metadata.clone() }))
                .collect::<Vec<_>>();
            let result = match self.producer.current {
                // As librdkafka does: nothing is sent, and nothing is checked, for an empty list.
                _ if list.is_empty() => Ok(()),
                _ if !self.exactly_once() => self.commit_plainly(log, identity, list)?,
                Some(producer) => log.send_offsets(producer, &self.config.group, &identity, list, now),
                None => Err(LogError::Fenced),
            };
            match result {
                Ok(()) => commit.offsets_sent = true,
                Err(LogError::Concurrent) => return Ok(Did::Blocked),
                Err(LogError::Fenced) => return Err(Outcome::Fenced),
                Err(LogError::IllegalGeneration | LogError::UnknownMember | LogError::FencedInstance) => {
                    return Err(Outcome::Lost);
                }
                Err(error) => return Err(Outcome::Aborted(broker(error))),
            }
        } else if !commit.flushed {
            if !self.flush(log, now, usize::MAX) {
                return Ok(Did::Blocked);
            }
            commit.flushed = true;
        } else {
            return Err(self.decide(log, now));
        }
        Ok(Did::Part)
    }

    /// Commits offsets without a transaction. The outer error says that they were refused, or that no answer came,
    /// whatever became of the request.
    fn commit_plainly(
        &mut self,
        log: &mut Log,
        identity: Identity,
        offsets: Offsets,
    ) -> Result<Result<(), LogError>, Outcome> {
        // Requests of one client arrive in order: one that has not when the next is sent never does.
        self.producer.late_offsets = None;
        let trouble = self.trouble.commit.take();
        match trouble {
            None | Some(CommitTrouble::UnknownDone) => {
                let result = log.commit_offsets(&self.config.group, &identity, offsets);
                if trouble.is_none() {
                    return Ok(result);
                }
            }
            Some(CommitTrouble::UnknownLate) => self.producer.late_offsets = Some((identity, offsets)),
            Some(CommitTrouble::UnknownNot) => {}
            Some(CommitTrouble::Refused) => {
                return Err(Outcome::Aborted(Fault::rebuild("the broker refused the offsets")));
            }
        }
        Err(Outcome::Unknown)
    }

    fn decide(&mut self, log: &mut Log, now: Timestamp) -> Outcome {
        if !self.exactly_once() {
            return Outcome::Committed;
        }
        let trouble = self.trouble.commit.take();
        let Some(producer) = self.producer.current else { return Outcome::Fenced };
        match trouble {
            Some(CommitTrouble::Refused) => return Outcome::Aborted(Fault::rebuild("the broker refused the commit")),
            Some(CommitTrouble::UnknownNot) => return Outcome::Unknown,
            Some(CommitTrouble::UnknownLate) => {
                self.producer.late = Some(producer);
                return Outcome::Unknown;
            }
            Some(CommitTrouble::UnknownDone) | None => {}
        }
        match end(log, producer, true, now) {
            Ok(()) if trouble.is_some() => Outcome::Unknown,
            Ok(()) => Outcome::Committed,
            Err(LogError::Fenced) => Outcome::Fenced,
            Err(error) => Outcome::Aborted(broker(error)),
        }
    }

    /// Reports how a commit ended.
    fn end_commit(&mut self, request: Request, outcome: Outcome) {
        match &outcome {
            // The worker aborts.
            Outcome::Aborted(_) | Outcome::Lost => self.buffer.clear(),
            Outcome::Fenced | Outcome::Unknown => {
                self.buffer.clear();
                self.producer.current = None;
            }
            Outcome::Committed => self.commits += 1,
        }
        self.producer.doomed = None;
        self.events.push_back(Event::CommitEnded { request, outcome });
    }

    pub(super) fn abort(&mut self, log: &mut Log, now: Timestamp, request: Request) -> Did {
        self.buffer.clear();
        let result = match self.producer.current {
            _ if !self.exactly_once() => Ok(()),
            None => Err(LogError::Fenced),
            Some(producer) => end(log, producer, false, now),
        };
        if result.is_err() {
            self.producer.current = None;
        }
        self.producer.doomed = None;
        self.events.push_back(Event::AbortEnded { request, result: result.map_err(broker) });
        Did::Done
    }

    pub(super) fn replace_producer(&mut self, log: &mut Log, now: Timestamp, request: Request) -> Did {
        self.buffer.clear();
        self.producer.current = None;
        if self.exactly_once() && !self.ensure_producer(log, now) {
            return Did::Blocked;
        }
        self.producer.doomed = None;
        self.events.push_back(Event::ProducerReady { request, result: Ok(()) });
        Did::Done
    }

    /// Lets a commit request arrive that was thought lost. True when it was one and the log took it.
    pub fn arrive(&mut self, log: &mut Log, now: Timestamp) -> bool {
        if let Some((identity, offsets)) = self.producer.late_offsets.take() {
            return log.commit_offsets(&self.config.group, &identity, offsets).is_ok();
        }
        self.producer.late.take().is_some_and(|producer| log.end_transaction(producer, true, now).is_ok())
    }

    /// True while a commit request is on its way that was thought lost.
    pub fn has_late(&self) -> bool {
        self.producer.late.is_some() || self.producer.late_offsets.is_some()
    }
}
