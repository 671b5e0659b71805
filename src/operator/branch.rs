//! Sends each record to the first branch whose predicate holds (D-15).

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};
use std::sync::Arc;

/// Decides whether a record takes a branch.
pub(crate) type BranchPredicate<K, V> = Arc<dyn Fn(Option<&K>, Option<&V>) -> bool + Send + Sync>;

/// The node of `split`: its children are the branches in order, then the default branch if there is one.
pub(crate) struct Branch<K, V> {
    pub predicates: Vec<BranchPredicate<K, V>>,
    pub has_default: bool,
    pub children: Children<K, V>,
}

impl<K, V> Process<K, V> for Branch<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        match self.predicates.iter().position(|p| p(record.key, record.value)) {
            Some(branch) => self.children.forward_to(branch, cx, record),
            None if self.has_default => self.children.forward_to(self.predicates.len(), cx, record),
            None => Ok(()),
        }
    }
}

impl<K, V> Node for Branch<K, V> {}
