//! Stream records looked up in a global table by a key that they name (D-72, D-97).

use super::{Children, Context, Dropped, Node, Process};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::Record,
    state::GlobalStore,
};
use std::{marker::PhantomData, sync::Arc};

/// The node of joins with a global table. The result has the stream record's key, time and headers.
pub(crate) struct GlobalJoin<K, V, GK, GV, VR, S, F> {
    pub table: Arc<GlobalStore>,
    pub key: Serde<GK>,
    pub value: Serde<GV>,
    /// The table's key of a record.
    pub select: Arc<S>,
    pub joiner: Arc<F>,
    /// True for a left join: a record whose key has no row, or that names no key, is joined with `None`.
    pub left: bool,
    pub children: Children<K, VR>,
    pub takes: PhantomData<fn(V)>,
}

impl<K, V, GK, GV, VR, S, F> Process<K, V> for GlobalJoin<K, V, GK, GV, VR, S, F>
where
    GK: 'static,
    GV: 'static,
    S: Fn(Option<&K>, &V) -> Option<GK>,
    F: Fn(Option<&K>, &V, Option<&GV>) -> Option<VR>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let Some(value) = record.value else {
            cx.dropped(Dropped::NullValue);
            return Ok(());
        };
        let found = match (self.select)(record.key, value) {
            Some(key) => self.table.get(&self.key.to_bytes(&key)?)?,
            None if self.left => None,
            None => {
                cx.dropped(Dropped::NullKey);
                return Ok(());
            }
        };
        let row = found.map(|row| self.value.decode(&row.value)).transpose().map_err(|fault| {
            Fault::stop(format!("a stored value can't be read: {}", fault.what()))
                .at(format!("store {}", self.table.name()))
        })?;
        if row.is_none() && !self.left {
            return Ok(());
        }
        let joined = (self.joiner)(record.key, value, row.as_ref());
        self.children.forward(cx, record.with_value(joined.as_ref()))
    }
}

impl<K, V, GK, GV, VR, S, F> Node for GlobalJoin<K, V, GK, GV, VR, S, F> {}
