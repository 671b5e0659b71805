//! The store of a table and its children: write a row, then forward the change, at once or when the cache is flushed.

use super::{Children, Context, Dropped, rows::Rows};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::{Change, Headers, Record, StoreIx, Timestamp},
    state::{Pending, Row, StoreKind, VersionPut},
};
use bytes::Bytes;
use std::sync::Arc;

/// Types and place of a table's store.
pub(crate) struct TableStore<V, R> {
    /// Its place in the task.
    pub store: StoreIx,
    /// Keys to row ids.
    pub rows: R,
    /// Serde of the values.
    pub values: Serde<V>,
}

impl<V, R: Clone> Clone for TableStore<V, R> {
    fn clone(&self) -> Self {
        Self { store: self.store, rows: self.rows.clone(), values: self.values.clone() }
    }
}

impl<V: 'static, R> TableStore<V, R> {
    /// The value and its timestamp in row `row`.
    pub fn get_row(&self, cx: &mut dyn Context, row: &[u8]) -> Result<Option<(V, Timestamp)>> {
        match cx.store(self.store).get_latest(row)? {
            Some(found) => Ok(Some((self.decode(cx, &found)?, found.timestamp))),
            None => Ok(None),
        }
    }

    /// The value of a row that a store gave. Bytes that are no such value mean that the store belongs to another
    /// version of the application.
    pub fn decode(&self, cx: &mut dyn Context, row: &Row) -> Result<V> {
        self.values.decode(&row.value).map_err(|fault| {
            let name = cx.store(self.store).spec().name.clone();
            Fault::stop(format!("a stored value can't be read: {}", fault.what()))
                .at(format!("store {name}"))
                .hint("the store was written with another serde; reset the application or give the store a new name")
        })
    }
}

/// An update of one row.
pub(crate) struct Update<'a, V> {
    /// The row from now on; `None` deletes it.
    pub new: Option<V>,
    /// The row before, where a child wants it.
    pub old: Option<V>,
    /// Event time of the update.
    pub timestamp: Timestamp,
    /// Event time of the record in hand: a deletion is logged under it, as a row that is gone has no time of its own.
    pub at: Timestamp,
    /// Headers of the record that caused it.
    pub headers: &'a Headers,
}

/// A [`TableStore`] that tells children of its updates.
pub(crate) struct Updates<K, V, R> {
    /// The store.
    pub table: TableStore<V, R>,
    /// True when the record cache holds updates back until the next flush.
    pub cached: bool,
    /// True when a child wants old values.
    pub sends_old: bool,
    /// The children.
    pub children: Children<K, Change<V>>,
}

impl<K: 'static, V: 'static, R: Rows<K>> Updates<K, V, R> {
    /// Writes a row and forwards the change unless the cache holds it back.
    pub fn put(&self, cx: &mut dyn Context, row: Bytes, key: &K, update: Update<'_, V>) -> Result<()> {
        let Update { timestamp, headers, .. } = update;
        match self.write(cx, row, update)? {
            Some(change) => {
                self.children.forward(cx, Record { key: Some(key), value: Some(&change), timestamp, headers })
            }
            None => Ok(()),
        }
    }

    /// Writes a row and gives the change to forward, unless the cache holds it back. A row that has expired is
    /// forwarded too, though it can't be read: the store's time is that of all its writers, a node's is its own.
    pub fn write(&self, cx: &mut dyn Context, row: Bytes, update: Update<'_, V>) -> Result<Option<Change<V>>> {
        let Update { new, old, timestamp, at, headers } = update;
        let bytes = new.as_ref().map(|v| self.table.values.to_bytes(v)).transpose()?;
        let source = if self.cached { cx.source().cloned() } else { None };
        // What fails behind the cache has its input in the dead letter too.
        let keeps = self.cached && cx.error_settings().dead_letter_topic.is_some();
        let input = if keeps { cx.input().cloned().map(Arc::new) } else { None };
        let store = cx.store(self.table.store);
        let versioned = matches!(store.spec().kind, StoreKind::Versioned { .. });
        let timestamp = if new.is_some() || versioned { timestamp } else { at };
        let put = if !self.cached {
            store.put_latest(row.clone(), bytes, timestamp)?
        } else if store.put_cached(row.clone(), bytes, timestamp, headers, source.as_ref())? {
            VersionPut::Latest
        } else {
            VersionPut::Expired
        };
        if let Some(input) = input {
            store.hold_input(&row, input);
        }
        if put == VersionPut::Expired {
            if versioned || store.counts_expired(&row) {
                cx.dropped(Dropped::Expired);
            }
            if versioned {
                return Ok(None);
            }
        }
        if self.cached {
            return Ok(None);
        }
        Ok(Some(Change { new, old: old.filter(|_| self.sends_old), is_latest: !matches!(put, VersionPut::ValidTo(_)) }))
    }

    /// Forwards what the cache held back, each with the record context of its last update (P-62).
    pub fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        self.flush_at(cx, |_, timestamp| timestamp)
    }

    /// As [`Updates::flush`], with times that `time_of` makes of a key and the time of its last update.
    pub fn flush_at(&self, cx: &mut dyn Context, time_of: impl Fn(&K, Timestamp) -> Timestamp) -> Result<()> {
        if !self.cached {
            return Ok(());
        }
        for pending in cx.store(self.table.store).take_pending() {
            let Pending { row, old, new, timestamp, headers, source, input } = pending;
            let key = self.table.rows.key(&row)?;
            let timestamp = time_of(&key, timestamp);
            let new = new.map(|r| self.table.decode(cx, &r)).transpose()?;
            let old = old.filter(|_| self.sends_old).map(|r| self.table.decode(cx, &r)).transpose()?;
            let change = Change::new(new, old);
            let before = (cx.set_source(source), cx.set_input(input));
            let result = self
                .children
                .forward(cx, Record { key: Some(&key), value: Some(&change), timestamp, headers: &headers });
            cx.set_source(before.0);
            cx.set_input(before.1);
            result?;
        }
        Ok(())
    }
}

/// Forwards rows as final results (D-144): without old values, with the headers of the record that closed them, at the
/// time that `time_of` makes of a key and the time of its row.
pub(crate) fn emit<K: 'static, V: 'static, R: Rows<K>>(
    cx: &mut dyn Context,
    updates: &Updates<K, V, R>,
    headers: &Headers,
    rows: Vec<(Bytes, Row)>,
    time_of: impl Fn(&K, Timestamp) -> Timestamp,
) -> Result<()> {
    for (row, found) in rows {
        let key = updates.table.rows.key(&row)?;
        let change = Change::new(Some(updates.table.decode(cx, &found)?), None);
        let timestamp = time_of(&key, found.timestamp);
        updates.children.forward(cx, Record { key: Some(&key), value: Some(&change), timestamp, headers })?;
    }
    Ok(())
}
