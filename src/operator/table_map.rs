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
                updates.put(cx, row, key, Update { new, old, timestamp, at: timestamp, headers })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        rows::KeyRows,
        testkit::{Kit, collect},
    };

    #[test]
    fn a_filter_deletes_rows_that_no_longer_pass() {
        for sends_old in [true, false] {
            let (child, children) = collect::<String, Change<i64>>();
            let node: TableMap<String, i64, i64, KeyRows<String>, _> = TableMap {
                compute: Arc::new(|_: &String, v: &i64| (*v > 1).then_some(*v)),
                output: Output::Passing(children, sends_old),
                skips_nothing: true,
                takes: PhantomData,
            };
            let (mut kit, key) = (Kit::key_value(), "k".to_owned());
            for (new, old) in [(Some(1), None), (Some(2), Some(1)), (Some(0), Some(2))] {
                node.process(&mut kit, Record::new(Some(&key), Some(&Change::new(new, old)), 5)).unwrap();
            }
            let changes: Vec<_> = child.take().into_iter().map(|(_, change, _)| change.unwrap()).collect();
            let wanted = if sends_old {
                vec![Change::new(Some(2), None), Change::new(None, Some(2))]
            } else {
                vec![Change::new(None, None), Change::new(Some(2), None), Change::new(None, None)]
            };
            assert_eq!(changes, wanted);
        }
    }
}
