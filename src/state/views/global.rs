//! A global store: what processors read, and what its topic's records write.

use super::{ValueAndTimestamp, above, decode_row, foreign};
use crate::{
    codec::Serde,
    fault::Result,
    record::Timestamp,
    state::{GlobalStore, Row},
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A global store as every processor may read it (P-2). Rows change whenever the topic's reader has news: two reads of one
/// record may differ.
pub struct ReadOnlyKeyValueStore<'a, K, V> {
    store: &'a GlobalStore,
    keys: &'a Serde<K>,
    values: &'a Serde<V>,
}

impl<'a, K: 'static, V: 'static> ReadOnlyKeyValueStore<'a, K, V> {
    /// A view of `store`.
    pub fn new(store: &'a GlobalStore, keys: &'a Serde<K>, values: &'a Serde<V>) -> Self {
        Self { store, keys, values }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the key can't be written as bytes, or the stored value is of another type.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        Ok(self.get_with_timestamp(key)?.map(|row| row.value))
    }

    /// The value of a key, and the time of its last update.
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::get`].
    pub fn get_with_timestamp(&self, key: &K) -> Result<Option<ValueAndTimestamp<V>>> {
        let row = self.store.get(&self.keys.to_bytes(key)?)?;
        row.map(|row| decode_row(self.store.name(), self.values, &row)).transpose()
    }

    /// Rows from `from` to `to`, both included, in ascending order of their keys' bytes; an absent bound is open.
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::get`].
    pub fn range(&self, from: Option<&K>, to: Option<&K>) -> Result<Vec<(K, V)>> {
        let from = from.map(|key| self.keys.to_bytes(key)).transpose()?.unwrap_or_default();
        let to = to.map(|key| self.keys.to_bytes(key)).transpose()?.map(|to| above(&to));
        let name = self.store.name();
        let typed = |(id, row): (Bytes, Row)| {
            let key = self.keys.decode(&id).map_err(|fault| foreign(name, fault))?;
            Ok((key, decode_row(name, self.values, &row)?.value))
        };
        self.store.range(&from, to.as_deref())?.into_iter().map(typed).collect()
    }

    /// Every row in ascending order of their keys' bytes.
    ///
    /// # Errors
    /// As [`ReadOnlyKeyValueStore::get`].
    pub fn all(&self) -> Result<Vec<(K, V)>> {
        self.range(None, None)
    }

    /// Number of rows.
    pub fn approximate_num_entries(&self) -> u64 {
        self.store.count() as u64
    }
}

/// Rows that records of a global store's topic write, on top of those that are there.
pub(crate) struct Written<'a> {
    pub store: &'a GlobalStore,
    pub rows: BTreeMap<Bytes, Option<Row>>,
}

/// What a global store's update may do with its rows (P-2): all of them, of whatever partition the record comes.
pub struct GlobalUpdates<'a, 'w, K, V> {
    written: &'a mut Written<'w>,
    keys: &'a Serde<K>,
    values: &'a Serde<V>,
    timestamp: Timestamp,
}

impl<'a, 'w, K: 'static, V: 'static> GlobalUpdates<'a, 'w, K, V> {
    pub(crate) fn new(
        written: &'a mut Written<'w>,
        keys: &'a Serde<K>,
        values: &'a Serde<V>,
        timestamp: Timestamp,
    ) -> Self {
        Self { written, keys, values, timestamp }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the key can't be written as bytes, or the stored value is of another type.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        let id = self.keys.to_bytes(key)?;
        let row = match self.written.rows.get(&id) {
            Some(row) => row.clone(),
            None => self.written.store.peek(&id),
        };
        row.map(|row| Ok(decode_row(self.written.store.name(), self.values, &row)?.value)).transpose()
    }

    /// Sets the value of a key, as of the record's time.
    ///
    /// # Errors
    /// When key or value can't be written as bytes.
    pub fn put(&mut self, key: &K, value: &V) -> Result<()> {
        let value = self.values.to_bytes(value)?;
        let row = Row { value: (&value[..]).into(), timestamp: self.timestamp };
        self.written.rows.insert(self.keys.to_bytes(key)?, Some(row));
        Ok(())
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// When the key can't be written as bytes.
    pub fn delete(&mut self, key: &K) -> Result<()> {
        self.written.rows.insert(self.keys.to_bytes(key)?, None);
        Ok(())
    }
}
