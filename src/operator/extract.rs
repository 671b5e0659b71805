//! Where a record's event time comes from (D-59).

use crate::record::Timestamp;
use std::sync::Arc;

/// A closure that finds the event time: key, value, the broker's timestamp, and the greatest time seen in the
/// partition so far (-1 before the first). A negative result drops the record.
pub type ExtractTime<K, V> = dyn Fn(Option<&K>, Option<&V>, Timestamp, Timestamp) -> Timestamp + Send + Sync;

/// Where a record's event time comes from.
pub(crate) enum Extractor<K, V> {
    /// The broker's; a negative one stops the worker. The default.
    FailOnInvalid,
    /// The broker's; a record with a negative one is left out.
    SkipInvalid,
    /// The broker's; in place of a negative one the greatest time seen in the partition.
    PartitionTime,
    /// The wall clock when the record's turn comes.
    WallClock,
    /// A function of the record. It costs a second decoding.
    Function(Arc<ExtractTime<K, V>>),
}

impl<K, V> Clone for Extractor<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::FailOnInvalid => Self::FailOnInvalid,
            Self::SkipInvalid => Self::SkipInvalid,
            Self::PartitionTime => Self::PartitionTime,
            Self::WallClock => Self::WallClock,
            Self::Function(f) => Self::Function(f.clone()),
        }
    }
}
