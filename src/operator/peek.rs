//! Shows each record to a closure (D-14) and passes it on.

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};
use std::sync::Arc;

/// The node of `peek`, and of `for_each`, which has no children.
pub(crate) struct Peek<K, V, F> {
    pub action: Arc<F>,
    pub children: Children<K, V>,
}

impl<K, V, F: Fn(Option<&K>, Option<&V>)> Process<K, V> for Peek<K, V, F> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        (self.action)(record.key, record.value);
        self.children.forward(cx, record)
    }
}

impl<K, V, F> Node for Peek<K, V, F> {}
