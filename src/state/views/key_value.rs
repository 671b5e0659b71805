//! A store by key.

use super::{ValueAndTimestamp, above, above_prefix, collect, decode_row, encode_value, foreign};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::Timestamp,
    state::{Store, StoreKind},
};

/// One row with its key.
type Entry<K, V> = (K, ValueAndTimestamp<V>);

/// A store by key, typed (P-36). Writes are uncommitted until the task's transaction commits, and reads see them.
///
/// Keys are ordered by their bytes, not by their type's own order: so it is in Kafka Streams. Negative numbers come
/// after positive ones.
pub struct KeyValueStore<'a, K, V> {
    store: &'a mut Store,
    keys: &'a Serde<K>,
    values: &'a Serde<V>,
}

impl<'a, K: 'static, V: 'static> KeyValueStore<'a, K, V> {
    /// A view of `store`.
    ///
    /// # Errors
    /// When `store` is a window store or a session store.
    pub fn new(store: &'a mut Store, keys: &'a Serde<K>, values: &'a Serde<V>) -> Result<Self> {
        match store.spec().kind {
            StoreKind::KeyValue => Ok(Self { store, keys, values }),
            _ => Err(Fault::stop(format!("store {} is no key-value store", store.spec().name))
                .hint("ask for it as the window store or session store that it is")),
        }
    }

    /// The row of a key.
    ///
    /// # Errors
    /// When the key can't be written as bytes, the stored value is of another type, or the disk fails.
    pub fn get(&mut self, key: &K) -> Result<Option<ValueAndTimestamp<V>>> {
        let row = self.store.get(&self.keys.to_bytes(key)?)?;
        row.map(|row| decode_row(&self.store.spec().name, self.values, &row)).transpose()
    }

    /// Sets the row of a key; `None` deletes it.
    ///
    /// # Errors
    /// When key or value can't be written as bytes.
    pub fn put(&mut self, key: &K, value: Option<&V>, timestamp: Timestamp) -> Result<()> {
        let value = encode_value(self.values, value)?;
        self.store.put(self.keys.to_bytes(key)?, value, timestamp).map(drop)
    }

    /// Sets the row of a key that has none; else leaves it, and returns what it has.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`] and [`KeyValueStore::put`].
    pub fn put_if_absent(
        &mut self,
        key: &K,
        value: Option<&V>,
        timestamp: Timestamp,
    ) -> Result<Option<ValueAndTimestamp<V>>> {
        let found = self.get(key)?;
        if found.is_none() {
            self.put(key, value, timestamp)?;
        }
        Ok(found)
    }

    /// Deletes the row of a key and returns what it was.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn delete(&mut self, key: &K, timestamp: Timestamp) -> Result<Option<ValueAndTimestamp<V>>> {
        let found = self.get(key)?;
        self.put(key, None, timestamp)?;
        Ok(found)
    }

    /// Rows from `from` to `to`, both included, in ascending order; an absent bound is open. The rows are read into
    /// memory: choose bounds accordingly.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn range(&mut self, from: Option<&K>, to: Option<&K>) -> Result<Vec<Entry<K, V>>> {
        self.between(from, to, false)
    }

    /// As [`KeyValueStore::range`] in descending order.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn reverse_range(&mut self, from: Option<&K>, to: Option<&K>) -> Result<Vec<Entry<K, V>>> {
        self.between(from, to, true)
    }

    /// Every row in ascending order.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn all(&mut self) -> Result<Vec<Entry<K, V>>> {
        self.between(None, None, false)
    }

    /// Rows whose key's bytes begin with the bytes that `prefixes` makes of `prefix`, in ascending order.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`].
    pub fn prefix_scan<P: 'static>(&mut self, prefix: &P, prefixes: &Serde<P>) -> Result<Vec<Entry<K, V>>> {
        let prefix = prefixes.to_bytes(prefix)?;
        self.rows(&prefix, above_prefix(&prefix).as_deref(), false)
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

    fn between(&mut self, from: Option<&K>, to: Option<&K>, reverse: bool) -> Result<Vec<Entry<K, V>>> {
        let from = from.map(|key| self.keys.to_bytes(key)).transpose()?.unwrap_or_default();
        let to = to.map(|key| self.keys.to_bytes(key)).transpose()?.map(|to| above(&to));
        self.rows(&from, to.as_deref(), reverse)
    }

    fn rows(&mut self, from: &[u8], to: Option<&[u8]>, reverse: bool) -> Result<Vec<Entry<K, V>>> {
        let name = self.store.spec().name.clone();
        let (keys, values) = (self.keys, self.values);
        collect(self.store, from, to, reverse, |id, row| {
            let key = keys.decode(id).map_err(|fault| foreign(&name, fault))?;
            Ok(Some((key, decode_row(&name, values, row)?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, state::tests::store};

    fn keys(entries: Vec<Entry<String, i64>>) -> Vec<String> {
        entries.into_iter().map(|(key, _)| key).collect()
    }

    fn with_view(test: impl FnOnce(&mut KeyValueStore<'_, String, i64>)) {
        let (mut store, keys, values) = (store(StoreKind::KeyValue), serdes::string(), serdes::i64());
        test(&mut KeyValueStore::new(&mut store, &keys, &values).unwrap());
    }

    #[test]
    fn p36_reads_and_writes() {
        with_view(|view| {
            let key = "a".to_owned();
            assert_eq!(view.put_if_absent(&key, Some(&1), 5).unwrap(), None);
            assert_eq!(view.put_if_absent(&key, Some(&2), 6).unwrap(), Some(ValueAndTimestamp::new(1, 5)));
            assert_eq!(view.get(&key).unwrap(), Some(ValueAndTimestamp::new(1, 5)));
            assert_eq!(view.delete(&key, 7).unwrap(), Some(ValueAndTimestamp::new(1, 5)));
            assert_eq!(view.get(&key).unwrap(), None);
        });
    }

    #[test]
    fn p36_both_bounds_of_a_range_are_included() {
        with_view(|view| {
            for key in ["a", "ab", "b", "c"] {
                view.put(&key.to_owned(), Some(&1), 0).unwrap();
            }
            let (a, b) = ("a".to_owned(), "b".to_owned());
            assert_eq!(keys(view.range(Some(&a), Some(&b)).unwrap()), ["a", "ab", "b"]);
            assert_eq!(keys(view.reverse_range(Some(&b), None).unwrap()), ["c", "b"]);
            assert_eq!(keys(view.range(None, Some(&a)).unwrap()), ["a"]);
            assert_eq!(keys(view.all().unwrap()), ["a", "ab", "b", "c"]);
            assert_eq!(keys(view.prefix_scan(&a, &serdes::string()).unwrap()), ["a", "ab"]);
            assert_eq!(view.approximate_num_entries().unwrap(), 4);
        });
    }

    #[test]
    fn a_value_of_another_serde_stops() {
        let mut store = store(StoreKind::KeyValue);
        store.put("a".into(), Some("text".into()), 0).unwrap();
        let (keys, values) = (serdes::string(), serdes::i64());
        let mut view = KeyValueStore::new(&mut store, &keys, &values).unwrap();
        let fault = view.get(&"a".to_owned()).unwrap_err();
        assert_eq!(fault.remedy, crate::fault::Remedy::Stop);
        assert_eq!(fault.place(), "store s");
    }
}
