//! A table's changes as a stream of its new rows; a deletion is a null value.

use super::{Children, Context, Node, Process};
use crate::{
    fault::Result,
    record::{Change, Record},
};

/// The node of `KTable::to_stream`.
pub(crate) struct ToStream<K, V> {
    pub children: Children<K, V>,
}

impl<K, V> Process<K, Change<V>> for ToStream<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        self.children.forward(cx, record.with_value(record.value.and_then(|change| change.new.as_ref())))
    }
}

impl<K, V> Node for ToStream<K, V> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect};

    #[test]
    fn a_deletion_is_a_null_value() {
        let (child, children) = collect::<String, i64>();
        let node = ToStream { children };
        let mut kit = Kit::key_value();
        node.process(&mut kit, Record::new(None, Some(&Change::new(Some(1), None)), 5)).unwrap();
        node.process(&mut kit, Record::new(None, Some(&Change::new(None, Some(1))), 6)).unwrap();
        assert_eq!(child.take(), [(None, Some(1), 5), (None, None, 6)]);
    }
}
