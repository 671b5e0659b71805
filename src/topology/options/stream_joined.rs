//! How two streams are joined.

use crate::codec::Serde;
use std::collections::BTreeMap;

/// How two streams are joined: serdes, names, and how their records are kept.
///
/// ```
/// use millstream::{codec::serdes, topology::StreamJoined};
/// let joined: StreamJoined<String, String, i64> =
///     StreamJoined::with(serdes::string(), serdes::string(), serdes::i64()).name("orders-payments").in_memory();
/// ```
#[derive(Clone)]
pub struct StreamJoined<K, V, VO> {
    pub(crate) key: Option<Serde<K>>,
    pub(crate) value: Option<Serde<V>>,
    pub(crate) other_value: Option<Serde<VO>>,
    pub(crate) name: Option<String>,
    pub(crate) store_name: Option<String>,
    pub(crate) logged: bool,
    pub(crate) changelog_config: BTreeMap<String, String>,
    pub(crate) persistent: bool,
}

impl<K, V, VO> Default for StreamJoined<K, V, VO> {
    fn default() -> Self {
        Self {
            key: None,
            value: None,
            other_value: None,
            name: None,
            store_name: None,
            logged: true,
            changelog_config: BTreeMap::new(),
            persistent: true,
        }
    }
}

impl<K, V, VO> StreamJoined<K, V, VO> {
    /// With the serdes of keys and of both sides' values.
    pub fn with(key: Serde<K>, value: Serde<V>, other_value: Serde<VO>) -> Self {
        Self { key: Some(key), value: Some(value), other_value: Some(other_value), ..Self::default() }
    }

    /// With the default serdes of the types and a name for the nodes and repartition topics.
    pub fn with_name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Sets the serde of keys.
    #[must_use]
    pub fn key_serde(self, key: Serde<K>) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Sets the serde of the left stream's values.
    #[must_use]
    pub fn value_serde(self, value: Serde<V>) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Sets the serde of the right stream's values.
    #[must_use]
    pub fn other_value_serde(self, other_value: Serde<VO>) -> Self {
        Self { other_value: Some(other_value), ..self }
    }

    /// Names the nodes and the repartition topics, should there be any. The stores keep their generated names.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Names the stores: `NAME-this-join-store`, `NAME-other-join-store` and their like (D-80).
    #[must_use]
    pub fn store_name(self, name: impl Into<String>) -> Self {
        Self { store_name: Some(name.into()), ..self }
    }

    /// Writes changelog topics with these settings over the defaults; the default is changelogs without any.
    #[must_use]
    pub fn with_logging_enabled<S: Into<String>>(self, config: impl IntoIterator<Item = (S, S)>) -> Self {
        let changelog_config = config.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self { logged: true, changelog_config, ..self }
    }

    /// Writes no changelogs: records that wait for a partner are lost with the disk.
    #[must_use]
    pub fn with_logging_disabled(self) -> Self {
        Self { logged: false, ..self }
    }

    /// Keeps the records in memory only; they are restored from the changelogs at each start.
    #[must_use]
    pub fn in_memory(self) -> Self {
        Self { persistent: false, ..self }
    }
}
