//! The records of one partition that wait for their task.

use crate::{
    fault::{Remedy, Result},
    operator::Source,
    record::{Fetch, NO_TIMESTAMP, Offset, RawRecord, Timestamp, TopicPartition},
};
use std::{collections::VecDeque, rc::Rc};

/// What an empty queue means for the choice of the next record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// There are records.
    Full,
    /// Empty, and the partition is read to its end.
    CaughtUp,
    /// Empty, and records are known or thought to be on their way.
    Behind,
}

/// Records that never became the head of their queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Without a usable timestamp.
    pub negative: u64,
    /// With bytes that are no value, where the timestamp is taken from the value.
    pub corrupt: u64,
}

/// One source partition of a task.
pub struct Queue {
    /// The partition.
    pub partition: TopicPartition,
    /// Where its records enter the graph.
    pub source: Rc<dyn Source>,
    /// The fetch whose records are current; `None` while nothing is fetched.
    pub fetch: Option<Fetch>,
    /// Whether the driver delivers records.
    pub flowing: bool,
    /// Greatest timestamp taken from the queue (D-50).
    pub partition_time: Timestamp,
    /// The offset committed last, by whomever.
    pub committed: Option<Offset>,
    position: Option<Offset>,
    start: Option<Offset>,
    end: Option<Offset>,
    records: VecDeque<RawRecord>,
    bytes: usize,
    head: Option<Timestamp>,
}

impl Queue {
    /// A queue that nothing feeds yet.
    pub fn new(partition: TopicPartition, source: Rc<dyn Source>) -> Self {
        Self {
            partition,
            source,
            fetch: None,
            flowing: true,
            partition_time: NO_TIMESTAMP,
            committed: None,
            position: None,
            start: None,
            end: None,
            records: VecDeque::new(),
            bytes: 0,
            head: None,
        }
    }

    /// Forgets records and position; what an older fetch brings later is stale.
    pub fn reset(&mut self) {
        self.fetch = None;
        self.flowing = true;
        self.position = None;
        self.start = None;
        self.end = None;
        self.records.clear();
        self.bytes = 0;
        self.head = None;
    }

    /// Appends fetched records. `position` is where the fetch goes on, `end` the last stable end as far as known: the
    /// newest word counts, for a driver may first know no more than where an open transaction ends.
    ///
    /// # Panics
    /// When a record lies below the position: the driver told a position that it had not reached, and the record might
    /// have been committed as processed.
    pub fn push(&mut self, records: Vec<RawRecord>, position: Offset, end: Offset) {
        assert!(
            records.first().is_none_or(|r| self.position.is_none_or(|p| r.offset >= p)),
            "records of {} arrive in order",
            self.partition
        );
        self.start.get_or_insert(records.first().map_or(position, |r| r.offset));
        self.bytes += records.iter().map(RawRecord::bytes).sum::<usize>();
        self.records.extend(records);
        self.position = Some(position.max(self.position.unwrap_or(0)));
        self.end = Some(end);
    }

    /// The timestamp of the head record, after leaving out records without a usable one. `left_out` counts these.
    ///
    /// # Errors
    /// When the timestamp extractor refuses a record.
    pub fn head(&mut self, left_out: &mut LeftOut, now: Timestamp) -> Result<Option<Timestamp>> {
        while self.head.is_none() {
            let Some(raw) = self.records.front() else { return Ok(None) };
            let timestamp = match self.source.timestamp(&self.partition.topic, raw, self.partition_time, now) {
                Err(fault) if fault.remedy == Remedy::Skip => None,
                other => Some(other?),
            };
            if timestamp.is_some_and(|t| t >= 0) {
                self.head = timestamp;
            } else {
                left_out.negative += u64::from(timestamp.is_some());
                left_out.corrupt += u64::from(timestamp.is_none());
                self.bytes -= raw.bytes();
                self.records.pop_front();
            }
        }
        Ok(self.head)
    }

    /// Takes the head record; partition time advances.
    pub fn pop(&mut self) -> Option<(RawRecord, Timestamp)> {
        let timestamp = self.head.take()?;
        let raw = self.records.pop_front()?;
        self.bytes -= raw.bytes();
        self.partition_time = self.partition_time.max(timestamp);
        Some((raw, timestamp))
    }

    /// Drops the head record, whatever its timestamp would be.
    pub fn skip(&mut self) {
        self.head = None;
        if let Some(raw) = self.records.pop_front() {
            self.bytes -= raw.bytes();
        }
    }

    /// The offset to commit: that of the head record, else the position. `None` before the first position.
    pub fn committable(&self) -> Option<Offset> {
        self.records.front().map(|r| r.offset).or(self.position)
    }

    /// The position of the fetch.
    pub fn position(&self) -> Option<Offset> {
        self.position
    }

    /// True when the offset to commit differs from the committed one.
    pub fn moved(&self) -> bool {
        self.committable().is_some_and(|c| Some(c) != self.committed.or(self.start))
    }

    /// What its being empty would mean.
    pub fn idle(&self) -> Idle {
        if !self.records.is_empty() {
            Idle::Full
        } else if self.flowing && matches!((self.position, self.end), (Some(p), Some(e)) if p >= e) {
            Idle::CaughtUp
        } else {
            Idle::Behind
        }
    }

    /// Records between the offset to commit and the known end; 0 while the end is unknown.
    pub fn lag(&self) -> i64 {
        match (self.committable(), self.end) {
            (Some(at), Some(end)) => (end - at).max(0),
            _ => 0,
        }
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
