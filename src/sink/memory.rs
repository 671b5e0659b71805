//! A sink in memory, for tests: it keeps the guard of the real ones, and fails on demand.

use super::{Batch, Sink, SinkRow, SinkSupplier};
use crate::fault::{Fault, Result};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How a write fails. Whoever wrote can't tell the three from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing is written.
    Refused,
    /// The first half of the batch is written.
    Half,
    /// All of it is written, and the answer is lost.
    AnswerLost,
}

/// A row that reached the sink, and whether it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The row.
    pub row: SinkRow,
    /// False where a newer one was there.
    pub taken: bool,
}

#[derive(Debug, Default)]
struct Inside {
    rows: BTreeMap<Bytes, SinkRow>,
    written: Vec<Written>,
    trouble: VecDeque<Trouble>,
    unguarded: bool,
}

/// Rows in memory. Its clones share them.
///
/// ```
/// use millstream::{codec::serdes, sink::MemorySink, testing::TestDriver, topology::{Produced, StreamsBuilder}};
/// let (sink, text) = (MemorySink::default(), serdes::string);
/// let builder = StreamsBuilder::new();
/// builder.stream::<String, String>("users").to_sink("cache", sink.clone(), Produced::with(text(), text()));
///
/// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
/// for name in ["Ann", "Anna"] {
///     driver.pipe("users", &text(), &text(), Some(&"u1".into()), Some(&name.into()), 0).unwrap();
/// }
/// assert_eq!(sink.get("u1").as_deref(), Some(&b"Anna"[..]));
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemorySink(Arc<Mutex<Inside>>);

impl MemorySink {
    /// A sink without a guard: a bug to plant, for the checkers' own tests.
    pub fn unguarded() -> Self {
        let sink = Self::default();
        sink.inside().unguarded = true;
        sink
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key; `None` where there is no row, or a deleted one.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.inside().rows.get(key.as_bytes())?.value.clone()
    }

    /// All rows by key, deleted ones included.
    pub fn rows(&self) -> BTreeMap<Bytes, SinkRow> {
        self.inside().rows.clone()
    }

    /// Every row that ever reached it, in that order.
    pub fn written(&self) -> Vec<Written> {
        self.inside().written.clone()
    }

    /// The next write fails; called again, the one after it too.
    pub fn trouble(&self, trouble: Trouble) {
        self.inside().trouble.push_back(trouble);
    }

    /// No write fails any more.
    pub fn recover(&self) {
        self.inside().trouble.clear();
    }
}

impl SinkSupplier for MemorySink {
    fn open(&self) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for MemorySink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let inside = &mut *self.inside();
        let trouble = inside.trouble.pop_front();
        let arrive = match trouble {
            Some(Trouble::Refused) => 0,
            Some(Trouble::Half) => batch.rows.len().div_ceil(2),
            Some(Trouble::AnswerLost) | None => batch.rows.len(),
        };
        for row in &batch.rows[..arrive] {
            let there = inside.rows.get(&row.key);
            let taken = inside.unguarded || there.is_none_or(|there| row.replaces(&there.version));
            inside.written.push(Written { row: row.clone(), taken });
            if taken {
                inside.rows.insert(row.key.clone(), row.clone());
            }
        }
        trouble.map_or(Ok(()), |trouble| Err(Fault::retry(format!("the sink does not answer: {trouble:?}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{SourceContext, TaskId};

    fn batch(value: Option<&'static str>, partition: i32, offset: i64) -> Batch {
        let version = SourceContext { topic: "in".into(), partition, offset };
        let row = |key: &'static str| SinkRow {
            key: key.into(),
            value: value.map(Into::into),
            timestamp: 0,
            version: version.clone(),
        };
        Batch { sink: "sink".into(), task: TaskId { sub_topology: 0, partition }, rows: vec![row("a"), row("b")] }
    }

    #[test]
    fn an_older_row_changes_nothing_and_a_deletion_stays_one() {
        let mut sink = MemorySink::default();
        for (value, partition, offset, wanted) in [
            (Some("new"), 0, 7, Some("new")),
            (Some("stale"), 0, 6, Some("new")),
            (Some("again"), 0, 7, Some("again")),
            (None, 0, 9, None),
            (Some("stale"), 0, 8, None),
            (Some("elsewhere"), 1, 2, Some("elsewhere")),
        ] {
            sink.write(&batch(value, partition, offset)).unwrap();
            assert_eq!(sink.get("a").as_deref(), wanted.map(str::as_bytes), "{value:?} {offset}");
        }
        assert_eq!(sink.written().iter().filter(|written| !written.taken).count(), 4);
    }

    #[test]
    fn failures_leave_any_part_of_a_batch() {
        for (trouble, wanted) in [(Trouble::Refused, 0), (Trouble::Half, 1), (Trouble::AnswerLost, 2)] {
            let mut sink = MemorySink::default();
            sink.trouble(trouble);
            assert!(sink.write(&batch(Some("x"), 0, 0)).is_err());
            assert_eq!(sink.rows().len(), wanted);
            assert!(sink.write(&batch(Some("x"), 0, 0)).is_ok());
            assert_eq!(sink.rows().len(), 2);
        }
    }
}
