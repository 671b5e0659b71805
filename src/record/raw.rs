//! Records as bytes: what comes from the log and what goes to it.

use super::{Headers, Offset, Timestamp};
use bytes::Bytes;
use std::sync::Arc;

/// A record read from a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Its place in the partition.
    pub offset: Offset,
    /// The broker's timestamp in milliseconds.
    pub timestamp: Timestamp,
    /// Key bytes, or null.
    pub key: Option<Bytes>,
    /// Value bytes, or null.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
}

impl RawRecord {
    /// Bytes of key, value and headers: what it costs in a queue.
    pub fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + self.headers.bytes()
    }
}

/// Where an [`OutRecord`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A topic that a sink names.
    Sink,
    /// The changelog of a store; error handlers never apply to it.
    Changelog,
}

/// A record to be written to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutRecord {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number; always chosen before the record gets here.
    pub partition: i32,
    /// Key bytes, or null.
    pub key: Option<Bytes>,
    /// Value bytes, or null.
    pub value: Option<Bytes>,
    /// Event time in milliseconds.
    pub timestamp: Timestamp,
    /// Headers.
    pub headers: Headers,
    /// Sink or changelog.
    pub target: Target,
}

impl OutRecord {
    /// Bytes of key, value and headers: what it costs in the outbox.
    pub fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + self.headers.bytes()
    }
}

/// Where the record in hand came from; absent in punctuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceContext {
    /// Topic of the input record.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: Offset,
}
