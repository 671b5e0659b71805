//! How streams are joined.

use crate::codec::Serde;
use std::time::Duration;

/// How a stream is joined: serdes of the stream side, should it need a repartition topic, and a name.
#[derive(Clone)]
pub struct Joined<K, V> {
    pub(crate) key: Option<Serde<K>>,
    pub(crate) value: Option<Serde<V>>,
    pub(crate) name: Option<String>,
    pub(crate) grace_ms: Option<i64>,
}

impl<K, V> Default for Joined<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None, grace_ms: None }
    }
}

serdes_and_name!(Joined, "the node and the repartition topic");

impl<K, V> Joined<K, V> {
    /// Lets each stream record wait until stream time is `grace` past its own, so that it is joined with rows of its time
    /// that come late (D-95). Needs a versioned table whose history reaches as far.
    ///
    /// ```
    /// use millstream::topology::{Consumed, Joined, Materialized, StreamsBuilder};
    /// use std::time::Duration;
    /// let builder = StreamsBuilder::new();
    /// let prices = Materialized::as_versioned("prices", Duration::from_secs(3600));
    /// let prices = builder.table_with::<String, i64>("prices", Consumed::default(), prices);
    /// let orders = builder.stream::<String, i64>("orders");
    /// let how = Joined::with_name("priced").grace(Duration::from_secs(10));
    /// orders.join_with(&prices, |_, n, price| Some(n * price), how).to("priced");
    /// assert!(builder.build().unwrap().describe().contains("priced-Buffer"));
    /// ```
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace_ms: Some(i64::try_from(grace.as_millis()).unwrap_or(i64::MAX)), ..self }
    }
}
