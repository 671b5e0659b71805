//! A new value for each record (D-13); the key stays, and with it the partition.

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};
use std::{marker::PhantomData, sync::Arc};

/// The node of `map_values`.
pub(crate) struct MapValues<K, V, V2, F> {
    mapper: Arc<F>,
    children: Children<K, V2>,
    takes: PhantomData<fn(V)>,
}

impl<K, V, V2, F> MapValues<K, V, V2, F> {
    pub fn new(mapper: Arc<F>, children: Children<K, V2>) -> Self {
        Self { mapper, children, takes: PhantomData }
    }
}

impl<K, V, V2, F> Process<K, V> for MapValues<K, V, V2, F>
where
    F: Fn(Option<&K>, Option<&V>) -> Option<V2>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let value = (self.mapper)(record.key, record.value);
        self.children.forward(cx, record.with_value(value.as_ref()))
    }
}

impl<K, V, V2, F> Node for MapValues<K, V, V2, F> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect};

    #[test]
    fn null_values_reach_the_mapper() {
        let (child, children) = collect::<String, bool>();
        let mapper = |_: Option<&String>, v: Option<&i64>| Some(v.is_none());
        let node = MapValues::<String, i64, _, _>::new(Arc::new(mapper), children);
        node.process(&mut Kit::key_value(), Record::new(None, None, 5)).unwrap();
        assert_eq!(child.take(), [(None, Some(true), 5)]);
    }
}
