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

serdes_and_name!(Repartitioned, "the topic, `APPLICATION-NAME-repartition`");

impl<K, V> Repartitioned<K, V> {
    /// With this number of partitions.
    pub fn number_of_partitions(partitions: i32) -> Self {
        Self { partitions: Some(partitions), ..Self::default() }
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
