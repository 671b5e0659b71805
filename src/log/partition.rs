//! One partition: records and markers in offset order.

use super::LogError;
use crate::record::{Offset, OutRecord, RawRecord, Timestamp};
use std::collections::VecDeque;

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Only committed records, up to the last stable offset.
    ReadCommitted,
    /// All of them.
    ReadUncommitted,
}

/// The answer to a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Records in offset order; markers and aborted records are left out.
    pub records: Vec<RawRecord>,
    /// Where to fetch next; beyond the last record when markers, aborted records or compacted gaps follow it.
    pub position: Offset,
    /// The end for this isolation level.
    pub end: Offset,
}

#[derive(Debug)]
pub(super) enum Body {
    Record(RawRecord),
    Marker,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) offset: Offset,
    pub(super) timestamp: Timestamp,
    pub(super) producer: Option<usize>,
    /// When a tombstone or marker may go; set by the first cleaning that meets it.
    pub(super) horizon: Option<Timestamp>,
    pub(super) body: Body,
}

/// Records of one producer that were aborted, its marker included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aborted {
    pub(super) producer: usize,
    pub(super) first: Offset,
    pub(super) last: Offset,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) entries: VecDeque<Entry>,
    pub(super) start: Offset,
    end: Offset,
    /// First offset of each transaction without a marker yet.
    open: Vec<(usize, Offset)>,
    pub(super) aborted: Vec<Aborted>,
}

impl Partition {
    pub(super) fn start(&self) -> Offset {
        self.start
    }

    pub(super) fn end(&self) -> Offset {
        self.end
    }

    pub(super) fn stable_end(&self) -> Offset {
        self.open.iter().map(|(_, first)| *first).min().unwrap_or(self.end)
    }

    pub(super) fn append(&mut self, record: OutRecord, producer: Option<usize>) -> Offset {
        let offset = self.end;
        if let Some(producer) = producer
            && !self.open.iter().any(|(p, _)| *p == producer)
        {
            self.open.push((producer, offset));
        }
        let OutRecord { key, value, timestamp, headers, .. } = record;
        let body = Body::Record(RawRecord { offset, timestamp, key, value, headers });
        self.entries.push_back(Entry { offset, timestamp, producer, horizon: None, body });
        self.end += 1;
        offset
    }

    /// Ends the transaction of `producer` on this partition with a control marker.
    pub(super) fn mark(&mut self, producer: usize, commit: bool, now: Timestamp) {
        let offset = self.end;
        if let Some(at) = self.open.iter().position(|(p, _)| *p == producer) {
            let (_, first) = self.open.swap_remove(at);
            if !commit {
                self.aborted.push(Aborted { producer, first, last: offset });
            }
        }
        let producer = Some(producer);
        self.entries.push_back(Entry { offset, timestamp: now, producer, horizon: None, body: Body::Marker });
        self.end += 1;
    }

    pub(super) fn is_aborted(&self, entry: &Entry) -> bool {
        entry.producer.is_some_and(|producer| {
            self.aborted.iter().any(|a| a.producer == producer && a.first <= entry.offset && entry.offset <= a.last)
        })
    }

    pub(super) fn fetch(&self, from: Offset, isolation: Isolation, bytes_max: usize) -> Result<Fetched, LogError> {
        if from < self.start || from > self.end {
            return Err(LogError::OutOfRange { start: self.start, end: self.end });
        }
        let committed = isolation == Isolation::ReadCommitted;
        let end = if committed { self.stable_end() } else { self.end };
        let mut fetched = Fetched { records: Vec::new(), position: from.max(end), end };
        let mut bytes = 0usize;
        let first = self.entries.partition_point(|e| e.offset < from);
        for entry in self.entries.range(first..) {
            if entry.offset >= end {
                break;
            }
            let Body::Record(record) = &entry.body else { continue };
            if committed && self.is_aborted(entry) {
                continue;
            }
            bytes = bytes.saturating_add(record.bytes());
            if !fetched.records.is_empty() && bytes > bytes_max {
                fetched.position = entry.offset;
                break;
            }
            fetched.records.push(record.clone());
        }
        Ok(fetched)
    }

    pub(super) fn delete_below(&mut self, below: Offset) -> Result<Offset, LogError> {
        if below > self.end {
            return Err(LogError::OutOfRange { start: self.start, end: self.end });
        }
        self.start = self.start.max(below);
        while self.entries.front().is_some_and(|e| e.offset < self.start) {
            self.entries.pop_front();
        }
        let start = self.start;
        self.aborted.retain(|a| a.last >= start);
        Ok(start)
    }
}
