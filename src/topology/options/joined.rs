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

serdes_and_name!(Joined, "the node and the repartition topic");
