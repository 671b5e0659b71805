//! How streams are grouped.

use crate::codec::Serde;

/// How a stream is grouped: serdes and name of the repartition topic, where one is needed.
#[derive(Clone)]
pub struct Grouped<K, V> {
    pub(crate) key: Option<Serde<K>>,
    pub(crate) value: Option<Serde<V>>,
    pub(crate) name: Option<String>,
}

impl<K, V> Default for Grouped<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None }
    }
}

impl<K, V> Grouped<K, V> {
    /// With these serdes.
    pub fn with(key: Serde<K>, value: Serde<V>) -> Self {
        Self { key: Some(key), value: Some(value), name: None }
    }

    /// With a name for the repartition topic, `APPLICATION-NAME-repartition`.
    pub fn with_name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Sets the serde of keys.
    #[must_use]
    pub fn key_serde(self, key: Serde<K>) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Sets the serde of values.
    #[must_use]
    pub fn value_serde(self, value: Serde<V>) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Names the repartition topic and the node that selects the key.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }
}
