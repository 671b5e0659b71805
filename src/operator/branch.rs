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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect};

    #[test]
    fn the_first_branch_that_holds_takes_the_record() {
        let (first, _) = collect::<String, i64>();
        let (second, _) = collect::<String, i64>();
        let at_least = |n: i64| -> BranchPredicate<String, i64> { Arc::new(move |_, v| v.is_some_and(|v| *v >= n)) };
        let children = Children::new(vec![first.clone(), second.clone()]);
        let node = Branch { predicates: vec![at_least(2), at_least(1)], has_default: false, children };
        let mut kit = Kit::key_value();
        for value in 0..3 {
            node.process(&mut kit, Record::new(None, Some(&value), 5)).unwrap();
        }
        assert_eq!((first.take(), second.take()), (vec![(None, Some(2), 5)], vec![(None, Some(1), 5)]));
    }
}
