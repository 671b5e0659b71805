//! How streams are joined.

use crate::codec::Serde;

/// How a stream is joined: serdes of the stream side, should it need a repartition topic, and a name.
#[derive(Clone)]
pub struct Joined<K, V> {
    pub(crate) key: Option<Serde<K>>,
    pub(crate) value: Option<Serde<V>>,
    pub(crate) name: Option<String>,
}

impl<K, V> Default for Joined<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None }
    }
}

impl<K, V> Joined<K, V> {
    /// With these serdes of the stream side.
    pub fn with(key: Serde<K>, value: Serde<V>) -> Self {
        Self { key: Some(key), value: Some(value), name: None }
    }

    /// With a name for the node and the repartition topic.
    pub fn with_name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Sets the serde of keys.
    #[must_use]
    pub fn key_serde(self, key: Serde<K>) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Sets the serde of the stream's values.
    #[must_use]
    pub fn value_serde(self, value: Serde<V>) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Names the node and the repartition topic.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }
}
