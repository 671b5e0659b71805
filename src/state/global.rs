//! The rows of a global table: one copy for the whole process, written by one reader of its topic, read by all tasks.

use super::{Entry, Limits, Page, Row};
use crate::{
    fault::{Fault, Result},
    record::Offset,
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

#[derive(Default)]
struct Contents {
    rows: BTreeMap<Bytes, Row>,
    /// The next offset to read, by partition.
    positions: BTreeMap<i32, Offset>,
    restored: bool,
    dropped: u64,
}

impl Contents {
    /// Refuses to answer before the restore: an empty answer would be a wrong one.
    fn check(&self, name: &str) -> Result<()> {
        if self.restored {
            return Ok(());
        }
        Err(Fault::stop("a global table is read before it is restored")
            .at(format!("store {name}"))
            .hint("the driver has to read its topic to the end before tasks start"))
    }
}

/// The rows of a global table, in memory. They belong to no task and no transaction: a write is seen at once, and what is
/// read is not exactly-once, as in Kafka Streams. There is no changelog but the topic itself.
pub struct GlobalStore {
    name: Arc<str>,
    contents: RwLock<Contents>,
}

impl fmt::Debug for GlobalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GlobalStore({})", self.name)
    }
}

impl GlobalStore {
    /// An empty store that is not restored.
    pub fn new(name: Arc<str>) -> Self {
        Self { name, contents: RwLock::default() }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        // Contents change by code that can't panic, so a poisoned lock still guards whole changes.
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row of a key.
    ///
    /// # Errors
    /// When the table is not restored: an empty answer would be a wrong one.
    pub fn get(&self, key: &[u8]) -> Result<Option<Row>> {
        let contents = self.read();
        contents.check(&self.name)?;
        Ok(contents.rows.get(key).cloned())
    }

    /// The row of a key while its topic is read: restored or not.
    pub(super) fn peek(&self, key: &[u8]) -> Option<Row> {
        self.read().rows.get(key).cloned()
    }

    /// Rows with `from <= key < to` in order of their keys; without `to` up to the last one.
    ///
    /// # Errors
    /// As [`GlobalStore::get`].
    pub fn range(&self, from: &[u8], to: Option<&[u8]>) -> Result<Vec<(Bytes, Row)>> {
        let contents = self.read();
        contents.check(&self.name)?;
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        Ok(contents.rows.range::<[u8], _>(bounds).map(|(key, row)| (key.clone(), row.clone())).collect())
    }

    /// Every row in order of its key.
    pub fn rows(&self) -> Vec<(Bytes, Row)> {
        self.read().rows.iter().map(|(key, row)| (key.clone(), row.clone())).collect()
    }

    /// True once it holds what its topic held when the driver began to read it.
    pub fn is_restored(&self) -> bool {
        self.read().restored
    }

    /// A page of rows with keys between two, both included, from the first one after `after`.
    pub fn page(&self, from: Option<&[u8]>, to: Option<&[u8]>, after: Option<&[u8]>, limits: Limits) -> Page {
        let contents = self.read();
        let first = after.map_or(Bound::Included(from.unwrap_or_default()), Bound::Excluded);
        if to.is_some_and(|to| matches!(first, Bound::Included(from) | Bound::Excluded(from) if from > to)) {
            return Page::default();
        }
        let last = to.map_or(Bound::Unbounded, Bound::Included);
        let mut page = Page::default();
        let mut bytes = 0;
        for (key, row) in contents.rows.range::<[u8], _>((first, last)) {
            if page.entries.len() >= limits.rows_max || bytes >= limits.bytes_max {
                page.next = page.entries.last().map(|entry| entry.key.clone());
                break;
            }
            let value: Bytes = row.value.clone().into();
            bytes += key.len() + value.len();
            page.entries.push(Entry {
                key: key.clone(),
                window: None,
                value,
                timestamp: row.timestamp,
                valid_to: None,
            });
        }
        page
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.read().rows.len()
    }

    /// The next offset of a partition to read; `None` before the first.
    pub fn position(&self, partition: i32) -> Option<Offset> {
        self.read().positions.get(&partition).copied()
    }

    /// Applies the records of a partition below `next`, all at once. `None` deletes a row.
    pub fn apply(&self, partition: i32, rows: Vec<(Bytes, Option<Row>)>, next: Offset, dropped: u64) {
        let mut contents = self.write();
        for (key, row) in rows {
            match row {
                Some(row) => contents.rows.insert(key, row),
                None => contents.rows.remove(&key),
            };
        }
        // As in Kafka Streams, what a restore leaves out is not counted.
        if contents.restored {
            contents.dropped += dropped;
        }
        let position = contents.positions.entry(partition).or_insert(next);
        *position = next.max(*position);
    }

    /// The table holds what its topic held when the driver began to read it.
    pub fn set_restored(&self) {
        if !self.read().restored {
            self.write().restored = true;
        }
    }

    /// Records that were left out since the restore: without a key, or unreadable.
    pub fn dropped(&self) -> u64 {
        self.read().dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_there_once_the_table_is_restored() {
        let store = GlobalStore::new("g".into());
        let row = Row { value: (&b"v"[..]).into(), timestamp: 7 };
        store.apply(1, vec![("a".into(), Some(row.clone())), ("b".into(), Some(row.clone()))], 5, 1);
        assert!(store.get(b"a").is_err());
        store.set_restored();
        store.apply(1, vec![("b".into(), None)], 6, 0);
        assert_eq!((store.get(b"a").unwrap(), store.get(b"b").unwrap()), (Some(row), None));
        assert_eq!((store.position(1), store.position(0), store.dropped()), (Some(6), None, 0));
        assert_eq!((store.rows().len(), store.count()), (1, 1));
    }

    #[test]
    fn rows_come_in_pages_with_both_bounds() {
        let store = GlobalStore::new("g".into());
        let row = Row { value: (&b"v"[..]).into(), timestamp: 7 };
        store.apply(0, ["a", "b", "c", "d"].map(|key| (key.into(), Some(row.clone()))).into(), 5, 0);
        let limits = Limits { rows_max: 2, ..Limits::default() };
        let keys = |page: &Page| page.entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>();
        let first = store.page(Some(b"b"), None, None, limits);
        assert_eq!((keys(&first), first.next.as_deref()), (vec!["b".into(), "c".into()], Some(&b"c"[..])));
        let second = store.page(Some(b"b"), None, Some(b"c"), limits);
        assert_eq!((keys(&second), second.next), (vec![Bytes::from("d")], None));
        assert_eq!(keys(&store.page(None, Some(b"a"), None, limits)), ["a"]);
        assert!(store.page(Some(b"c"), Some(b"a"), None, limits).entries.is_empty());
        assert!(store.page(None, Some(b"a"), Some(b"a"), limits).entries.is_empty());
    }
}
