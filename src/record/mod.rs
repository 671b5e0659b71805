//! Records as operators see them and as the log carries them, and the ids that name things.

mod headers;
mod ids;
mod raw;
mod windowed;

pub use headers::Headers;
pub use ids::{Fetch, Request, StoreIx, TaskId, TopicPartition};
pub use raw::{OutRecord, RawRecord, SourceContext, Target};
pub use windowed::Windowed;

/// Milliseconds since 1970-01-01 UTC, event time or wall clock; -1 means "not known yet".
pub type Timestamp = i64;

/// A position in a partition, counted in records and control markers from 0.
pub type Offset = i64;

/// The value of a [`Timestamp`] before the first record.
pub const NO_TIMESTAMP: Timestamp = -1;

/// One record between two operators: a borrowed view, so that forwarding it costs nothing.
///
/// `None` is Kafka's null. A stream edge carries `V`, a table edge carries [`Change<V>`].
pub struct Record<'a, K, V> {
    /// The key, or null.
    pub key: Option<&'a K>,
    /// The value, or null.
    pub value: Option<&'a V>,
    /// Event time in milliseconds.
    pub timestamp: Timestamp,
    /// The headers of the record that this one comes from.
    pub headers: &'a Headers,
}

impl<K, V> Clone for Record<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Record<'_, K, V> {}

impl<'a, K, V> Record<'a, K, V> {
    /// A record without headers.
    pub fn new(key: Option<&'a K>, value: Option<&'a V>, timestamp: Timestamp) -> Self {
        Self { key, value, timestamp, headers: Headers::none() }
    }

    /// The same record with another key.
    pub fn with_key<'b, K2>(self, key: Option<&'b K2>) -> Record<'b, K2, V>
    where
        'a: 'b,
    {
        Record { key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same record with another value.
    pub fn with_value<'b, V2>(self, value: Option<&'b V2>) -> Record<'b, K, V2>
    where
        'a: 'b,
    {
        Record { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same record with another event time.
    pub fn with_timestamp(self, timestamp: Timestamp) -> Self {
        Self { timestamp, ..self }
    }
}

/// What a table tells its children: the new row and, where a child needs it, the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<V> {
    /// The row after the update; `None` when it is deleted.
    pub new: Option<V>,
    /// The row before the update; `None` when there was none, or when no child asked for it.
    pub old: Option<V>,
    /// False for an out-of-order update of a versioned table.
    pub is_latest: bool,
}

impl<V> Change<V> {
    /// A change of the latest version of a row.
    pub fn new(new: Option<V>, old: Option<V>) -> Self {
        Self { new, old, is_latest: true }
    }
}
