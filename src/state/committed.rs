//! What others than the task itself see of a store: committed rows and nothing else.

use super::{
    Store, StoreKind,
    flaw::Flaw,
    keys::{LIVE, split_version_row, split_window_row},
    overlay::Overlay,
};
use crate::record::Timestamp;
use bytes::Bytes;

/// What a commit made of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Key bytes without window.
    pub key: Bytes,
    /// Start and end of the window or session.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Value bytes; `None` when the row is gone.
    pub value: Option<Bytes>,
    /// Event time in milliseconds.
    pub timestamp: Timestamp,
}

impl Change {
    /// About what it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

impl Store {
    /// Reads the store as of the last committed transaction: as if it had no overlays, and with the stream time of that
    /// commit, so that rows expire by it (I8). The overlays are set aside for the time of the read, which costs two
    /// moves and is the same whatever they hold; what reads in here is the same code as in the middle of a record.
    ///
    /// ```
    /// # use millstream::state::{MemoryBackend, Store, StoreKind, StoreSpec};
    /// # let spec = StoreSpec { name: "s".into(), kind: StoreKind::KeyValue, timestamped: true, logged: false,
    /// #     changelog_config: Default::default(), cached: false, persistent: false };
    /// # let mut store = Store::new(spec, std::sync::Arc::new(MemoryBackend::new()), None, true);
    /// store.put("k".into(), Some("v".into()), 1).unwrap();
    /// assert!(store.get(b"k").unwrap().is_some());
    /// assert!(store.committed_view(|store| store.get(b"k")).unwrap().is_none());
    /// ```
    pub fn committed_view<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        if self.flaw == Flaw::QueriesSeeOverlay {
            return read(self);
        }
        let open = std::mem::replace(&mut self.open, Overlay::new(false));
        let frozen = self.frozen.take();
        let stream_time = std::mem::replace(&mut self.stream_time, self.committed_stream_time);
        let answer = read(self);
        // A place in the overlay that was set aside is none in the one that comes back.
        self.last = None;
        debug_assert!(self.open.is_empty(), "store {}: a query wrote", self.spec.name);
        (self.open, self.frozen, self.stream_time) = (open, frozen, stream_time);
        answer
    }

    /// Visits what the transaction whose commit is under way changed: the last version of each row, in the order of first
    /// writes. Rows that are no results, such as those of an index, are left out.
    pub fn committing(&self, visit: &mut dyn FnMut(Change)) {
        let Some(frozen) = &self.frozen else { return };
        for (id, version) in frozen.written() {
            let value = || version.value.as_deref().map(Bytes::copy_from_slice);
            let found = match self.spec.kind {
                StoreKind::KeyValue | StoreKind::Lru { .. } | StoreKind::Buffer => Some((&id[..], None, value())),
                StoreKind::Window { size_ms, .. } => split_window_row(id)
                    .map(|(start, key)| (key, Some((start, start.saturating_add(size_ms))), value())),
                StoreKind::Segmented(kind) => {
                    kind.split(id).map(|(key, start, end)| (key, Some((start, end)), value()))
                }
                // A version that is only forgotten is no change; nor is one that came too late.
                StoreKind::Versioned { .. } => match (split_version_row(id), value()) {
                    (Some((key, _, false)), Some(value)) => {
                        Some((key, None, (value.first() == Some(&LIVE)).then(|| value.slice(1..))))
                    }
                    _ => None,
                },
            };
            if let Some((key, window, value)) = found {
                let key = Bytes::copy_from_slice(key);
                visit(Change { key, window, value, timestamp: version.timestamp });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::Headers,
        state::{
            StoreKind,
            tests::{Log, store},
            window_row,
        },
    };
    use bytes::Bytes;

    fn put(store: &mut Store, row: Bytes, value: &'static str, at: i64) {
        store.put(row, Some(value.into()), at).unwrap();
    }

    fn seen(store: &mut Store, row: &[u8]) -> Option<String> {
        let row = store.committed_view(|store| store.get(row)).unwrap()?;
        Some(String::from_utf8(row.value.to_vec()).unwrap())
    }

    fn seen_rows(store: &mut Store) -> usize {
        let mut rows = 0;
        store
            .committed_view(|store| {
                store.scan(b"", None, false, &mut |_, _| {
                    rows += 1;
                    std::ops::ControlFlow::Continue(())
                })
            })
            .unwrap();
        rows
    }

    /// Every step of a transaction that commits, and of one that does not.
    fn steps(flaw: Flaw) -> Vec<(Option<String>, usize)> {
        let mut store = store(StoreKind::KeyValue);
        store.plant(flaw);
        let mut found = Vec::new();
        for (value, commits) in [("1", true), ("2", false), ("3", true)] {
            put(&mut store, "k".into(), value, 1);
            store.put_cached(value.into(), Some("held back".into()), 1, Headers::none(), None).unwrap();
            found.push((seen(&mut store, b"k"), seen_rows(&mut store)));
            store.take_pending();
            store.drain(&mut Log::default());
            put(&mut store, "of the next transaction".into(), value, 1);
            found.push((seen(&mut store, b"k"), seen_rows(&mut store)));
            if commits {
                store.committed(1);
            } else {
                store.discard();
            }
            found.push((seen(&mut store, b"k"), seen_rows(&mut store)));
            store.discard();
        }
        found
    }

    #[test]
    fn a_query_never_sees_a_row_whose_transaction_is_open() {
        let one = || Some("1".to_owned());
        let before = [(None, 0), (None, 0), (one(), 2)];
        let aborted = [(one(), 2), (one(), 2), (one(), 2)];
        let again = [(one(), 2), (one(), 2), (Some("3".to_owned()), 3)];
        assert_eq!(steps(Flaw::None), [before, aborted, again].concat());
    }

    #[test]
    fn the_same_steps_see_a_query_that_reads_the_overlay() {
        assert_ne!(steps(Flaw::QueriesSeeOverlay), steps(Flaw::None));
    }

    #[test]
    fn a_query_leaves_the_open_transaction_as_it_is() {
        let mut store = store(StoreKind::KeyValue);
        put(&mut store, "k".into(), "1", 1);
        assert!(store.get(b"k").unwrap().is_some());
        assert_eq!(seen(&mut store, b"k"), None);
        put(&mut store, "k".into(), "2", 2);
        let mut log = Log::default();
        store.drain(&mut log);
        store.committed(1);
        assert_eq!((log.0.len(), log.0[0].1.as_deref()), (1, Some(&b"2"[..])));
        assert_eq!(seen(&mut store, b"k").as_deref(), Some("2"));
    }

    #[test]
    fn what_a_commit_changes_is_told_once_and_not_before_the_drain() {
        let told = |store: &Store| {
            let mut told = Vec::new();
            store.committing(&mut |change| told.push((change.key, change.window, change.value)));
            told
        };
        let mut store = store(StoreKind::Window { size_ms: 10, retention_ms: 30 });
        put(&mut store, window_row(0, b"k"), "1", 0);
        put(&mut store, window_row(0, b"k"), "2", 0);
        store.put(window_row(10, b"l"), None, 0).unwrap();
        assert!(told(&store).is_empty());
        store.drain(&mut Log::default());
        put(&mut store, window_row(20, b"of the next"), "3", 0);
        let expected = [("k".into(), Some((0, 10)), Some("2".into())), ("l".into(), Some((10, 20)), None)];
        assert_eq!(told(&store), expected);
        store.committed(1);
        assert!(told(&store).is_empty());
    }

    #[test]
    fn versions_are_told_without_those_that_are_forgotten_or_too_late() {
        let mut store = store(StoreKind::Versioned { history_ms: 10 });
        for (value, at) in [(Some("1"), 10), (Some("2"), 20), (None, 40), (Some("late"), 5)] {
            store.put_version(b"k", value.map(Into::into), at).unwrap();
        }
        store.drain(&mut Log::default());
        let mut told = Vec::new();
        store.committing(&mut |change| told.push((change.timestamp, change.value)));
        assert_eq!(told.last(), Some(&(40, None)));
        assert!(told.iter().all(|(at, _)| *at != 5), "{told:?}");
    }

    #[test]
    fn i8_rows_expire_for_queries_by_the_committed_stream_time() {
        let mut store = store(StoreKind::Window { size_ms: 10, retention_ms: 30 });
        put(&mut store, window_row(0, b"k"), "1", 0);
        store.drain(&mut Log::default());
        store.committed(1);
        put(&mut store, window_row(100, b"k"), "2", 100);
        assert!(store.get(&window_row(0, b"k")).unwrap().is_none());
        assert_eq!(seen(&mut store, &window_row(0, b"k")).as_deref(), Some("1"));
        store.drain(&mut Log::default());
        store.committed(2);
        assert_eq!(seen(&mut store, &window_row(0, b"k")), None);
    }
}
