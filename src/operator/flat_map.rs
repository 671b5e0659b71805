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
