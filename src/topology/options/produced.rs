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

serdes_and_name!(Produced, "the sink node");

impl<K, V> Produced<K, V> {
    /// Chooses partitions by topic, key, value and number of partitions, in place of Kafka's default (D-163, D-165).
    #[must_use]
    pub fn partitioner<F>(self, choose: F) -> Self
    where
        F: Fn(&str, Option<&K>, Option<&V>, i32) -> Route + Send + Sync + 'static,
    {
        Self { partitioner: Some(Arc::new(choose)), ..self }
    }
}
