//! New key and value for each record (D-12); time and headers stay.

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};
use std::{marker::PhantomData, sync::Arc};

/// The node of `map`.
pub(crate) struct Map<K, V, K2, V2, F> {
    mapper: Arc<F>,
    children: Children<K2, V2>,
    takes: PhantomData<fn(K, V)>,
}

impl<K, V, K2, V2, F> Map<K, V, K2, V2, F> {
    pub fn new(mapper: Arc<F>, children: Children<K2, V2>) -> Self {
        Self { mapper, children, takes: PhantomData }
    }
}

impl<K, V, K2, V2, F> Process<K, V> for Map<K, V, K2, V2, F>
where
    F: Fn(Option<&K>, Option<&V>) -> (Option<K2>, Option<V2>),
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let (key, value) = (self.mapper)(record.key, record.value);
        self.children.forward(cx, record.with_key(key.as_ref()).with_value(value.as_ref()))
    }
}

impl<K, V, K2, V2, F> Node for Map<K, V, K2, V2, F> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect};

    #[test]
    fn key_and_value_change_and_time_stays() {
        let (child, children) = collect::<i64, String>();
        let mapper = |k: Option<&String>, v: Option<&i64>| (v.copied(), k.cloned());
        let node = Map::<String, i64, _, _, _>::new(Arc::new(mapper), children);
        node.process(&mut Kit::key_value(), Record::new(Some(&"a".to_owned()), Some(&1), 5)).unwrap();
        assert_eq!(child.take(), [(Some(1), Some("a".to_owned()), 5)]);
    }
}
