//! Any number of records for each record (D-12); time and headers stay.

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};
use std::{marker::PhantomData, sync::Arc};

/// The node of `flat_map`.
pub(crate) struct FlatMap<K, V, K2, V2, F> {
    mapper: Arc<F>,
    children: Children<K2, V2>,
    takes: PhantomData<fn(K, V)>,
}

impl<K, V, K2, V2, F> FlatMap<K, V, K2, V2, F> {
    pub fn new(mapper: Arc<F>, children: Children<K2, V2>) -> Self {
        Self { mapper, children, takes: PhantomData }
    }
}

impl<K, V, K2, V2, I, F> Process<K, V> for FlatMap<K, V, K2, V2, F>
where
    I: IntoIterator<Item = (Option<K2>, Option<V2>)>,
    F: Fn(Option<&K>, Option<&V>) -> I,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        for (key, value) in (self.mapper)(record.key, record.value) {
            self.children.forward(cx, record.with_key(key.as_ref()).with_value(value.as_ref()))?;
        }
        Ok(())
    }
}

impl<K, V, K2, V2, F> Node for FlatMap<K, V, K2, V2, F> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect};

    #[test]
    fn each_pair_is_a_record_in_order() {
        let (child, children) = collect::<i64, i64>();
        let mapper =
            |_: Option<&String>, v: Option<&i64>| v.map_or(Vec::new(), |v| vec![(Some(*v), None), (None, Some(*v))]);
        let node = FlatMap::<String, i64, _, _, _>::new(Arc::new(mapper), children);
        let mut kit = Kit::key_value();
        node.process(&mut kit, Record::new(None, None, 5)).unwrap();
        node.process(&mut kit, Record::new(None, Some(&1), 6)).unwrap();
        assert_eq!(child.take(), [(Some(1), None, 6), (None, Some(1), 6)]);
    }
}
