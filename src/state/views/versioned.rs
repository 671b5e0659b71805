//! A store of versions by key.

use super::{encode_value, foreign, refused};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::Timestamp,
    state::{Store, StoreKind, VersionPut, VersionRow},
};

/// A version of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionedRecord<V> {
    /// The value.
    pub value: V,
    /// The time from which it holds, in milliseconds.
    pub timestamp: Timestamp,
    /// The time at which the next version begins; `None` for the newest. Kafka Streams tells it in queries only.
    pub valid_to: Option<Timestamp>,
}

/// A store of versions by key, typed (P-39): it answers what a key's value was at a time, as far back as its history
/// reaches. The newest version of a key never expires.
pub struct VersionedKeyValueStore<'a, K, V> {
    store: &'a mut Store,
    keys: &'a Serde<K>,
    values: &'a Serde<V>,
    read_only: bool,
}

impl<'a, K: 'static, V: 'static> VersionedKeyValueStore<'a, K, V> {
    /// A view of `store`.
    ///
    /// # Errors
    /// When `store` is no versioned store.
    pub fn new(store: &'a mut Store, keys: &'a Serde<K>, values: &'a Serde<V>) -> Result<Self> {
        match store.spec().kind {
            StoreKind::Versioned { .. } => Ok(Self { store, keys, values, read_only: false }),
            _ => Err(Fault::stop(format!("store {} is no versioned store", store.spec().name))
                .hint("ask for it as what it was added as")),
        }
    }

    /// The same, without writes.
    pub(crate) fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Writes the version that begins at `timestamp`; `None` deletes the key from then on.
    ///
    /// # Errors
    /// When key or value can't be written as bytes, the disk fails, or the store is filled by its topic alone.
    pub fn put(&mut self, key: &K, value: Option<&V>, timestamp: Timestamp) -> Result<VersionPut> {
        if self.read_only {
            return Err(refused(&self.store.spec().name));
        }
        let value = encode_value(self.values, value)?;
        self.store.put_version(&self.keys.to_bytes(key)?, value, timestamp)
    }

    /// Deletes a key from `timestamp` on, and returns what held until then.
    ///
    /// # Errors
    /// As [`VersionedKeyValueStore::put`].
    pub fn delete(&mut self, key: &K, timestamp: Timestamp) -> Result<Option<VersionedRecord<V>>> {
        let found = self.get_as_of(key, timestamp)?;
        self.put(key, None, timestamp)?;
        Ok(found)
    }

    /// The newest version of a key.
    ///
    /// # Errors
    /// When the key can't be written as bytes, the stored value is of another type, or the disk fails.
    pub fn get(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>> {
        let found = self.store.get_version(&self.keys.to_bytes(key)?, None)?;
        found.map(|row| self.typed(row)).transpose()
    }

    /// The version of a key that held at `as_of`; `None` when the history doesn't reach that far back.
    ///
    /// # Errors
    /// As [`VersionedKeyValueStore::get`].
    pub fn get_as_of(&mut self, key: &K, as_of: Timestamp) -> Result<Option<VersionedRecord<V>>> {
        let found = self.store.get_version(&self.keys.to_bytes(key)?, Some(as_of))?;
        found.map(|row| self.typed(row)).transpose()
    }

    /// The versions of a key that held at some time from `from` to `to`, both included, newest first.
    ///
    /// # Errors
    /// As [`VersionedKeyValueStore::get`].
    pub fn versions(&mut self, key: &K, from: Timestamp, to: Timestamp) -> Result<Vec<VersionedRecord<V>>> {
        let found = self.store.get_versions(&self.keys.to_bytes(key)?, from, to)?;
        found.into_iter().map(|row| self.typed(row)).collect()
    }

    fn typed(&self, row: VersionRow) -> Result<VersionedRecord<V>> {
        let VersionRow { value, timestamp, valid_to } = row;
        let value = self.values.decode(&value).map_err(|fault| foreign(&self.store.spec().name, fault))?;
        Ok(VersionedRecord { value, timestamp, valid_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, state::tests::store};

    #[test]
    fn p39_versions_are_typed() {
        let mut store = store(StoreKind::Versioned { history_ms: 100 });
        let (keys, values, key) = (serdes::string(), serdes::i64(), "a".to_owned());
        let mut view = VersionedKeyValueStore::new(&mut store, &keys, &values).unwrap();
        assert_eq!(view.put(&key, Some(&1), 5).unwrap(), VersionPut::Latest);
        assert_eq!(view.put(&key, Some(&2), 9).unwrap(), VersionPut::Latest);
        let first = VersionedRecord { value: 1, timestamp: 5, valid_to: Some(9) };
        assert_eq!(view.get_as_of(&key, 8).unwrap(), Some(first));
        assert_eq!(view.delete(&key, 12).unwrap().map(|v| v.value), Some(2));
        assert_eq!(view.get(&key).unwrap(), None);
        assert_eq!(view.versions(&key, 0, 20).unwrap().len(), 2);
    }

    #[test]
    fn a_view_of_the_wrong_kind_is_refused() {
        let (mut store, keys, values) = (store(StoreKind::KeyValue), serdes::string(), serdes::i64());
        assert!(VersionedKeyValueStore::new(&mut store, &keys, &values).is_err());
    }
}
