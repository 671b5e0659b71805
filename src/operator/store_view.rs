//! A key-value store as a processor sees it.

use crate::{
    codec::Serde,
    fault::Result,
    record::Timestamp,
    state::{Row, Store},
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// The rows of a key-value store, in order of key bytes. A write has the timestamp of the record in hand, or of the
/// punctuation.
pub struct KeyValueStore<'a, K, V> {
    store: &'a mut Store,
    key: &'a Serde<K>,
    value: &'a Serde<V>,
    timestamp: Timestamp,
}

impl<'a, K: 'static, V: 'static> KeyValueStore<'a, K, V> {
    pub(crate) fn new(store: &'a mut Store, key: &'a Serde<K>, value: &'a Serde<V>, timestamp: Timestamp) -> Self {
        Self { store, key, value, timestamp }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the medium fails, or the bytes are no such value.
    pub fn get(&mut self, key: &K) -> Result<Option<V>> {
        Ok(self.get_with_timestamp(key)?.map(|(value, _)| value))
    }

    /// The value of a key, and the time of its last update.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn get_with_timestamp(&mut self, key: &K) -> Result<Option<(V, Timestamp)>> {
        let row = self.key.to_bytes(key)?;
        let found = self.store.get(&row)?;
        found.map(|row| Ok((self.value.decode(&row.value)?, row.timestamp))).transpose()
    }

    /// Writes the value of a key.
    ///
    /// # Errors
    /// When the medium fails, or the serde can't express key or value.
    pub fn put(&mut self, key: &K, value: &V) -> Result<()> {
        let (row, value) = (self.key.to_bytes(key)?, self.value.to_bytes(value)?);
        self.store.put(row, Some(value), self.timestamp).map(drop)
    }

    /// Writes the value of a key that has none, and returns the one that it has.
    ///
    /// # Errors
    /// As [`KeyValueStore::put`].
    pub fn put_if_absent(&mut self, key: &K, value: &V) -> Result<Option<V>> {
        let found = self.get(key)?;
        if found.is_none() {
            self.put(key, value)?;
        }
        Ok(found)
    }

    /// Deletes a key and returns its value.
    ///
    /// # Errors
    /// As [`KeyValueStore::put`].
    pub fn delete(&mut self, key: &K) -> Result<Option<V>> {
        let found = self.get(key)?;
        if found.is_some() {
            let row = self.key.to_bytes(key)?;
            self.store.put(row, None, self.timestamp)?;
        }
        Ok(found)
    }

    /// All rows.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn all(&mut self) -> Result<Vec<(K, V)>> {
        self.scan(&[], None)
    }

    /// The rows from `from` to `to`, both included.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn range(&mut self, from: &K, to: &K) -> Result<Vec<(K, V)>> {
        let from = self.key.to_bytes(from)?;
        // The least id that is greater than `to`.
        let mut past = Vec::new();
        self.key.encode(to, &mut past)?;
        past.push(0);
        self.scan(&from, Some(&past))
    }

    fn scan(&mut self, from: &[u8], to: Option<&[u8]>) -> Result<Vec<(K, V)>> {
        let mut rows: Vec<(Bytes, Row)> = Vec::new();
        self.store.scan(from, to, false, &mut |id, row| {
            rows.push((Bytes::copy_from_slice(id), row));
            ControlFlow::Continue(())
        })?;
        rows.into_iter().map(|(id, row)| Ok((self.key.decode(&id)?, self.value.decode(&row.value)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, operator::testkit::Kit};

    #[test]
    fn rows_are_read_and_written_in_key_order() {
        let (mut kit, key, value) = (Kit::key_value(), serdes::string(), serdes::i64());
        let mut store = KeyValueStore::new(&mut kit.store, &key, &value, 7);
        let name = str::to_owned;
        for (n, k) in ["c", "a", "b", "ba"].into_iter().enumerate() {
            store.put(&name(k), &(n as i64)).unwrap();
        }
        assert_eq!(store.put_if_absent(&name("a"), &9).unwrap(), Some(1));
        assert_eq!(store.delete(&name("c")).unwrap(), Some(0));
        assert_eq!(store.get(&name("c")).unwrap(), None);
        assert_eq!(store.get_with_timestamp(&name("a")).unwrap(), Some((1, 7)));
        assert_eq!(store.all().unwrap(), [(name("a"), 1), (name("b"), 2), (name("ba"), 3)]);
        assert_eq!(store.range(&name("a"), &name("b")).unwrap(), [(name("a"), 1), (name("b"), 2)]);
    }
}
