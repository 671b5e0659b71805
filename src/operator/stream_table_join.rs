//! Stream records looked up in a table (D-71, D-93): only the stream side triggers.

use super::{Children, Context, Dropped, Node, Process, getter::Getter};
use crate::{fault::Result, record::Record};
use std::{marker::PhantomData, rc::Rc, sync::Arc};

/// The node of `join` and `left_join` with a table. The result has the stream record's time and headers.
pub(crate) struct StreamTableJoin<K, V, VT, V2, F> {
    pub table: Rc<dyn Getter<K, VT>>,
    pub joiner: Arc<F>,
    /// True for a left join: a record without a partner is joined with `None`, also one without a key.
    pub left: bool,
    pub children: Children<K, V2>,
    pub takes: PhantomData<fn(V)>,
}

impl<K, V, VT, V2, F> Process<K, V> for StreamTableJoin<K, V, VT, V2, F>
where
    F: Fn(Option<&K>, &V, Option<&VT>) -> Option<V2>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let Some(value) = record.value else {
            cx.dropped(Dropped::NullValue);
            return Ok(());
        };
        let found = match record.key {
            Some(key) => self.table.get(cx, key)?,
            None if self.left => None,
            None => {
                cx.dropped(Dropped::NullKey);
                return Ok(());
            }
        };
        if found.is_none() && !self.left {
            return Ok(());
        }
        let joined = (self.joiner)(record.key, value, found.as_ref().map(|(row, _)| row));
        self.children.forward(cx, record.with_value(joined.as_ref()))
    }
}

impl<K, V, VT, V2, F> Node for StreamTableJoin<K, V, VT, V2, F> {}
