//! Aggregates of a grouped table (D-68, D-124): what leaves a group is taken away, what joins it is added.

use super::{
    Context, Node, Process,
    rows::KeyRows,
    table_store::{Update, Updates},
};
use crate::{
    fault::{Fault, Result},
    record::{Change, Record},
};
use std::{marker::PhantomData, sync::Arc};

/// Both directions of an aggregate; `None` deletes it.
pub(crate) trait TableStep<K, V, VA>: Send + Sync + 'static {
    /// The aggregate without `old`.
    fn subtract(&self, key: &K, old: &V, so_far: VA) -> Option<VA>;

    /// The aggregate with `new`; `so_far` is `None` when there is none yet.
    fn add(&self, key: &K, new: &V, so_far: Option<VA>) -> Option<VA>;
}

/// `aggregate`: an initializer, an adder and a subtractor.
pub(crate) struct TableAggregator<I, A, S> {
    pub initializer: I,
    pub adder: A,
    pub subtractor: S,
}

impl<K, V, VA, I, A, S> TableStep<K, V, VA> for TableAggregator<I, A, S>
where
    I: Fn() -> VA + Send + Sync + 'static,
    A: Fn(&K, &V, VA) -> Option<VA> + Send + Sync + 'static,
    S: Fn(&K, &V, VA) -> Option<VA> + Send + Sync + 'static,
{
    fn subtract(&self, key: &K, old: &V, so_far: VA) -> Option<VA> {
        (self.subtractor)(key, old, so_far)
    }

    fn add(&self, key: &K, new: &V, so_far: Option<VA>) -> Option<VA> {
        (self.adder)(key, new, so_far.unwrap_or_else(&self.initializer))
    }
}

/// `reduce`: the first value as it is, then an adder and a subtractor.
pub(crate) struct TableReducer<A, S> {
    pub adder: A,
    pub subtractor: S,
}

impl<K, V, A, S> TableStep<K, V, V> for TableReducer<A, S>
where
    V: Clone,
    A: Fn(V, &V) -> Option<V> + Send + Sync + 'static,
    S: Fn(V, &V) -> Option<V> + Send + Sync + 'static,
{
    fn subtract(&self, _key: &K, old: &V, so_far: V) -> Option<V> {
        (self.subtractor)(so_far, old)
    }

    fn add(&self, _key: &K, new: &V, so_far: Option<V>) -> Option<V> {
        match so_far {
            Some(so_far) => (self.adder)(so_far, new),
            None => Some(new.clone()),
        }
    }
}

/// The node of `count`, `reduce` and `aggregate` of a grouped table.
pub(crate) struct TableAggregate<K, V, VA, S> {
    pub step: Arc<S>,
    pub updates: Updates<K, VA, KeyRows<K>>,
    pub takes: PhantomData<fn(V)>,
}

impl<K: 'static, V, VA: Clone + 'static, S: TableStep<K, V, VA>> Process<K, Change<V>> for TableAggregate<K, V, VA, S> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        let Some(key) = record.key else {
            let store = cx.store(self.updates.table.store).spec().name.clone();
            return Err(Fault::stop("a group of a table has a null key").at(format!("store {store}")));
        };
        let Some(change) = record.value else { return Ok(()) };
        let row = self.updates.table.rows.0.to_bytes(key)?;
        let found = self.updates.table.get_row(cx, &row)?;
        let (so_far, before) = match found {
            Some((so_far, at)) => (Some(so_far), Some(at)),
            None => (None, None),
        };
        let old = if self.updates.sends_old && !self.updates.cached { so_far.clone() } else { None };
        let mut timestamp = record.timestamp;
        let rest = match (&change.old, so_far) {
            (Some(gone), Some(so_far)) => {
                timestamp = timestamp.max(before.unwrap_or(timestamp));
                self.step.subtract(key, gone, so_far)
            }
            (_, so_far) => so_far,
        };
        let new = match &change.new {
            Some(new) => {
                timestamp = timestamp.max(before.unwrap_or(timestamp));
                self.step.add(key, new, rest)
            }
            None => rest,
        };
        self.updates.put(cx, row, key, Update { new, old, timestamp, at: record.timestamp, headers: record.headers })
    }
}

impl<K: 'static, V, VA: 'static, S> Node for TableAggregate<K, V, VA, S> {
    fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        self.updates.flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect, updates};

    #[test]
    fn d124_the_old_row_is_subtracted_before_the_new_one_is_added() {
        let (child, children) = collect();
        let node = TableAggregate {
            step: Arc::new(TableAggregator {
                initializer: || 100,
                adder: |_: &String, n: &i64, sum: i64| Some(sum + n),
                subtractor: |_: &String, n: &i64, sum: i64| (sum > 102).then_some(sum - n),
            }),
            updates: updates(false, true, children),
            takes: PhantomData,
        };
        let (mut kit, key) = (Kit::key_value(), "k".to_owned());
        let changes = [
            (Change::new(None, Some(7)), 4),
            (Change::new(Some(2), None), 9),
            (Change::new(Some(3), Some(2)), 5),
            (Change::new(None, Some(3)), 6),
        ];
        for (change, at) in changes {
            node.process(&mut kit, Record::new(Some(&key), Some(&change), at)).unwrap();
        }
        let told: Vec<_> =
            child.take().into_iter().map(|(_, c, at)| (c.as_ref().unwrap().new, c.unwrap().old, at)).collect();
        // Nothing to subtract from; 100 + 2; 102 is not above 102, so it is deleted and begun anew; 103 - 3.
        assert_eq!(
            told,
            [(None, None, 4), (Some(102), None, 9), (Some(103), Some(102), 9), (Some(100), Some(103), 9),]
        );
    }

    #[test]
    fn d68_a_null_key_stops() {
        let (_, children) = collect();
        let node = TableAggregate::<String, i64, i64, _> {
            step: Arc::new(TableReducer {
                adder: |a: i64, b: &i64| Some(a + b),
                subtractor: |a: i64, b: &i64| Some(a - b),
            }),
            updates: updates(false, true, children),
            takes: PhantomData,
        };
        let fault = node.process(&mut Kit::key_value(), Record::new(None, Some(&Change::new(Some(1), None)), 1));
        assert_eq!(fault.unwrap_err().to_string(), "a group of a table has a null key (store store)");
    }
}
