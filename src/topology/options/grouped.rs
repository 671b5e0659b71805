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

serdes_and_name!(Grouped, "the repartition topic, `APPLICATION-NAME-repartition`, and the node that selects the key");
