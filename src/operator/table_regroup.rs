//! A table's changes under new keys, on their way to a grouped table (D-67, D-125).

use super::{Children, Context, Node, Process};
use crate::{
    fault::{Fault, Result},
    record::{Change, Record},
};
use std::{marker::PhantomData, sync::Arc};

/// The node of `KTable::group_by`.
pub(crate) struct TableRegroup<K, V, K2, V2, F> {
    pub name: Arc<str>,
    /// New key and value of a row; a row for which either is null is in no group.
    pub selector: Arc<F>,
    /// True below a versioned table, whose out-of-order changes no aggregate takes (D-130).
    pub versioned: bool,
    pub children: Children<K2, Change<V2>>,
    pub takes: PhantomData<fn(K, V)>,
}

impl<K, V, K2, V2, F> Process<K, Change<V>> for TableRegroup<K, V, K2, V2, F>
where
    K2: PartialEq,
    F: Fn(&K, &V) -> (Option<K2>, Option<V2>),
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        let Some(key) = record.key else {
            return Err(Fault::stop("a table that is grouped has a null key").at(format!("node {}", self.name)));
        };
        let Some(change) = record.value else { return Ok(()) };
        if self.versioned && !change.is_latest {
            return Ok(());
        }
        let select = |row: &Option<V>| match row.as_ref().map(|row| (self.selector)(key, row)) {
            Some((Some(key), Some(value))) => Some((key, value)),
            _ => None,
        };
        let (new, old) = (select(&change.new), select(&change.old));
        let is_latest = change.is_latest;
        let mut tell = |key: &K2, new: Option<V2>, old: Option<V2>| {
            let change = Change { new, old, is_latest };
            self.children.forward(cx, record.with_key(Some(key)).with_value(Some(&change)))
        };
        match (new, old) {
            (Some((key, new)), Some((old_key, old))) if key == old_key => tell(&key, Some(new), Some(old)),
            (new, old) => {
                // What leaves a group goes before what joins one.
                if let Some((key, old)) = old {
                    tell(&key, None, Some(old))?;
                }
                new.map_or(Ok(()), |(key, new)| tell(&key, Some(new), None))
            }
        }
    }
}

impl<K, V, K2, V2, F> Node for TableRegroup<K, V, K2, V2, F> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect};

    type Told = Vec<(Option<String>, Option<i64>, Option<i64>)>;

    /// What a group by parity, in which 100 has no value and negative numbers no key, is told of a change.
    fn told(versioned: bool, change: Change<i64>) -> Told {
        let (child, children) = collect();
        let node = TableRegroup {
            name: "regroup".into(),
            selector: Arc::new(|_: &String, n: &i64| {
                let key = (*n >= 0).then(|| if n % 2 == 0 { "even".to_owned() } else { "odd".to_owned() });
                (key, (*n != 100).then_some(*n))
            }),
            versioned,
            children,
            takes: PhantomData,
        };
        node.process(&mut Kit::key_value(), Record::new(Some(&"k".to_owned()), Some(&change), 5)).unwrap();
        child
            .take()
            .into_iter()
            .map(|(key, change, _)| (key, change.as_ref().unwrap().new, change.unwrap().old))
            .collect()
    }

    fn row(key: &str, new: Option<i64>, old: Option<i64>) -> (Option<String>, Option<i64>, Option<i64>) {
        (Some(key.to_owned()), new, old)
    }

    #[test]
    fn d125_one_group_is_told_once_and_two_are_told_the_old_row_first() {
        assert_eq!(told(false, Change::new(Some(4), Some(2))), [row("even", Some(4), Some(2))]);
        let two = [row("even", None, Some(2)), row("odd", Some(3), None)];
        assert_eq!(told(false, Change::new(Some(3), Some(2))), two);
    }

    #[test]
    fn d67_a_row_without_key_or_value_is_in_no_group() {
        assert_eq!(told(false, Change::new(Some(-1), Some(2))), [row("even", None, Some(2))]);
        assert_eq!(told(false, Change::new(Some(3), Some(100))), [row("odd", Some(3), None)]);
        assert_eq!(told(false, Change::new(None, None)), []);
    }

    #[test]
    fn d130_an_out_of_order_change_of_a_versioned_table_is_not_told() {
        let stale = Change { is_latest: false, ..Change::new(Some(4), Some(2)) };
        assert_eq!(told(true, stale.clone()), []);
        assert_eq!(told(false, stale).len(), 1);
    }
}
