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
