//! Which rows of a store were used last, for stores that forget the others (P-30).
//!
//! The order of use lives in memory, beside the rows. An abort takes it back to the last commit. A restore makes it of the
//! changelog, which has the rows in the order of their last writes; what was only read since is not known there.

use super::{Store, row::Version};
use crate::record::Timestamp;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Former places of rows in the order of use; `None` where there was no row.
type Undo = BTreeMap<Bytes, Option<u64>>;

/// Rows by their last use.
pub(super) struct Recency {
    entries_max: usize,
    ticks: BTreeMap<Bytes, u64>,
    order: BTreeMap<u64, Bytes>,
    next: u64,
    /// What the open transaction changed, and the one whose commit is under way.
    open: Undo,
    frozen: Undo,
}

impl Recency {
    pub fn new(entries_max: usize) -> Self {
        let (ticks, order) = (BTreeMap::new(), BTreeMap::new());
        Self { entries_max, ticks, order, next: 0, open: Undo::new(), frozen: Undo::new() }
    }

    /// The place of a row in the order of use, for one that is there.
    pub fn tick(&self, row: &[u8]) -> Option<u64> {
        self.ticks.get(row).copied()
    }

    /// Sets the place of a row and returns the former one.
    fn set(&mut self, row: Bytes, tick: Option<u64>) -> Option<u64> {
        let former = match tick {
            Some(tick) => {
                self.order.insert(tick, row.clone());
                self.ticks.insert(row, tick)
            }
            None => self.ticks.remove(&row),
        };
        former.filter(|former| tick != Some(*former)).map(|former| self.order.remove(&former));
        former
    }

    fn newest(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn change(&mut self, row: Bytes, tick: Option<u64>) {
        let former = self.set(row.clone(), tick);
        self.open.entry(row).or_insert(former);
    }

    /// The row was read or written.
    fn touch(&mut self, row: Bytes) {
        let tick = self.newest();
        self.change(row, Some(tick));
    }

    /// Takes out the rows that a further one leaves no room for, the one used longest ago first.
    fn make_room(&mut self, row: &[u8]) -> Vec<Bytes> {
        let mut gone = Vec::new();
        while self.tick(row).is_none() && self.ticks.len() >= self.entries_max {
            let Some((_, eldest)) = self.order.first_key_value() else { break };
            let eldest = eldest.clone();
            self.change(eldest.clone(), None);
            gone.push(eldest);
        }
        gone
    }

    /// A changelog record was restored.
    pub fn restored(&mut self, row: Bytes, present: bool) {
        let tick = present.then(|| self.newest());
        self.set(row, tick);
    }

    /// The open transaction is on its way.
    pub fn freeze(&mut self) {
        self.frozen = std::mem::take(&mut self.open);
    }

    /// It is committed.
    pub fn settle(&mut self) {
        self.frozen.clear();
    }

    /// It is not, and the open one goes with it.
    pub fn undo(&mut self) {
        for undo in [std::mem::take(&mut self.open), std::mem::take(&mut self.frozen)] {
            for (row, tick) in undo {
                self.set(row, tick);
            }
        }
    }
}

impl Store {
    /// A row was read: where the store forgets rows, others go before it.
    pub(super) fn used(&mut self, row: Bytes) {
        if let Some(recency) = &mut self.recency {
            recency.touch(row);
        }
    }

    /// Makes room for a row that is about to be written; without a value it goes itself.
    pub(super) fn make_room(&mut self, row: &Bytes, present: bool, timestamp: Timestamp) {
        let Some(recency) = &mut self.recency else { return };
        if !present {
            recency.change(row.clone(), None);
            return;
        }
        let gone = recency.make_room(row);
        recency.touch(row.clone());
        for eldest in gone {
            self.write_open(eldest, Version { value: None, timestamp });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::serdes,
        record::Headers,
        state::{ChangelogSink, KeyValueStore, StoreKind, tests::store},
    };

    #[derive(Default)]
    struct Log(Vec<(Bytes, Option<Bytes>)>);

    impl ChangelogSink for Log {
        fn log(&mut self, key: Bytes, value: Option<Bytes>, _: Timestamp, _: Headers) {
            self.0.push((key, value));
        }
    }

    fn lru() -> Store {
        store(StoreKind::Lru { entries_max: 2 })
    }

    fn with<T>(store: &mut Store, run: impl FnOnce(&mut KeyValueStore<'_, String, String>) -> T) -> T {
        let text = serdes::string();
        run(&mut KeyValueStore::new(store, &text, &text, 5).unwrap())
    }

    fn put(store: &mut Store, keys: &str) {
        for key in keys.chars() {
            with(store, |view| view.put(&key.to_string(), &"v".to_owned()).unwrap());
        }
    }

    fn keys(store: &mut Store) -> String {
        with(store, |view| view.all().unwrap().into_iter().map(|(key, _)| key).collect())
    }

    /// `+` for a value, `-` for a deletion.
    fn commit(store: &mut Store) -> String {
        let mut log = Log::default();
        store.drain(&mut log);
        store.committed(0);
        let text = |(key, value): (Bytes, Option<Bytes>)| {
            format!("{}{}", if value.is_some() { '+' } else { '-' }, String::from_utf8_lossy(&key))
        };
        log.0.into_iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn p30_the_row_used_longest_ago_makes_room_and_its_deletion_is_logged() {
        let mut store = lru();
        put(&mut store, "ab");
        assert_eq!(commit(&mut store), "+a +b");
        assert!(with(&mut store, |view| view.get(&"a".to_owned()).unwrap()).is_some());
        put(&mut store, "c");
        assert_eq!((keys(&mut store), commit(&mut store)), ("ac".into(), "-b +c".into()), "a was read after b");
        // A scan is no use of a row, a read of a row that is not there neither.
        assert!(with(&mut store, |view| view.get(&"b".to_owned()).unwrap()).is_none());
        keys(&mut store);
        put(&mut store, "d");
        assert_eq!((keys(&mut store), commit(&mut store)), ("cd".into(), "-a +d".into()));
        with(&mut store, |view| view.delete(&"c".to_owned()).unwrap());
        put(&mut store, "e");
        assert_eq!((keys(&mut store), commit(&mut store)), ("de".into(), "-c +e".into()), "there was room");
    }

    #[test]
    fn p30_an_abort_takes_the_order_of_use_back() {
        let mut store = lru();
        put(&mut store, "ab");
        commit(&mut store);
        for twice in 0..2 {
            with(&mut store, |view| view.get(&"a".to_owned()).unwrap());
            if twice == 1 {
                // Under way, and then aborted too.
                store.drain(&mut Log::default());
            }
            put(&mut store, "cd");
            assert_eq!(keys(&mut store), "cd");
            store.discard();
            assert_eq!(keys(&mut store), "ab");
        }
        put(&mut store, "c");
        assert_eq!(keys(&mut store), "bc");
    }

    /// The log has rows in the order of their last writes, whatever the order of their first ones.
    #[test]
    fn p30_a_restore_knows_the_order_of_writes() {
        let mut store = lru();
        put(&mut store, "aba");
        assert_eq!(commit(&mut store), "+b +a");
        let mut restored = lru();
        let value = Bytes::from("v");
        for (key, present) in [("x", true), ("b", true), ("x", false), ("a", true)] {
            restored.restore(&key.into(), present.then_some(&value), 5).unwrap();
        }
        put(&mut restored, "c");
        assert_eq!((keys(&mut restored), commit(&mut restored)), ("ac".into(), "-b +c".into()));
    }
}
