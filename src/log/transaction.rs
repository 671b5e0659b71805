//! Transactions by transactional id.

use super::{Committed, Identity, Log, LogError};
use crate::record::{Offset, OutRecord, Timestamp, TopicPartition};
use std::{collections::BTreeMap, sync::Arc};

/// A producer's hold on its transactional id. A later [`Log::init_transactions`] makes it worthless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    id: usize,
    epoch: u32,
}

#[derive(Debug)]
enum Target {
    Partition(TopicPartition),
    Group(Arc<str>),
}

#[derive(Debug)]
enum State {
    Empty,
    Open {
        since: Timestamp,
        targets: Vec<Target>,
    },
    /// Decided; the markers of these targets are still to be written.
    Decided {
        commit: bool,
        targets: Vec<Target>,
    },
}

#[derive(Debug)]
struct Transactional {
    epoch: u32,
    timeout_ms: i64,
    state: State,
}

#[derive(Debug, Default)]
pub(super) struct Transactions {
    names: BTreeMap<Arc<str>, usize>,
    producers: Vec<Transactional>,
    /// Markers wait for [`Log::write_marker`].
    deferred: bool,
}

impl Log {
    /// Takes a transactional id: producers that held it are fenced, an open transaction of theirs is aborted.
    ///
    /// # Errors
    /// [`LogError::Concurrent`] while markers of the last transaction are still being written: ask again.
    pub fn init_transactions(&mut self, id: &str, timeout_ms: i64, now: Timestamp) -> Result<Producer, LogError> {
        let transactions = &mut self.transactions;
        let Some(&at) = transactions.names.get(id) else {
            let at = transactions.producers.len();
            transactions.names.insert(id.into(), at);
            transactions.producers.push(Transactional { epoch: 0, timeout_ms, state: State::Empty });
            return Ok(Producer { id: at, epoch: 0 });
        };
        let held = &mut transactions.producers[at];
        held.timeout_ms = timeout_ms;
        match held.state {
            State::Decided { .. } => Err(LogError::Concurrent),
            State::Open { .. } => {
                held.epoch += 1;
                self.decide(at, false, now);
                self.init_transactions(id, timeout_ms, now)
            }
            State::Empty => {
                held.epoch += 1;
                Ok(Producer { id: at, epoch: held.epoch })
            }
        }
    }

    fn check(&mut self, producer: Producer) -> Result<&mut Transactional, LogError> {
        let held = self.transactions.producers.get_mut(producer.id).ok_or(LogError::InvalidState)?;
        if held.epoch == producer.epoch { Ok(held) } else { Err(LogError::Fenced) }
    }

    /// The targets of the open transaction; opens one when there is none.
    fn enlist(&mut self, producer: Producer, now: Timestamp) -> Result<&mut Vec<Target>, LogError> {
        let held = self.check(producer)?;
        if matches!(held.state, State::Empty) {
            held.state = State::Open { since: now, targets: Vec::new() };
        }
        match &mut held.state {
            State::Open { targets, .. } => Ok(targets),
            _ => Err(LogError::Concurrent),
        }
    }

    /// Appends a record to the producer's transaction, which begins with its first record or offset.
    ///
    /// # Errors
    /// [`LogError::Fenced`], or [`LogError::Concurrent`] while the last transaction's markers are being written.
    pub fn produce(&mut self, producer: Producer, record: OutRecord, now: Timestamp) -> Result<Offset, LogError> {
        self.partition(&record.topic, record.partition)?;
        let targets = self.enlist(producer, now)?;
        let known = targets
            .iter()
            .any(|t| matches!(t, Target::Partition(p) if p.partition == record.partition && p.topic == record.topic));
        if !known {
            targets.push(Target::Partition(TopicPartition::new(Arc::clone(&record.topic), record.partition)));
        }
        Ok(self.partition_mut(&record.topic, record.partition)?.append(record, Some(producer.id)))
    }

    /// Adds offsets to the producer's transaction; the group checks generation and member first.
    ///
    /// # Errors
    /// [`LogError::IllegalGeneration`] and [`LogError::UnknownMember`] from the group, else as [`Log::produce`].
    pub fn send_offsets(
        &mut self,
        producer: Producer,
        group: &str,
        identity: &Identity,
        offsets: Vec<(TopicPartition, Committed)>,
        now: Timestamp,
    ) -> Result<(), LogError> {
        self.enlist(producer, now)?;
        let group: Arc<str> = group.into();
        self.group_mut(&group).check(identity)?;
        let targets = self.enlist(producer, now)?;
        if !targets.iter().any(|t| matches!(t, Target::Group(g) if *g == group)) {
            targets.push(Target::Group(Arc::clone(&group)));
        }
        self.group_mut(&group).hold(producer.id, offsets);
        Ok(())
    }

    /// Commits or aborts the producer's transaction. The decision stands when this returns; its markers follow, at
    /// once unless [`Log::defer_markers`] says otherwise.
    ///
    /// # Errors
    /// [`LogError::Fenced`]; [`LogError::Concurrent`] while the last transaction's markers are being written.
    pub fn end_transaction(&mut self, producer: Producer, commit: bool, now: Timestamp) -> Result<(), LogError> {
        match self.check(producer)?.state {
            State::Empty => Ok(()),
            State::Decided { .. } => Err(LogError::Concurrent),
            State::Open { .. } => {
                self.decide(producer.id, commit, now);
                Ok(())
            }
        }
    }

    fn decide(&mut self, id: usize, commit: bool, now: Timestamp) {
        let held = &mut self.transactions.producers[id];
        let State::Open { targets, .. } = std::mem::replace(&mut held.state, State::Empty) else { return };
        held.state = if targets.is_empty() { State::Empty } else { State::Decided { commit, targets } };
        if !self.transactions.deferred {
            self.write_markers(now);
        }
    }

    /// With `true`, markers of decided transactions wait for [`Log::write_marker`], as they travel on a real cluster.
    pub fn defer_markers(&mut self, deferred: bool) {
        self.transactions.deferred = deferred;
    }

    /// Number of markers still to be written.
    pub fn pending_markers(&self) -> usize {
        let pending = |t: &Transactional| match &t.state {
            State::Decided { targets, .. } => targets.len(),
            _ => 0,
        };
        self.transactions.producers.iter().map(pending).sum()
    }

    /// Writes all markers.
    pub fn write_markers(&mut self, now: Timestamp) {
        for id in 0..self.transactions.producers.len() {
            while self.write_marker_of(id, 0, now) {}
        }
    }

    /// Writes the marker at `index` of the pending ones; partitions and groups get theirs in any order.
    pub fn write_marker(&mut self, mut index: usize, now: Timestamp) {
        for id in 0..self.transactions.producers.len() {
            let State::Decided { targets, .. } = &self.transactions.producers[id].state else { continue };
            let count = targets.len();
            if index < count {
                self.write_marker_of(id, index, now);
                return;
            }
            index -= count;
        }
    }

    fn write_marker_of(&mut self, id: usize, index: usize, now: Timestamp) -> bool {
        let held = &mut self.transactions.producers[id];
        let State::Decided { commit, targets } = &mut held.state else { return false };
        let (commit, target) = (*commit, targets.remove(index));
        if targets.is_empty() {
            held.state = State::Empty;
        }
        match target {
            Target::Partition(partition) => {
                // A topic deleted meanwhile needs no marker.
                if let Ok(partition) = self.partition_mut(&partition.topic, partition.partition) {
                    partition.mark(id, commit, now);
                }
            }
            Target::Group(group) => self.group_mut(&group).release(id, commit),
        }
        true
    }

    /// Aborts transactions that are open for longer than their timeout and fences their producers.
    pub(super) fn expire_transactions(&mut self, now: Timestamp) {
        for id in 0..self.transactions.producers.len() {
            let held = &mut self.transactions.producers[id];
            if let State::Open { since, .. } = held.state
                && now - since >= held.timeout_ms
            {
                held.epoch += 1;
                self.decide(id, false, now);
            }
        }
    }
}
