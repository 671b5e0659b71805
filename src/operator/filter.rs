//! Keeps or drops records by a predicate (D-10). Key, value, time and headers stay.

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};
use std::sync::Arc;

/// The node of `filter` (`keep` is true) and `filter_not`.
pub(crate) struct Filter<K, V, F> {
    pub predicate: Arc<F>,
    pub keep: bool,
    pub children: Children<K, V>,
}

impl<K, V, F: Fn(Option<&K>, Option<&V>) -> bool> Process<K, V> for Filter<K, V, F> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        if (self.predicate)(record.key, record.value) == self.keep {
            self.children.forward(cx, record)?;
        }
        Ok(())
    }
}

impl<K, V, F> Node for Filter<K, V, F> {}

/// The node before a repartition sink: drops records without a key where nothing downstream takes them (D-75).
/// They are not counted as dropped, as in Kafka Streams.
pub(crate) struct KeyFilter<K, V> {
    pub drop_null_keys: bool,
    pub children: Children<K, V>,
}

impl<K, V> Process<K, V> for KeyFilter<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        if self.drop_null_keys && record.key.is_none() {
            return Ok(());
        }
        self.children.forward(cx, record)
    }
}

impl<K, V> Node for KeyFilter<K, V> {}
