//! A topic read as a table: each record is the new row of its key (D-64, D-128).

use super::{
    Children, Context, Dropped, Node, Process,
    rows::KeyRows,
    table_store::{Update, Updates},
};
use crate::{
    fault::Result,
    record::{Change, Record},
};

/// The node of `table` and `to_table`.
pub(crate) enum TableSource<K, V> {
    /// Keeps rows.
    Stored(Updates<K, V, KeyRows<K>>),
    /// No child needs rows.
    Passing(Children<K, Change<V>>),
}

impl<K: 'static, V: Clone + 'static> Process<K, V> for TableSource<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let Some(key) = record.key else {
            cx.dropped(Dropped::NullKey);
            return Ok(());
        };
        match self {
            Self::Passing(children) => {
                let change = Change::new(record.value.cloned(), None);
                children.forward(cx, record.with_value(Some(&change)))
            }
            Self::Stored(updates) => {
                let row = updates.table.rows.0.to_bytes(key)?;
                let old = if updates.sends_old && !updates.cached {
                    updates.table.get_row(cx, &row)?.map(|(value, _)| value)
                } else {
                    None
                };
                let Record { timestamp, headers, .. } = record;
                updates.put(cx, row, key, Update { new: record.value.cloned(), old, timestamp, headers })
            }
        }
    }
}

impl<K: 'static, V: 'static> Node for TableSource<K, V> {
    fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        match self {
            Self::Stored(updates) => updates.flush(cx),
            Self::Passing(_) => Ok(()),
        }
    }
}
