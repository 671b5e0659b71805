//! How streams are repartitioned.

use crate::{
    codec::Serde,
    operator::{Route, StreamPartitioner},
};
use std::sync::Arc;

/// How a stream is repartitioned.
#[derive(Clone)]
pub struct Repartitioned<K, V> {
    pub(crate) key: Option<Serde<K>>,
    pub(crate) value: Option<Serde<V>>,
    pub(crate) name: Option<String>,
    pub(crate) partitions: Option<i32>,
    pub(crate) partitioner: Option<Arc<StreamPartitioner<K, V>>>,
}

impl<K, V> Default for Repartitioned<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None, partitions: None, partitioner: None }
    }
}

impl<K, V> Repartitioned<K, V> {
    /// With these serdes.
    pub fn with(key: Serde<K>, value: Serde<V>) -> Self {
        Self { key: Some(key), value: Some(value), ..Self::default() }
    }

    /// With a name for the topic, `APPLICATION-NAME-repartition`.
    pub fn with_name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// With this number of partitions.
    pub fn number_of_partitions(partitions: i32) -> Self {
        Self { partitions: Some(partitions), ..Self::default() }
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

    /// Names the topic.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Sets the number of partitions; otherwise it follows the topics upstream (D-161).
    #[must_use]
    pub fn partitions(self, partitions: i32) -> Self {
        Self { partitions: Some(partitions), ..self }
    }

    /// Chooses partitions in place of Kafka's default.
    #[must_use]
    pub fn partitioner<F>(self, choose: F) -> Self
    where
        F: Fn(&str, Option<&K>, Option<&V>, i32) -> Route + Send + Sync + 'static,
    {
        Self { partitioner: Some(Arc::new(choose)), ..self }
    }
}
