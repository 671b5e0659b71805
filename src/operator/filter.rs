//! Keeps or drops records by a predicate (D-10). Key, value, time and headers stay.

use super::{Children, Context, Node, Process};
use crate::{fault::Result, record::Record};
use std::sync::Arc;

/// The node of `filter` (`keep` is true) and `filter_not`.
pub(crate) struct Filter<K, V, F> {
    pub predicate: Arc<F>,
    pub keep: bool,
    pub children: Children<K, V>,
}

impl<K, V, F: Fn(Option<&K>, Option<&V>) -> bool> Process<K, V> for Filter<K, V, F> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        if (self.predicate)(record.key, record.value) == self.keep {
            self.children.forward(cx, record)?;
        }
        Ok(())
    }
}

impl<K, V, F> Node for Filter<K, V, F> {}

/// The node before a repartition sink: drops records without a key where nothing downstream takes them (D-75).
/// They are not counted as dropped, as in Kafka Streams.
pub(crate) struct KeyFilter<K, V> {
    pub drop_null_keys: bool,
    pub children: Children<K, V>,
}

impl<K, V> Process<K, V> for KeyFilter<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        if self.drop_null_keys && record.key.is_none() {
            return Ok(());
        }
        self.children.forward(cx, record)
    }
}

impl<K, V> Node for KeyFilter<K, V> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect};

    #[test]
    fn records_pass_by_the_predicate() {
        for keep in [true, false] {
            let (child, children) = collect::<String, i64>();
            let predicate = Arc::new(|_: Option<&String>, v: Option<&i64>| v.is_some_and(|v| *v > 1));
            let node = Filter { predicate, keep, children };
            let mut kit = Kit::key_value();
            for value in [None, Some(&1), Some(&2)] {
                node.process(&mut kit, Record::new(None, value, 5)).unwrap();
            }
            let passed: Vec<_> = child.take().into_iter().map(|(_, value, _)| value).collect();
            assert_eq!(passed, if keep { vec![Some(2)] } else { vec![None, Some(1)] });
        }
    }

    #[test]
    fn null_keys_end_before_a_repartition_topic_uncounted() {
        let (child, children) = collect::<String, i64>();
        let node = KeyFilter { drop_null_keys: true, children };
        let mut kit = Kit::key_value();
        node.process(&mut kit, Record::new(None, Some(&1), 5)).unwrap();
        assert!(child.take().is_empty() && kit.dropped.is_empty());
    }
}
