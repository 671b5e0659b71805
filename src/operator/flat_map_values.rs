//! Any number of values for each record (D-13); the key stays.

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};
use std::{marker::PhantomData, sync::Arc};

/// The node of `flat_map_values`.
pub(crate) struct FlatMapValues<K, V, V2, F> {
    mapper: Arc<F>,
    children: Children<K, V2>,
    takes: PhantomData<fn(V)>,
}

impl<K, V, V2, F> FlatMapValues<K, V, V2, F> {
    pub fn new(mapper: Arc<F>, children: Children<K, V2>) -> Self {
        Self { mapper, children, takes: PhantomData }
    }
}

impl<K, V, V2, I, F> Process<K, V> for FlatMapValues<K, V, V2, F>
where
    I: IntoIterator<Item = V2>,
    F: Fn(Option<&K>, Option<&V>) -> I,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        for value in (self.mapper)(record.key, record.value) {
            self.children.forward(cx, record.with_value(Some(&value)))?;
        }
        Ok(())
    }
}

impl<K, V, V2, F> Node for FlatMapValues<K, V, V2, F> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect};

    #[test]
    fn each_value_is_a_record_with_the_key() {
        let (child, children) = collect::<String, i64>();
        let mapper = |_: Option<&String>, v: Option<&i64>| 0..*v.unwrap_or(&0);
        let node = FlatMapValues::<String, i64, _, _>::new(Arc::new(mapper), children);
        let key = "k".to_owned();
        node.process(&mut Kit::key_value(), Record::new(Some(&key), Some(&2), 6)).unwrap();
        assert_eq!(child.take(), [(Some(key.clone()), Some(0), 6), (Some(key), Some(1), 6)]);
    }
}
