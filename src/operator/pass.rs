//! Passes records on as they are: `merge` (D-16), and the named exit of a branch.

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};

/// The node of `merge` and of each branch of a split.
pub(crate) struct Pass<K, V> {
    pub children: Children<K, V>,
}

impl<K, V> Process<K, V> for Pass<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        self.children.forward(cx, record)
    }
}

impl<K, V> Node for Pass<K, V> {}
