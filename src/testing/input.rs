//! The input of a simulation: transactions of a few records, some of them aborted. Each record's value is a number of
//! its own, so that a checker can tell which records made a result.

use super::{Chance, scene};
use crate::{
    log::{Log, Producer},
    record::{Headers, OutRecord, Target, Timestamp},
};

/// Produces the input bit by bit.
#[derive(Debug, Default)]
pub(super) struct Input {
    left: usize,
    committed: usize,
    /// Number of the next record, committed or not: its value.
    number: i64,
    producer: Option<Producer>,
    times: [Timestamp; scene::PARTITIONS as usize],
}

impl Input {
    /// So many records whose event time begins at `start`.
    pub(super) fn new(records: usize, start: Timestamp) -> Self {
        Self { left: records, times: [start; scene::PARTITIONS as usize], ..Self::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Committed records so far.
    pub(super) fn committed(&self) -> usize {
        self.committed
    }

    /// Produces one transaction.
    pub(super) fn produce(&mut self, log: &mut Log, chance: &mut Chance, now: Timestamp) {
        if self.left == 0 {
            return;
        }
        if self.producer.is_none() {
            self.producer = log.init_transactions("input", 1_000_000, now).ok();
        }
        let Some(producer) = self.producer else { return };
        let commit = !chance.one_in(10);
        let count = (chance.below(8) + 1).min(self.left);
        for _ in 0..count {
            let partition = chance.below(self.times.len());
            let record = self.record(chance, partition);
            if log.produce(producer, record, now).is_err() {
                // Markers of the last transaction are on their way: nothing was produced, so nothing is left open.
                return;
            }
        }
        let ended = log.end_transaction(producer, commit, now);
        debug_assert_eq!(ended, Ok(()), "nobody takes the input's transactional id");
        if commit {
            self.left -= count;
            self.committed += count;
        }
    }

    fn record(&mut self, chance: &mut Chance, partition: usize) -> OutRecord {
        let time = &mut self.times[partition];
        *time += chance.between(0, 15);
        if chance.one_in(20) {
            *time += chance.between(150, 700);
        }
        self.number += 1;
        let late = if chance.one_in(3) { chance.between(0, 180) } else { 0 };
        let key = format!("p{partition}k{}", chance.below(5));
        OutRecord {
            topic: "in".into(),
            partition: partition as i32,
            key: Some(key.into()),
            value: Some(self.number.to_be_bytes().to_vec().into()),
            timestamp: (*time - late).max(0),
            headers: Headers::new(),
            target: Target::Sink,
        }
    }
}
