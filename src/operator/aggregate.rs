//! Aggregates of a stream by key (D-60, D-63, D-120).

use super::{
    Context, Dropped, Node, Process,
    rows::KeyRows,
    table_store::{Update, Updates},
};
use crate::{
    fault::Result,
    record::{Record, Timestamp},
};
use std::{marker::PhantomData, sync::Arc};

/// One step of an aggregate: the aggregate so far (`None`: there is none yet) and the record make the next one.
pub(crate) trait Step<K, V, VA>: Send + Sync + 'static {
    /// What the aggregate is before the first record; `None` when the first value itself is the aggregate.
    fn initial(&self) -> Option<VA>;

    /// The aggregate after a record; `None` deletes it. `so_far` is `None` only when [`Step::initial`] is.
    fn next(&self, key: &K, value: Option<&V>, so_far: Option<VA>) -> Option<VA>;
}

/// `aggregate`: an initializer and an aggregator.
pub(crate) struct Aggregator<I, F> {
    pub initializer: I,
    pub aggregator: F,
}

impl<K, V, VA, I, F> Step<K, V, VA> for Aggregator<I, F>
where
    I: Fn() -> VA + Send + Sync + 'static,
    F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
{
    fn initial(&self) -> Option<VA> {
        Some((self.initializer)())
    }

    fn next(&self, key: &K, value: Option<&V>, so_far: Option<VA>) -> Option<VA> {
        (self.aggregator)(key, value, so_far?)
    }
}

/// `reduce`: the first value as it is, then a reducer.
pub(crate) struct Reducer<F> {
    pub reducer: F,
}

impl<K, V, F> Step<K, V, V> for Reducer<F>
where
    V: Clone,
    F: Fn(V, Option<&V>) -> Option<V> + Send + Sync + 'static,
{
    fn initial(&self) -> Option<V> {
        None
    }

    fn next(&self, _key: &K, value: Option<&V>, so_far: Option<V>) -> Option<V> {
        match so_far {
            Some(so_far) => (self.reducer)(so_far, value),
            None => value.cloned(),
        }
    }
}

/// The node of `count`, `reduce` and `aggregate` without windows.
pub(crate) struct Aggregate<K, V, VA, S> {
    step: Arc<S>,
    updates: Updates<K, VA, KeyRows<K>>,
    takes: PhantomData<fn(V)>,
}

impl<K, V, VA, S> Aggregate<K, V, VA, S> {
    pub fn new(step: Arc<S>, updates: Updates<K, VA, KeyRows<K>>) -> Self {
        Self { step, updates, takes: PhantomData }
    }
}

/// The aggregate after `value`, its timestamp, and the old value for an uncached forward. As in Kafka Streams that is
/// the initial value when there was none.
pub(super) fn step<K, V, VA: Clone, S: Step<K, V, VA>>(
    step: &S,
    key: &K,
    value: Option<&V>,
    found: Option<(VA, Timestamp)>,
    timestamp: Timestamp,
    keep_old: bool,
) -> (Option<VA>, Timestamp, Option<VA>) {
    let (so_far, newest) = match found {
        Some((value, at)) => (Some(value), at.max(timestamp)),
        None => (step.initial(), timestamp),
    };
    let old = if keep_old { so_far.clone() } else { None };
    (step.next(key, value, so_far), newest, old)
}

impl<K: 'static, V, VA: Clone + 'static, S: Step<K, V, VA>> Process<K, V> for Aggregate<K, V, VA, S> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let (Some(key), Some(value)) = (record.key, record.value) else {
            cx.dropped(if record.key.is_none() { Dropped::NullKey } else { Dropped::NullValue });
            return Ok(());
        };
        let row = self.updates.table.rows.0.to_bytes(key)?;
        let found = self.updates.table.get_row(cx, &row)?;
        let keep_old = self.updates.sends_old && !self.updates.cached;
        let (new, timestamp, old) = step(&*self.step, key, Some(value), found, record.timestamp, keep_old);
        self.updates.put(cx, row, key, Update { new, old, timestamp, at: record.timestamp, headers: record.headers })
    }
}

impl<K: 'static, V, VA: 'static, S> Node for Aggregate<K, V, VA, S> {
    fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        self.updates.flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        operator::testkit::{Kit, collect, updates},
        record::{Change, SourceContext},
    };

    fn sum() -> Arc<impl Step<String, i64, i64>> {
        let aggregator = |_: &String, v: Option<&i64>, sum: i64| v.filter(|v| **v != 0).map(|v| sum + v);
        Arc::new(Aggregator { initializer: || 100, aggregator })
    }

    #[test]
    fn aggregates_keep_the_greatest_time_and_start_anew_after_a_deletion() {
        let (child, children) = collect();
        let node = Aggregate::new(sum(), updates(false, true, children));
        let (mut kit, key) = (Kit::key_value(), "k".to_owned());
        for (value, at) in [(1, 9), (2, 5), (0, 6), (3, 1)] {
            node.process(&mut kit, Record::new(Some(&key), Some(&value), at)).unwrap();
        }
        let changes: Vec<_> = child.take().into_iter().map(|(_, change, at)| (change.unwrap(), at)).collect();
        // As in Kafka Streams the first old value is the initial one.
        let change = |new, old| Change::new(new, Some(old));
        let wanted = [
            (change(Some(101), 100), 9),
            (change(Some(103), 101), 9),
            (change(None, 103), 9),
            (change(Some(103), 100), 1),
        ];
        assert_eq!(changes, wanted);
    }

    #[test]
    fn null_keys_and_values_are_dropped_and_counted() {
        let (child, children) = collect();
        let node = Aggregate::new(sum(), updates(false, false, children));
        let (mut kit, key) = (Kit::key_value(), "k".to_owned());
        node.process(&mut kit, Record::new(None, Some(&1), 1)).unwrap();
        node.process(&mut kit, Record::new(Some(&key), None, 1)).unwrap();
        assert_eq!(kit.dropped, [Dropped::NullKey, Dropped::NullValue]);
        assert!(child.take().is_empty());
    }

    /// P-62.
    #[test]
    fn the_cache_forwards_the_last_update_with_its_own_context() {
        let (child, children) = collect();
        let node = Aggregate::new(sum(), updates(true, true, children));
        let (mut kit, key) = (Kit::key_value(), "k".to_owned());
        for (value, at) in [(1, 9), (2, 5)] {
            kit.source = Some(SourceContext { topic: "in".into(), partition: 0, offset: at });
            node.process(&mut kit, Record::new(Some(&key), Some(&value), at)).unwrap();
        }
        assert!(child.take().is_empty());
        kit.source = None;
        node.flush(&mut kit).unwrap();
        assert_eq!(child.take(), [(Some(key), Some(Change::new(Some(103), None)), 9)]);
        node.flush(&mut kit).unwrap();
        assert!(child.take().is_empty() && kit.source.is_none());
    }

    #[test]
    fn a_reducer_takes_the_first_value_as_it_is() {
        let (child, children) = collect();
        let reducer = |sum: i64, v: Option<&i64>| v.map(|v| sum - v);
        let node = Aggregate::new(Arc::new(Reducer { reducer }), updates(false, false, children));
        let (mut kit, key) = (Kit::key_value(), "k".to_owned());
        for value in [5, 2] {
            node.process(&mut kit, Record::new(Some(&key), Some(&value), 1)).unwrap();
        }
        let values: Vec<_> = child.take().into_iter().map(|(_, change, _)| change.unwrap().new).collect();
        assert_eq!(values, [Some(5), Some(3)]);
    }
}
