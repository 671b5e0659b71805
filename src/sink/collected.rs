//! Rows of the open transaction, until they are handed over.

use super::{Batch, SinkRow};
use crate::record::TaskId;
use bytes::Bytes;
use std::{collections::BTreeMap, mem, sync::Arc};

/// The newest row of each key by sink and task. Above `sink_bytes_max` a commit is due.
#[derive(Debug, Default)]
pub struct Collected {
    rows: BTreeMap<(Arc<str>, TaskId), BTreeMap<Bytes, SinkRow>>,
    bytes: usize,
}

impl Collected {
    /// Takes a row; an older one of the same key goes.
    pub fn push(&mut self, sink: &Arc<str>, task: TaskId, row: SinkRow) {
        let rows = self.rows.entry((Arc::clone(sink), task)).or_default();
        if rows.get(&row.key).is_some_and(|before| !row.replaces(&before.version)) {
            return;
        }
        self.bytes += row.bytes();
        if let Some(before) = rows.insert(row.key.clone(), row) {
            self.bytes -= before.bytes();
        }
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes everything out: a batch for each sink and task.
    pub fn take(&mut self) -> Vec<Batch> {
        self.bytes = 0;
        let batch =
            |((sink, task), rows): (_, BTreeMap<_, _>)| Batch { sink, task, rows: rows.into_values().collect() };
        mem::take(&mut self.rows).into_iter().map(batch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SourceContext;

    fn row(key: &'static str, value: &'static str, partition: i32, offset: i64) -> SinkRow {
        let version = SourceContext { topic: "in".into(), partition, offset };
        SinkRow { key: key.into(), value: Some(value.into()), timestamp: 0, version }
    }

    #[test]
    fn a_batch_has_the_newest_row_of_each_key_in_their_order() {
        let mut collected = Collected::default();
        let (sink, task) = (Arc::from("sink"), TaskId { sub_topology: 0, partition: 1 });
        for row in [row("b", "old", 1, 4), row("a", "one", 1, 5), row("b", "newer", 1, 6), row("b", "late", 1, 5)] {
            collected.push(&sink, task, row);
        }
        assert_eq!(collected.bytes(), 4 + 6);
        let other = TaskId { sub_topology: 0, partition: 2 };
        collected.push(&sink, other, row("a", "two", 2, 0));
        let batches = collected.take();
        assert_eq!(batches.len(), 2);
        assert_eq!((batches[0].task, &batches[0].rows), (task, &vec![row("a", "one", 1, 5), row("b", "newer", 1, 6)]));
        assert_eq!((batches[1].task, batches[1].rows.len()), (other, 1));
        assert!(collected.is_empty() && collected.bytes() == 0);
    }
}
