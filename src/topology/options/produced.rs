//! How topics are written.

use crate::{
    codec::Serde,
    operator::{Route, StreamPartitioner},
};
use std::sync::Arc;

/// How a sink writes.
#[derive(Clone)]
pub struct Produced<K, V> {
    pub(crate) key: Option<Serde<K>>,
    pub(crate) value: Option<Serde<V>>,
    pub(crate) partitioner: Option<Arc<StreamPartitioner<K, V>>>,
    pub(crate) name: Option<String>,
}

impl<K, V> Default for Produced<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, partitioner: None, name: None }
    }
}

impl<K, V> Produced<K, V> {
    /// With these serdes.
    pub fn with(key: Serde<K>, value: Serde<V>) -> Self {
        Self { key: Some(key), value: Some(value), ..Self::default() }
    }

    /// With a node name.
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

    /// Names the sink node.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Chooses partitions by topic, key, value and number of partitions, in place of Kafka's default (D-163, D-165).
    #[must_use]
    pub fn partitioner<F>(self, choose: F) -> Self
    where
        F: Fn(&str, Option<&K>, Option<&V>, i32) -> Route + Send + Sync + 'static,
    {
        Self { partitioner: Some(Arc::new(choose)), ..self }
    }
}
