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
            Some(key) => self.table.get_as_of(cx, key, record.timestamp)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        aggregate::{Aggregate, Reducer},
        testkit::{Kit, collect, updates},
    };

    #[test]
    fn only_a_left_join_keeps_records_without_a_partner() {
        for left in [true, false] {
            let (child, children) = collect::<String, String>();
            let (_, rows) = collect();
            let rows = updates(false, false, rows);
            let node: StreamTableJoin<String, String, i64, String, _> = StreamTableJoin {
                table: Rc::new(rows.table.clone()),
                joiner: Arc::new(|_: Option<&String>, v: &String, row: Option<&i64>| Some(format!("{v}{row:?}"))),
                left,
                children,
                takes: PhantomData,
            };
            let last = |_: i64, v: Option<&i64>| v.copied();
            let table = Aggregate::new(Arc::new(Reducer { reducer: last }), rows);
            let (mut kit, known, other, value) = (Kit::key_value(), "a".to_owned(), "b".to_owned(), "v".to_owned());
            table.process(&mut kit, Record::new(Some(&known), Some(&7), 1)).unwrap();
            for key in [Some(&known), Some(&other), None] {
                node.process(&mut kit, Record::new(key, Some(&value), 5)).unwrap();
            }
            node.process(&mut kit, Record::new(Some(&known), None, 5)).unwrap();
            let values: Vec<_> = child.take().into_iter().map(|(_, value, _)| value.unwrap()).collect();
            if left {
                assert_eq!(values, ["vSome(7)", "vNone", "vNone"]);
                assert_eq!(kit.dropped, [Dropped::NullValue]);
            } else {
                assert_eq!(values, ["vSome(7)"]);
                assert_eq!(kit.dropped, [Dropped::NullKey, Dropped::NullValue]);
            }
        }
    }
}
