//! How topics are read.

use crate::{
    codec::Serde,
    operator::{ExtractTime, OnError, extract::Extractor},
    record::Timestamp,
    topology::OffsetReset,
};
use std::sync::Arc;

/// How a topic is read.
#[derive(Clone)]
pub struct Consumed<K, V> {
    pub(crate) key: Option<Serde<K>>,
    pub(crate) value: Option<Serde<V>>,
    pub(crate) extractor: Extractor<K, V>,
    pub(crate) reset: Option<OffsetReset>,
    pub(crate) name: Option<String>,
    pub(crate) on_decode_error: Option<OnError>,
}

impl<K, V> Default for Consumed<K, V> {
    fn default() -> Self {
        Self {
            key: None,
            value: None,
            extractor: Extractor::FailOnInvalid,
            reset: None,
            name: None,
            on_decode_error: None,
        }
    }
}

serdes_and_name!(Consumed, "the source node");

impl<K, V> Consumed<K, V> {
    /// Says where reading starts when nothing is committed; otherwise `auto.offset.reset` says it.
    #[must_use]
    pub fn offset_reset(self, reset: OffsetReset) -> Self {
        Self { reset: Some(reset), ..self }
    }

    /// Takes the event time from key, value, the broker's timestamp and the partition's greatest time so far.
    /// A record with a negative result is left out (D-59). Costs a second decoding of each record.
    #[must_use]
    pub fn timestamp_extractor<F>(self, extract: F) -> Self
    where
        F: Fn(Option<&K>, Option<&V>, Timestamp, Timestamp) -> Timestamp + Send + Sync + 'static,
    {
        let extract: Arc<ExtractTime<K, V>> = Arc::new(extract);
        Self { extractor: Extractor::Function(extract), ..self }
    }

    /// Leaves out records with a negative timestamp; the default is to stop.
    #[must_use]
    pub fn skip_on_invalid_timestamp(self) -> Self {
        Self { extractor: Extractor::SkipInvalid, ..self }
    }

    /// Gives records with a negative timestamp the greatest time seen in their partition.
    #[must_use]
    pub fn partition_time_on_invalid_timestamp(self) -> Self {
        Self { extractor: Extractor::PartitionTime, ..self }
    }

    /// Gives records the wall clock of the moment when their turn comes, whatever the broker says.
    #[must_use]
    pub fn wall_clock_timestamp(self) -> Self {
        Self { extractor: Extractor::WallClock, ..self }
    }

    /// Says what to do with bytes of this topic that can't be decoded; otherwise the topology's handler says it, or the
    /// setting `deserialization.exception.handler`.
    #[must_use]
    pub fn on_decode_error(self, response: OnError) -> Self {
        Self { on_decode_error: Some(response), ..self }
    }
}
