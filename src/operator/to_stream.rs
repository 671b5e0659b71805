//! A table's changes as a stream of its new rows; a deletion is a null value.

use super::{Children, Context, Node, Process};
use crate::{
    fault::Result,
    record::{Change, Record},
};

/// The node of `KTable::to_stream`.
pub(crate) struct ToStream<K, V> {
    pub children: Children<K, V>,
}

impl<K, V> Process<K, Change<V>> for ToStream<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        self.children.forward(cx, record.with_value(record.value.and_then(|change| change.new.as_ref())))
    }
}

impl<K, V> Node for ToStream<K, V> {}
