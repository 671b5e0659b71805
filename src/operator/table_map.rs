//! A table computed row by row from another: `filter` (D-65), `filter_not` and `map_values` (D-66).

use super::{
    Children, Context, Node, Process,
    rows::Rows,
    table_store::{Update, Updates},
};
use crate::{
    fault::Result,
    record::{Change, Record},
};
use std::{marker::PhantomData, sync::Arc};

/// Where the computed rows go.
pub(crate) enum Output<K, V, R> {
    /// To a store of its own.
    Stored(Updates<K, V, R>),
    /// To the children only. The flag tells whether changes carry the old row.
    Passing(Children<K, Change<V>>, bool),
}

/// The node of table filters and mappings.
pub(crate) struct TableMap<K, V, V2, R, F> {
    /// The new row of a key and old row; not asked for absent rows.
    pub compute: Arc<F>,
    pub output: Output<K, V2, R>,
    /// True for a filter: a change from nothing to nothing is not forwarded where old rows are known.
    pub skips_nothing: bool,
    pub takes: PhantomData<fn(V)>,
}

impl<K, V, V2, R, F> Process<K, Change<V>> for TableMap<K, V, V2, R, F>
where
    K: 'static,
    V2: 'static,
    R: Rows<K>,
    F: Fn(&K, &V) -> Option<V2>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        let (Some(key), Some(change)) = (record.key, record.value) else {
            return Ok(());
        };
        let compute = |row: &Option<V>| row.as_ref().and_then(|v| (self.compute)(key, v));
        let new = compute(&change.new);
        match &self.output {
            Output::Passing(children, sends_old) => {
                let old = if *sends_old { compute(&change.old) } else { None };
                if self.skips_nothing && *sends_old && old.is_none() && new.is_none() {
                    return Ok(());
                }
                let change = Change { new, old, is_latest: change.is_latest };
                children.forward(cx, record.with_value(Some(&change)))
            }
            Output::Stored(updates) => {
                let row = updates.table.rows.row(key)?;
                let old = if updates.sends_old { updates.table.get_row(cx, &row)?.map(|(v, _)| v) } else { None };
                if self.skips_nothing && updates.sends_old && old.is_none() && new.is_none() {
                    return Ok(());
                }
                let Record { timestamp, headers, .. } = record;
                updates.put(cx, row, key, Update { new, old, timestamp, headers })
            }
        }
    }
}

impl<K: 'static, V, V2: 'static, R: Rows<K>, F> Node for TableMap<K, V, V2, R, F> {
    fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        match &self.output {
            Output::Stored(updates) => updates.flush(cx),
            Output::Passing(..) => Ok(()),
        }
    }
}
