//! How tables are kept.

use crate::codec::Serde;
use std::{collections::BTreeMap, time::Duration};

/// How the rows of a table are kept.
///
/// ```
/// use millstream::topology::Materialized;
/// let store: Materialized<String, i64> = Materialized::as_store("counts").with_caching_disabled();
/// ```
#[derive(Clone)]
pub struct Materialized<K, V> {
    pub(crate) name: Option<String>,
    pub(crate) key: Option<Serde<K>>,
    pub(crate) value: Option<Serde<V>>,
    pub(crate) cached: bool,
    pub(crate) logged: bool,
    pub(crate) changelog_config: BTreeMap<String, String>,
    pub(crate) retention_ms: Option<i64>,
    pub(crate) persistent: bool,
    pub(crate) history_ms: Option<i64>,
}

impl<K, V> Default for Materialized<K, V> {
    fn default() -> Self {
        Self {
            name: None,
            key: None,
            value: None,
            cached: true,
            logged: true,
            changelog_config: BTreeMap::new(),
            retention_ms: None,
            persistent: true,
            history_ms: None,
        }
    }
}

impl<K, V> Materialized<K, V> {
    /// In a store of this name; its changelog is `APPLICATION-NAME-changelog`.
    pub fn as_store(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// In a store of this name that keeps versions for `history` of stream time (P-33), so that joins find the row as it
    /// was at a record's time (D-94) and rows that come out of order are put in their place (D-130). It has no cache.
    ///
    /// ```
    /// use millstream::topology::{Consumed, Materialized, StreamsBuilder};
    /// use std::time::Duration;
    /// let builder = StreamsBuilder::new();
    /// let prices = Materialized::as_versioned("prices", Duration::from_secs(3600));
    /// builder.table_with::<String, i64>("prices", Consumed::default(), prices);
    /// # builder.build().unwrap();
    /// ```
    pub fn as_versioned(name: impl Into<String>, history: Duration) -> Self {
        let history_ms = Some(i64::try_from(history.as_millis()).unwrap_or(i64::MAX));
        Self { history_ms, cached: false, ..Self::as_store(name) }
    }

    /// In a store with a generated name and these serdes.
    pub fn with(key: Serde<K>, value: Serde<V>) -> Self {
        Self { key: Some(key), value: Some(value), ..Self::default() }
    }

    /// Sets the serde of keys.
    #[must_use]
    pub fn with_key_serde(self, key: Serde<K>) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Sets the serde of values.
    #[must_use]
    pub fn with_value_serde(self, value: Serde<V>) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Forwards updates of a key once per commit; the default.
    #[must_use]
    pub fn with_caching_enabled(self) -> Self {
        Self { cached: true, ..self }
    }

    /// Forwards every update at once.
    #[must_use]
    pub fn with_caching_disabled(self) -> Self {
        Self { cached: false, ..self }
    }

    /// Writes a changelog topic with these settings over the defaults; the default is a changelog without any.
    #[must_use]
    pub fn with_logging_enabled<S: Into<String>>(self, config: impl IntoIterator<Item = (S, S)>) -> Self {
        let changelog_config = config.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self { logged: true, changelog_config, ..self }
    }

    /// Writes no changelog: the rows are lost with the disk.
    #[must_use]
    pub fn with_logging_disabled(self) -> Self {
        Self { logged: false, ..self }
    }

    /// Keeps windows readable for this long after their start; at least size and grace, which is the default.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { retention_ms: Some(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)), ..self }
    }

    /// Keeps the rows in memory only; they are restored from the changelog at each start.
    #[must_use]
    pub fn in_memory(self) -> Self {
        Self { persistent: false, ..self }
    }
}
