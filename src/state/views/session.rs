//! A store by key and session.

use super::{encode_value, foreign};
use crate::{
    codec::{Serde, malformed},
    fault::{Fault, Result},
    record::{Timestamp, Windowed},
    state::{Moments, Row, Segmented, Store, StoreKind},
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// A store by key and session, typed (P-38). A session is a key with a start and an end, both included; it lives until
/// the store's stream time, the greatest end that was put, is past its end by the retention (P-41).
///
/// Sessions of one key come in the order of their ends, then starts. Changelog records have the time of the record in
/// hand.
pub struct SessionStore<'a, K, V> {
    store: &'a mut Store,
    kind: Segmented,
    keys: &'a Serde<K>,
    values: &'a Serde<V>,
    timestamp: Timestamp,
}

impl<'a, K: 'static, V: 'static> SessionStore<'a, K, V> {
    /// A view of `store` whose writes have the time `timestamp`.
    ///
    /// # Errors
    /// When `store` is no session store.
    pub fn new(store: &'a mut Store, keys: &'a Serde<K>, values: &'a Serde<V>, timestamp: Timestamp) -> Result<Self> {
        match store.spec().kind {
            StoreKind::Segmented(kind) if kind.moments == Moments::Session => {
                Ok(Self { store, kind, keys, values, timestamp })
            }
            _ => Err(Fault::stop(format!("store {} is no session store", store.spec().name))
                .hint("ask for it as what it was added as")),
        }
    }

    fn row(&self, session: &Windowed<K>) -> Result<Bytes> {
        if session.start < 0 || session.end < session.start {
            let (start, end) = (session.start, session.end);
            return Err(Fault::stop(format!("a session can't reach from {start} to {end}"))
                .at(format!("store {}", self.store.spec().name)));
        }
        Ok(self.kind.row(&self.keys.to_bytes(&session.key)?, session.start, session.end))
    }

    /// Sets the aggregate of a session; `None` removes it. False when the session has expired: it can't be read, though
    /// the write is logged.
    ///
    /// # Errors
    /// When key or value can't be written as bytes, the session begins before 1970 or ends before it begins.
    pub fn put(&mut self, session: &Windowed<K>, value: Option<&V>) -> Result<bool> {
        let (row, value) = (self.row(session)?, encode_value(self.values, value)?);
        self.store.put(row, value, self.timestamp)
    }

    /// Removes a session.
    ///
    /// # Errors
    /// As [`SessionStore::put`].
    pub fn remove(&mut self, session: &Windowed<K>) -> Result<()> {
        self.put(session, None).map(drop)
    }

    /// The aggregate of the session of a key from `start` to `end`.
    ///
    /// # Errors
    /// When the key can't be written as bytes, the stored value is of another type, or the disk fails.
    pub fn fetch_session(&mut self, key: &K, start: Timestamp, end: Timestamp) -> Result<Option<V>> {
        let row = self.store.get(&self.kind.row(&self.keys.to_bytes(key)?, start, end))?;
        row.map(|row| self.value(&row)).transpose()
    }

    /// The sessions of a key that end at `earliest_end` or later and start at `latest_start` or earlier.
    ///
    /// # Errors
    /// As [`SessionStore::fetch_session`].
    pub fn find_sessions(
        &mut self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.sessions(key, earliest_end, latest_start, false)
    }

    /// As [`SessionStore::find_sessions`] in descending order.
    ///
    /// # Errors
    /// As [`SessionStore::fetch_session`].
    pub fn backward_find_sessions(
        &mut self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.sessions(key, earliest_end, latest_start, true)
    }

    /// Every session of a key.
    ///
    /// # Errors
    /// As [`SessionStore::fetch_session`].
    pub fn fetch(&mut self, key: &K) -> Result<Vec<(Windowed<K>, V)>> {
        self.sessions(key, 0, Timestamp::MAX, false)
    }

    /// Every session of every key, in the order of key bytes, ends and starts. The rows are read into memory.
    ///
    /// # Errors
    /// As [`SessionStore::fetch_session`].
    pub fn all(&mut self) -> Result<Vec<(Windowed<K>, V)>> {
        let mut ids: Vec<Bytes> = Vec::new();
        self.store.scan(b"", None, false, &mut |id, _| {
            ids.push(Bytes::copy_from_slice(id));
            ControlFlow::Continue(())
        })?;
        ids.retain(|id| self.kind.split(id).is_some());
        ids.sort_by_cached_key(|id| self.kind.split(id).map(|(key, start, end)| (key.to_vec(), end, start)));
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            // A segment that is kept may hold sessions that have expired.
            if let Some(row) = self.store.get(&id)? {
                found.push((self.session(&id)?, self.value(&row)?));
            }
        }
        Ok(found)
    }

    fn sessions(
        &mut self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
        reverse: bool,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        let key = self.keys.to_bytes(key)?;
        let (kind, mut rows) = (self.kind, Vec::new());
        self.store.scan_key(&key, earliest_end, Timestamp::MAX, reverse, &mut |id, row| {
            if kind.split(id).is_some_and(|(_, start, _)| start <= latest_start) {
                rows.push((Bytes::copy_from_slice(id), row));
            }
            ControlFlow::Continue(())
        })?;
        rows.iter().map(|(id, row)| Ok((self.session(id)?, self.value(row)?))).collect()
    }

    fn session(&self, id: &[u8]) -> Result<Windowed<K>> {
        let name = &self.store.spec().name;
        let (key, start, end) =
            self.kind.split(id).ok_or_else(|| foreign(name, malformed("a row id without a session")))?;
        let key = self.keys.decode(key).map_err(|fault| foreign(name, fault))?;
        Ok(Windowed::new(key, start, end))
    }

    fn value(&self, row: &Row) -> Result<V> {
        self.values.decode(&row.value).map_err(|fault| foreign(&self.store.spec().name, fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, state::tests::store};

    fn with_view(test: impl FnOnce(&mut SessionStore<'_, String, i64>)) {
        let kind = StoreKind::Segmented(Segmented::new(Moments::Session, 100, 10));
        let (mut store, keys, values) = (store(kind), serdes::string(), serdes::i64());
        test(&mut SessionStore::new(&mut store, &keys, &values, 7).unwrap());
    }

    fn shown(sessions: Vec<(Windowed<String>, i64)>) -> Vec<String> {
        sessions.into_iter().map(|(session, value)| format!("{session}={value}")).collect()
    }

    #[test]
    fn p38_sessions_are_found_by_their_ends_and_starts() {
        with_view(|view| {
            for (key, start, end) in [("a", 0, 5), ("a", 10, 30), ("aa", 10, 30), ("a", 40, 40), ("b", 0, 99)] {
                assert!(view.put(&Windowed::new(key.to_owned(), start, end), Some(&start)).unwrap());
            }
            let a = "a".to_owned();
            assert_eq!(shown(view.find_sessions(&a, 6, 39).unwrap()), ["[a@10/30]=10"]);
            assert_eq!(shown(view.find_sessions(&a, 5, 10).unwrap()), ["[a@0/5]=0", "[a@10/30]=10"]);
            assert_eq!(shown(view.backward_find_sessions(&a, 6, 50).unwrap()), ["[a@40/40]=40", "[a@10/30]=10"]);
            assert_eq!(view.fetch(&a).unwrap().len(), 3);
            assert_eq!(view.fetch_session(&a, 10, 30).unwrap(), Some(10));
            assert_eq!(view.fetch_session(&a, 10, 31).unwrap(), None);
            let all = shown(view.all().unwrap());
            assert_eq!(all, ["[a@0/5]=0", "[a@10/30]=10", "[a@40/40]=40", "[aa@10/30]=10", "[b@0/99]=0"]);
            view.remove(&Windowed::new(a.clone(), 10, 30)).unwrap();
            assert_eq!(view.fetch(&a).unwrap().len(), 2);
        });
    }

    #[test]
    fn p41_an_expired_session_is_not_read() {
        with_view(|view| {
            let key = "a".to_owned();
            view.put(&Windowed::new(key.clone(), 0, 20), Some(&1)).unwrap();
            view.put(&Windowed::new(key.clone(), 119, 119), Some(&1)).unwrap();
            assert_eq!(view.fetch(&key).unwrap().len(), 2);
            view.put(&Windowed::new(key.clone(), 120, 120), Some(&1)).unwrap();
            assert_eq!((view.fetch(&key).unwrap().len(), view.all().unwrap().len()), (2, 2));
            assert!(!view.put(&Windowed::new(key.clone(), 0, 20), Some(&2)).unwrap());
            assert_eq!(view.fetch_session(&key, 0, 20).unwrap(), None);
        });
    }

    #[test]
    fn a_session_that_makes_no_sense_is_refused() {
        with_view(|view| {
            for (start, end) in [(-1, 5), (6, 5)] {
                assert!(view.put(&Windowed::new("a".to_owned(), start, end), Some(&1)).is_err());
            }
        });
        let (mut store, keys, values) = (store(StoreKind::KeyValue), serdes::string(), serdes::i64());
        assert!(SessionStore::new(&mut store, &keys, &values, 0).is_err());
    }
}
