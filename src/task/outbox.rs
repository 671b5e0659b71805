//! Records of the open transaction that are not sent yet, in the order of processing.

use crate::{
    record::{Headers, OutRecord, Target, Timestamp},
    sink::Collected,
    state::ChangelogSink,
};
use bytes::Bytes;
use std::{mem, sync::Arc};

/// The worker's outbox. Its limit is `outbox_bytes_max`; the worker sends a part when it is reached.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Rows for sinks beyond Kafka, which wait for the commit.
    pub rows: Collected,
    records: Vec<OutRecord>,
    bytes: usize,
}

impl Outbox {
    /// Appends a record.
    pub fn push(&mut self, record: OutRecord) {
        self.bytes += record.bytes();
        self.records.push(record);
    }

    /// Bytes of keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True when no record waits.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Forgets everything, rows included: the transaction is aborted.
    pub fn discard(&mut self) {
        self.take();
        self.rows.take();
    }

    /// Takes the records out.
    pub fn take(&mut self) -> Vec<OutRecord> {
        self.bytes = 0;
        mem::take(&mut self.records)
    }
}

/// Writes a store's changelog records to the outbox.
pub(super) struct Changelog<'a> {
    pub topic: &'a Arc<str>,
    pub partition: i32,
    pub outbox: &'a mut Outbox,
}

impl ChangelogSink for Changelog<'_> {
    fn log(&mut self, key: Bytes, value: Option<Bytes>, timestamp: Timestamp, headers: Headers) {
        self.outbox.push(OutRecord {
            topic: Arc::clone(self.topic),
            partition: self.partition,
            key: Some(key),
            value,
            timestamp,
            headers,
            target: Target::Changelog,
        });
    }
}
