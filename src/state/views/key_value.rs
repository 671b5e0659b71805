//! A store by key.

use super::{ValueAndTimestamp, above, above_prefix, collect, decode_row, encode_value, foreign, refused};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::Timestamp,
    state::{Store, StoreKind},
};

/// A store by key, typed (P-36). A write has the timestamp of the record in hand, or of the punctuation. It is uncommitted
/// until the task's transaction commits, and reads see it.
///
/// Keys are ordered by their bytes, not by their type's own order: so it is in Kafka Streams. Negative numbers come
/// after positive ones. Ranges are read into memory: choose bounds accordingly.
pub struct KeyValueStore<'a, K, V> {
    store: &'a mut Store,
    keys: &'a Serde<K>,
    values: &'a Serde<V>,
    timestamp: Timestamp,
    read_only: bool,
}

impl<'a, K: 'static, V: 'static> KeyValueStore<'a, K, V> {
    /// A view of `store` whose writes have the time `timestamp`.
    ///
    /// # Errors
    /// When `store` is not by key.
    pub fn new(store: &'a mut Store, keys: &'a Serde<K>, values: &'a Serde<V>, timestamp: Timestamp) -> Result<Self> {
        match store.spec().kind {
            StoreKind::KeyValue | StoreKind::Lru { .. } => {
                Ok(Self { store, keys, values, timestamp, read_only: false })
            }
            _ => Err(Fault::stop(format!("store {} is no key-value store", store.spec().name))
                .hint("ask for it as what it was added as")),
        }
    }

    /// The same, without writes.
    pub(crate) fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the key can't be written as bytes, the stored value is of another type, or the disk fails.
    pub fn get(&mut self, key: &K) -> Result<Option<V>> {
        Ok(self.get_with_timestamp(key)?.map(|row| row.value))
    }

    /// The value of a key, and the time of its last update.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn get_with_timestamp(&mut self, key: &K) -> Result<Option<ValueAndTimestamp<V>>> {
        let id = self.keys.to_bytes(key)?;
        let row = self.store.get(&id)?;
        if row.is_some() {
            self.store.used(id);
        }
        row.map(|row| decode_row(&self.store.spec().name, self.values, &row)).transpose()
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// When key or value can't be written as bytes, the disk fails, or the store is filled by its topic alone.
    pub fn put(&mut self, key: &K, value: &V) -> Result<()> {
        self.put_at(key, Some(value), self.timestamp)
    }

    /// Sets the value of a key as of a time; `None` deletes it.
    ///
    /// # Errors
    /// As [`KeyValueStore::put`].
    pub fn put_at(&mut self, key: &K, value: Option<&V>, timestamp: Timestamp) -> Result<()> {
        if self.read_only {
            return Err(refused(&self.store.spec().name));
        }
        let value = encode_value(self.values, value)?;
        self.store.put(self.keys.to_bytes(key)?, value, timestamp).map(drop)
    }

    /// Sets the values of several keys.
    ///
    /// # Errors
    /// As [`KeyValueStore::put`]; the keys before the one that failed are set.
    pub fn put_all<'e>(&mut self, entries: impl IntoIterator<Item = (&'e K, &'e V)>) -> Result<()> {
        entries.into_iter().try_for_each(|(key, value)| self.put(key, value))
    }

    /// Sets the value of a key that has none; else leaves it, and returns what it has.
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

    /// Deletes a key and returns its value. A deletion is logged whether there was one or not, as in Kafka Streams.
    ///
    /// # Errors
    /// As [`KeyValueStore::put`].
    pub fn delete(&mut self, key: &K) -> Result<Option<V>> {
        let found = self.get(key)?;
        self.put_at(key, None, self.timestamp)?;
        Ok(found)
    }

    /// Rows from `from` to `to`, both included, in ascending order; an absent bound is open.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn range(&mut self, from: Option<&K>, to: Option<&K>) -> Result<Vec<(K, V)>> {
        self.between(from, to, false)
    }

    /// As [`KeyValueStore::range`] in descending order.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn reverse_range(&mut self, from: Option<&K>, to: Option<&K>) -> Result<Vec<(K, V)>> {
        self.between(from, to, true)
    }

    /// Every row in ascending order.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn all(&mut self) -> Result<Vec<(K, V)>> {
        self.between(None, None, false)
    }

    /// Every row in descending order.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn reverse_all(&mut self) -> Result<Vec<(K, V)>> {
        self.between(None, None, true)
    }

    /// Every row in ascending order, with the times of the last updates.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn all_with_timestamps(&mut self) -> Result<Vec<(K, ValueAndTimestamp<V>)>> {
        self.rows(b"", None, false)
    }

    /// Rows whose key's bytes begin with the bytes that `prefixes` makes of `prefix`, in ascending order.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn prefix_scan<P: 'static>(&mut self, prefix: &P, prefixes: &Serde<P>) -> Result<Vec<(K, V)>> {
        let prefix = prefixes.to_bytes(prefix)?;
        Ok(plain(self.rows(&prefix, above_prefix(&prefix).as_deref(), false)?))
    }

    /// Number of rows, uncommitted ones included. It is exact, and it reads every row.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn approximate_num_entries(&mut self) -> Result<u64> {
        let mut rows = 0;
        self.store.scan(b"", None, false, &mut |_, _| {
            rows += 1;
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    fn between(&mut self, from: Option<&K>, to: Option<&K>, reverse: bool) -> Result<Vec<(K, V)>> {
        let from = from.map(|key| self.keys.to_bytes(key)).transpose()?.unwrap_or_default();
        let to = to.map(|key| self.keys.to_bytes(key)).transpose()?.map(|to| above(&to));
        Ok(plain(self.rows(&from, to.as_deref(), reverse)?))
    }

    fn rows(&mut self, from: &[u8], to: Option<&[u8]>, reverse: bool) -> Result<Vec<(K, ValueAndTimestamp<V>)>> {
        let name = self.store.spec().name.clone();
        let (keys, values) = (self.keys, self.values);
        collect(self.store, from, to, reverse, |id, row| {
            let key = keys.decode(id).map_err(|fault| foreign(&name, fault))?;
            Ok(Some((key, decode_row(&name, values, row)?)))
        })
    }
}

fn plain<K, V>(rows: Vec<(K, ValueAndTimestamp<V>)>) -> Vec<(K, V)> {
    rows.into_iter().map(|(key, row)| (key, row.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, state::tests::store};

    fn keys(entries: Vec<(String, i64)>) -> Vec<String> {
        entries.into_iter().map(|(key, _)| key).collect()
    }

    fn with_view(test: impl FnOnce(&mut KeyValueStore<'_, String, i64>)) {
        let (mut store, keys, values) = (store(StoreKind::KeyValue), serdes::string(), serdes::i64());
        test(&mut KeyValueStore::new(&mut store, &keys, &values, 5).unwrap());
    }

    #[test]
    fn p36_reads_and_writes() {
        with_view(|view| {
            let key = "a".to_owned();
            assert_eq!(view.put_if_absent(&key, &1).unwrap(), None);
            assert_eq!(view.put_if_absent(&key, &2).unwrap(), Some(1));
            assert_eq!(view.get_with_timestamp(&key).unwrap(), Some(ValueAndTimestamp::new(1, 5)));
            view.put_at(&key, Some(&3), 9).unwrap();
            assert_eq!(view.all_with_timestamps().unwrap(), [(key.clone(), ValueAndTimestamp::new(3, 9))]);
            assert_eq!(view.delete(&key).unwrap(), Some(3));
            assert_eq!((view.get(&key).unwrap(), view.delete(&key).unwrap()), (None, None));
        });
    }

    #[test]
    fn p36_both_bounds_of_a_range_are_included() {
        with_view(|view| {
            let names = ["a", "ab", "b", "c"].map(str::to_owned);
            view.put_all(names.iter().map(|name| (name, &1))).unwrap();
            let (a, b) = ("a".to_owned(), "b".to_owned());
            assert_eq!(keys(view.range(Some(&a), Some(&b)).unwrap()), ["a", "ab", "b"]);
            assert_eq!(keys(view.reverse_range(Some(&b), None).unwrap()), ["c", "b"]);
            assert_eq!(keys(view.range(None, Some(&a)).unwrap()), ["a"]);
            assert_eq!(keys(view.all().unwrap()), ["a", "ab", "b", "c"]);
            assert_eq!(keys(view.reverse_all().unwrap()), ["c", "b", "ab", "a"]);
            assert_eq!(keys(view.prefix_scan(&a, &serdes::string()).unwrap()), ["a", "ab"]);
            assert_eq!(view.approximate_num_entries().unwrap(), 4);
        });
    }

    #[test]
    fn a_value_of_another_serde_stops() {
        let mut store = store(StoreKind::KeyValue);
        store.put("a".into(), Some("text".into()), 0).unwrap();
        let (keys, values) = (serdes::string(), serdes::i64());
        let mut view = KeyValueStore::new(&mut store, &keys, &values, 0).unwrap();
        let fault = view.get(&"a".to_owned()).unwrap_err();
        assert_eq!(fault.remedy, crate::fault::Remedy::Stop);
        assert_eq!(fault.place(), "store s");
    }
}
