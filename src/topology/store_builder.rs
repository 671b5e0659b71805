//! Stores for processors.

use crate::{
    codec::{Face, Serde},
    operator::processing::StoreTypes,
    state::{Moments, Segmented, StoreKind, StoreSpec},
};
use std::{any::Any, collections::BTreeMap, sync::Arc, time::Duration};

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A store for processors, to be added with [`StreamsBuilder::add_state_store`](super::StreamsBuilder::add_state_store).
pub struct StoreBuilder<K, V> {
    spec: StoreSpec,
    types: StoreTypes<K, V>,
}

impl<K: 'static, V: 'static> StoreBuilder<K, V> {
    /// A key-value store with a changelog.
    pub fn key_value(name: impl Into<String>, key: Serde<K>, value: Serde<V>) -> Self {
        Self::of(StoreKind::KeyValue, name.into(), key, value)
    }

    /// A window store with a changelog: rows by key and window start, read with
    /// [`ProcessingContext::window_store`](crate::operator::ProcessingContext::window_store). A window lives until stream
    /// time, the greatest start that was put, is past its start by `retention`; the build fails when that is less than
    /// `size` (P-31).
    ///
    /// ```
    /// use millstream::{codec::serdes, topology::{StoreBuilder, StreamsBuilder}};
    /// use std::time::Duration;
    /// let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
    /// let builder = StreamsBuilder::new();
    /// builder.add_state_store(StoreBuilder::window("per-hour", day, hour, serdes::string(), serdes::i64()));
    /// ```
    pub fn window(
        name: impl Into<String>,
        retention: Duration,
        size: Duration,
        key: Serde<K>,
        value: Serde<V>,
    ) -> Self {
        let size_ms = millis(size);
        let kind = Segmented::new(Moments::Window { size_ms }, millis(retention), size_ms);
        Self::of(StoreKind::Segmented(kind), name.into(), key, value)
    }

    /// A session store with a changelog: rows by key, start and end, read with
    /// [`ProcessingContext::session_store`](crate::operator::ProcessingContext::session_store). A session lives until
    /// stream time, the greatest end that was put, is past its end by `retention` (P-32).
    ///
    /// ```
    /// use millstream::{codec::serdes, topology::{StoreBuilder, StreamsBuilder}};
    /// use std::time::Duration;
    /// let builder = StreamsBuilder::new();
    /// let day = Duration::from_secs(86_400);
    /// builder.add_state_store(StoreBuilder::session("visits", day, serdes::string(), serdes::i64()).in_memory());
    /// ```
    pub fn session(name: impl Into<String>, retention: Duration, key: Serde<K>, value: Serde<V>) -> Self {
        let kind = Segmented::new(Moments::Session, millis(retention), 0);
        Self::of(StoreKind::Segmented(kind), name.into(), key, value)
    }

    /// A versioned store with a changelog: each row as it was at a time, as far back as `history` of stream time, read with
    /// [`ProcessingContext::versioned_store`](crate::operator::ProcessingContext::versioned_store) (P-33, P-34). The newest
    /// version of a key never expires.
    ///
    /// ```
    /// use millstream::{codec::serdes, topology::{StoreBuilder, StreamsBuilder}};
    /// use std::time::Duration;
    /// let builder = StreamsBuilder::new();
    /// let hour = Duration::from_secs(3_600);
    /// builder.add_state_store(StoreBuilder::versioned("prices", hour, serdes::string(), serdes::i64()));
    /// # builder.build().unwrap();
    /// ```
    pub fn versioned(name: impl Into<String>, history: Duration, key: Serde<K>, value: Serde<V>) -> Self {
        Self::of(StoreKind::Versioned { history_ms: millis(history) }, name.into(), key, value)
    }

    /// A store of at most `entries_max` rows by key, in memory, with a changelog: a row that is one too many takes the place
    /// of the one that was read or written longest ago, which is deleted there and in the changelog (P-30). Reads of ranges
    /// don't count. It is a key-value store to its processors.
    ///
    /// A start restores the rows in the order of their last writes: a row that was only read since may go sooner than
    /// without the stop, as in Kafka Streams.
    ///
    /// ```
    /// use millstream::{codec::serdes, topology::{StoreBuilder, StreamsBuilder}};
    /// let builder = StreamsBuilder::new();
    /// builder.add_state_store(StoreBuilder::lru("recent", 1_000, serdes::string(), serdes::i64()));
    /// # builder.build().unwrap();
    /// ```
    pub fn lru(name: impl Into<String>, entries_max: usize, key: Serde<K>, value: Serde<V>) -> Self {
        Self::of(StoreKind::Lru { entries_max }, name.into(), key, value).in_memory()
    }

    fn of(kind: StoreKind, name: String, key: Serde<K>, value: Serde<V>) -> Self {
        let spec = StoreSpec {
            name: name.into(),
            kind,
            timestamped: false,
            logged: true,
            changelog_config: BTreeMap::new(),
            cached: false,
            persistent: true,
        };
        Self { spec, types: StoreTypes { key, value } }
    }

    /// Keeps the rows in memory only; they are restored from the changelog at each start.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.spec.persistent = false;
        self
    }

    /// Writes a changelog topic with these settings over the defaults.
    #[must_use]
    pub fn with_logging_enabled<S: Into<String>>(mut self, config: impl IntoIterator<Item = (S, S)>) -> Self {
        self.spec.logged = true;
        self.spec.changelog_config = config.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        self
    }

    /// Writes no changelog: the rows are lost with the disk.
    #[must_use]
    pub fn with_logging_disabled(mut self) -> Self {
        self.spec.logged = false;
        self
    }

    pub(super) fn serdes(&self) -> (Serde<K>, Serde<V>) {
        (self.types.key.clone(), self.types.value.clone())
    }

    pub(super) fn into_parts(self) -> (StoreSpec, Arc<dyn Any + Send + Sync>, Face) {
        let face = Face::new(self.types.key.clone(), self.types.value.clone());
        (self.spec, Arc::new(self.types), face)
    }
}
