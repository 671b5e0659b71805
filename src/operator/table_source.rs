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
                updates.put(cx, row, key, Update { new: record.value.cloned(), old, timestamp, at: timestamp, headers })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect, updates};

    #[test]
    fn rows_come_and_go() {
        let (child, children) = collect();
        let node = TableSource::Stored(updates(false, true, children));
        let (mut kit, key) = (Kit::key_value(), "k".to_owned());
        for value in [Some(&1), Some(&2), None] {
            node.process(&mut kit, Record::new(Some(&key), value, 5)).unwrap();
        }
        node.process(&mut kit, Record::new(None, Some(&3), 5)).unwrap();
        let changes: Vec<_> = child.take().into_iter().map(|(_, change, _)| change.unwrap()).collect();
        let wanted = [Change::new(Some(1), None), Change::new(Some(2), Some(1)), Change::new(None, Some(2))];
        assert_eq!(changes, wanted);
        assert_eq!(kit.dropped, [Dropped::NullKey]);
    }
}
