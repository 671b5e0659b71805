//! A new key for each record (D-11); value, time and headers stay.

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};
use std::{marker::PhantomData, sync::Arc};

/// The node of `select_key` and `group_by`.
pub(crate) struct SelectKey<K, V, K2, F> {
    selector: Arc<F>,
    children: Children<K2, V>,
    takes: PhantomData<fn(K)>,
}

impl<K, V, K2, F> SelectKey<K, V, K2, F> {
    pub fn new(selector: Arc<F>, children: Children<K2, V>) -> Self {
        Self { selector, children, takes: PhantomData }
    }
}

impl<K, V, K2, F> Process<K, V> for SelectKey<K, V, K2, F>
where
    F: Fn(Option<&K>, Option<&V>) -> Option<K2>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let key = (self.selector)(record.key, record.value);
        self.children.forward(cx, record.with_key(key.as_ref()))
    }
}

impl<K, V, K2, F> Node for SelectKey<K, V, K2, F> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect};

    #[test]
    fn the_key_changes_and_the_value_stays() {
        let (child, children) = collect::<i64, i64>();
        let node =
            SelectKey::<String, i64, _, _>::new(Arc::new(|_: Option<&String>, v: Option<&i64>| v.copied()), children);
        node.process(&mut Kit::key_value(), Record::new(None, Some(&1), 5)).unwrap();
        assert_eq!(child.take(), [(Some(1), Some(1), 5)]);
    }
}
