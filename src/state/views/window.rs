//! A store by key and window.

use super::{ValueAndTimestamp, collect, decode_row, encode_value, foreign};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::{Timestamp, Windowed},
    state::{Moments, Row, Segmented, Store, StoreKind, split_window_row, window_row},
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// A store by key and window start, typed (P-37). A window lives until the store's stream time is past its start by
/// the retention (P-41). Bounds of time are included, and are those of window starts.
///
/// Rows come in the order of window starts, and below them of key bytes.
pub struct WindowStore<'a, K, V> {
    store: &'a mut Store,
    keys: &'a Serde<K>,
    values: &'a Serde<V>,
    size_ms: i64,
    /// How a store whose windows are found by key makes its row ids; the others have the start first.
    by_key: Option<Segmented>,
}

impl<'a, K: 'static, V: 'static> WindowStore<'a, K, V> {
    /// A view of `store`.
    ///
    /// # Errors
    /// When `store` is no window store.
    pub fn new(store: &'a mut Store, keys: &'a Serde<K>, values: &'a Serde<V>) -> Result<Self> {
        match store.spec().kind {
            StoreKind::Window { size_ms, .. } => Ok(Self { store, keys, values, size_ms, by_key: None }),
            StoreKind::Segmented(kind @ Segmented { moments: Moments::Window { size_ms }, .. }) => {
                Ok(Self { store, keys, values, size_ms, by_key: Some(kind) })
            }
            _ => Err(Fault::stop(format!("store {} is no window store", store.spec().name))
                .hint("ask for it as the key-value store or session store that it is")),
        }
    }

    fn row(&self, key: &K, start: Timestamp) -> Result<Bytes> {
        let key = self.keys.to_bytes(key)?;
        Ok(match self.by_key {
            Some(kind) => kind.row(&key, start, start),
            None => window_row(start, &key),
        })
    }

    /// Sets the row of a key in the window that starts at `start`; `None` deletes it. False when the window has
    /// expired: it can't be read, though the write is logged.
    ///
    /// # Errors
    /// When key or value can't be written as bytes, or `start` is negative.
    pub fn put(&mut self, key: &K, value: Option<&V>, start: Timestamp, timestamp: Timestamp) -> Result<bool> {
        let (row, value) = (self.row(key, start)?, encode_value(self.values, value)?);
        self.store.put(row, value, timestamp)
    }

    /// The row of a key in the window that starts at `start`.
    ///
    /// # Errors
    /// When the key can't be written as bytes, the stored value is of another type, or the disk fails.
    pub fn fetch(&mut self, key: &K, start: Timestamp) -> Result<Option<ValueAndTimestamp<V>>> {
        let row = self.store.get(&self.row(key, start)?)?;
        row.map(|row| decode_row(&self.store.spec().name, self.values, &row)).transpose()
    }

    /// The rows of a key in windows that start from `from` to `to`, both included, with their window starts.
    ///
    /// In a store of tumbling or hopping windows those of other keys lie in between; they are passed over with two
    /// look-ups for each window start.
    ///
    /// # Errors
    /// As [`WindowStore::fetch`].
    pub fn fetch_range(
        &mut self,
        key: &K,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, ValueAndTimestamp<V>)>> {
        let key = self.keys.to_bytes(key)?;
        let mut out = Vec::new();
        if let Some(kind) = self.by_key {
            let mut rows: Vec<(Timestamp, Row)> = Vec::new();
            self.store.scan_key(&key, from, to, false, &mut |id, row| {
                rows.extend(kind.split(id).map(|(_, start, _)| (start, row)));
                ControlFlow::Continue(())
            })?;
            let name = &self.store.spec().name;
            return rows.iter().map(|(start, row)| Ok((*start, decode_row(name, self.values, row)?))).collect();
        }
        let mut next = from.max(0);
        while next <= to {
            // The first row at or after the key in this window: the row itself, or a sign of where to look next.
            let mut found: Option<(Timestamp, bool, Row)> = None;
            let end = end_of(to);
            self.store.scan(&window_row(next, &key), end.as_deref(), false, &mut |id, row| {
                found = split_window_row(id).map(|(start, other)| (start, other == key, row));
                ControlFlow::Break(())
            })?;
            match found {
                None => break,
                Some((start, true, row)) => {
                    out.push((start, decode_row(&self.store.spec().name, self.values, &row)?));
                    next = start.saturating_add(1);
                }
                Some((start, false, _)) if start > next => next = start,
                Some((start, false, _)) => next = start.saturating_add(1),
            }
            if next == Timestamp::MAX {
                break;
            }
        }
        Ok(out)
    }

    /// The rows of all keys in windows that start from `from` to `to`, both included. The rows are read into memory:
    /// choose bounds accordingly.
    ///
    /// # Errors
    /// As [`WindowStore::fetch`].
    pub fn fetch_all(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<(Windowed<K>, ValueAndTimestamp<V>)>> {
        let name = self.store.spec().name.clone();
        let (keys, values, size_ms) = (self.keys, self.values, self.size_ms);
        if to < from.max(0) {
            return Ok(Vec::new());
        }
        if let Some(kind) = self.by_key {
            let mut ids: Vec<Bytes> = Vec::new();
            self.store.scan(b"", None, false, &mut |id, _| {
                let start = kind.split(id).map(|(_, start, _)| start);
                if start.is_some_and(|start| (from..=to).contains(&start)) {
                    ids.push(Bytes::copy_from_slice(id));
                }
                ControlFlow::Continue(())
            })?;
            ids.sort_by_cached_key(|id| kind.split(id).map(|(key, start, _)| (start, key.to_vec())));
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                // A segment that is kept may hold windows that have expired.
                let Some((row, (key, start, end))) = self.store.get(&id)?.zip(kind.split(&id)) else { continue };
                let key = keys.decode(key).map_err(|fault| foreign(&name, fault))?;
                found.push((Windowed::new(key, start, end), decode_row(&name, values, &row)?));
            }
            return Ok(found);
        }
        collect(self.store, &window_row(from.max(0), b""), end_of(to).as_deref(), false, |id, row| {
            let (start, key) = split_window_row(id)
                .ok_or_else(|| foreign(&name, crate::codec::malformed("a window row id without a window start")))?;
            let key = keys.decode(key).map_err(|fault| foreign(&name, fault))?;
            let windowed = Windowed::new(key, start, start.saturating_add(size_ms));
            Ok(Some((windowed, decode_row(&name, values, row)?)))
        })
    }

    /// Every live row.
    ///
    /// # Errors
    /// As [`WindowStore::fetch`].
    pub fn all(&mut self) -> Result<Vec<(Windowed<K>, ValueAndTimestamp<V>)>> {
        self.fetch_all(0, Timestamp::MAX)
    }
}

/// The first row id after all windows that start at `last` or before.
fn end_of(last: Timestamp) -> Option<Bytes> {
    Some(window_row(last.checked_add(1)?, b""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, state::tests::store};

    const WINDOW: StoreKind = StoreKind::Window { size_ms: 10, retention_ms: 100 };

    /// Runs a test on both kinds of window stores.
    fn with_view(test: impl Fn(&mut WindowStore<'_, String, i64>)) {
        let by_key = StoreKind::Segmented(Segmented::new(Moments::Window { size_ms: 10 }, 100, 10));
        for kind in [WINDOW, by_key] {
            let (mut store, keys, values) = (store(kind), serdes::string(), serdes::i64());
            test(&mut WindowStore::new(&mut store, &keys, &values).unwrap());
        }
    }

    #[test]
    fn p37_time_bounds_are_included_and_are_window_starts() {
        with_view(|view| {
            for (start, key) in [(0, "a"), (0, "c"), (10, "a"), (15, "b"), (20, "a"), (30, "b")] {
                assert!(view.put(&key.to_owned(), Some(&start), start, start).unwrap());
            }
            let starts = |rows: Vec<(i64, _)>| rows.into_iter().map(|(start, _)| start).collect::<Vec<_>>();
            assert_eq!(starts(view.fetch_range(&"a".to_owned(), 10, 20).unwrap()), [10, 20]);
            assert_eq!(starts(view.fetch_range(&"a".to_owned(), -5, i64::MAX).unwrap()), [0, 10, 20]);
            assert_eq!(starts(view.fetch_range(&"b".to_owned(), 0, 29).unwrap()), [15]);
            assert_eq!(starts(view.fetch_range(&"d".to_owned(), 0, 29).unwrap()), [0; 0]);
            let all = view.fetch_all(0, 10).unwrap();
            assert_eq!(
                all.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>(),
                ["[a@0/10]", "[c@0/10]", "[a@10/20]"]
            );
            assert_eq!(view.all().unwrap().len(), 6);
            assert_eq!(view.fetch(&"b".to_owned(), 15).unwrap(), Some(ValueAndTimestamp::new(15, 15)));
        });
    }

    #[test]
    fn p41_an_expired_window_is_not_written_and_not_read() {
        with_view(|view| {
            let key = "a".to_owned();
            view.put(&key, Some(&1), 0, 0).unwrap();
            view.put(&key, Some(&1), 100, 100).unwrap();
            assert!(!view.put(&key, Some(&2), 0, 100).unwrap());
            assert_eq!(view.fetch(&key, 0).unwrap(), None);
            assert_eq!(view.all().unwrap().len(), 1);
        });
    }

    #[test]
    fn a_view_of_the_wrong_kind_is_refused() {
        let (mut store, keys, values) = (store(StoreKind::KeyValue), serdes::string(), serdes::i64());
        assert!(WindowStore::new(&mut store, &keys, &values).is_err());
    }
}
