//! Versions of rows: what a versioned store (P-39) adds to a store's reads and writes.

use super::{
    Row, Store, StoreKind,
    keys::{DELETED, LIVE, refused_row, split_version_row, version_prefix, version_row},
    row::{Version, VersionRef},
};
use crate::{
    fault::{Fault, Result},
    record::Timestamp,
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// What became of a version that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionPut {
    /// It is the newest version of its key.
    Latest,
    /// It ends where a newer version begins, at this time.
    ValidTo(Timestamp),
    /// It lies further back than the history reaches: nothing was written.
    Expired,
}

/// A version of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// Value bytes.
    pub value: Bytes,
    /// The time from which it holds.
    pub timestamp: Timestamp,
    /// The time at which the next version begins; `None` for the newest.
    pub valid_to: Option<Timestamp>,
}

/// One version as it lies in the store.
pub(super) struct Stored {
    pub(super) timestamp: Timestamp,
    pub(super) value: Option<Bytes>,
}

impl Store {
    fn history_ms(&self) -> Result<i64> {
        match self.spec.kind {
            StoreKind::Versioned { history_ms } => Ok(history_ms),
            _ => Err(self.blame(Fault::stop("the store keeps no versions").hint("make it a versioned store"))),
        }
    }

    /// Versions before this time can't be asked for.
    pub(super) fn horizon(&self, history_ms: i64) -> Timestamp {
        self.stream_time.saturating_sub(history_ms)
    }

    /// Visits the versions of a key that begin from `from` to `to`, both included.
    pub(super) fn versions(
        &mut self,
        key: &[u8],
        (from, to): (Timestamp, Timestamp),
        newest_first: bool,
        visit: &mut dyn FnMut(Stored) -> ControlFlow<()>,
    ) -> Result<()> {
        let from = version_row(key, from.max(0));
        let mut end = version_prefix(key);
        end.extend_from_slice(&to.max(-1).saturating_add(1).to_be_bytes());
        if to == Timestamp::MAX {
            end.push(0);
        }
        self.scan(&from, Some(&end), newest_first, &mut |row, stored| {
            let (_, timestamp, refused) = split_version_row(row).expect("it begins with a key's prefix and a time");
            if refused {
                return ControlFlow::Continue(());
            }
            let value = (stored.value.first() == Some(&LIVE)).then(|| Bytes::copy_from_slice(&stored.value[1..]));
            visit(Stored { timestamp, value })
        })
    }

    fn first_version(
        &mut self,
        key: &[u8],
        range: (Timestamp, Timestamp),
        newest_first: bool,
    ) -> Result<Option<Stored>> {
        let mut found = None;
        self.versions(key, range, newest_first, &mut |version| {
            found = Some(version);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Writes a version of a row that begins at `timestamp`; `None` deletes the row from then on. Versions that the
    /// history no longer reaches go.
    ///
    /// # Errors
    /// When the store keeps no versions, or the disk fails.
    pub fn put_version(&mut self, key: &[u8], value: Option<Bytes>, timestamp: Timestamp) -> Result<VersionPut> {
        let history_ms = self.history_ms()?;
        for old in self.refused(key)? {
            self.write_open(old, Version { value: None, timestamp });
        }
        if timestamp < self.horizon(history_ms) {
            self.write_open(refused_row(key, timestamp), Version { value: Some(stored_form(value).into()), timestamp });
            return Ok(VersionPut::Expired);
        }
        self.put(version_row(key, timestamp), Some(stored_form(value)), timestamp)?;
        for old in self.forgotten(key, history_ms)? {
            self.write_open(old, Version { value: None, timestamp });
        }
        let next = self.first_version(key, (timestamp.saturating_add(1), Timestamp::MAX), false)?;
        Ok(next.map_or(VersionPut::Latest, |next| VersionPut::ValidTo(next.timestamp)))
    }

    /// Row ids of the versions of a key that came too late: their records are on the changelog by now.
    fn refused(&mut self, key: &[u8]) -> Result<Vec<Bytes>> {
        let (from, to) = (version_row(key, 0), version_row(key, self.stream_time.max(0)));
        let mut found = Vec::new();
        self.scan(&from, Some(&to), false, &mut |row, _| {
            if split_version_row(row).is_some_and(|(.., refused)| refused) {
                found.push(Bytes::copy_from_slice(row));
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Row ids of the versions of a key that nobody can ask for any more.
    fn forgotten(&mut self, key: &[u8], history_ms: i64) -> Result<Vec<Bytes>> {
        let horizon = self.horizon(history_ms);
        let (mut gone, mut before): (Vec<Bytes>, Option<Stored>) = (Vec::new(), None);
        self.versions(key, (0, horizon), false, &mut |version| {
            gone.extend(before.take().map(|old| version_row(key, old.timestamp)));
            before = Some(version);
            ControlFlow::Continue(())
        })?;
        // The last of them holds at the horizon. A deletion too: if it took the place of a value in this transaction, the
        // changelog must hear of it.
        Ok(gone)
    }

    /// The newest version of a row, or the one that held at `as_of`. That time may lie further back than the history
    /// reaches only if the newest version is as old.
    ///
    /// # Errors
    /// When the store keeps no versions, or the disk fails.
    pub fn get_version(&mut self, key: &[u8], as_of: Option<Timestamp>) -> Result<Option<VersionRow>> {
        let history_ms = self.history_ms()?;
        let as_of = as_of.unwrap_or(Timestamp::MAX);
        let Some(Stored { timestamp, value: Some(value) }) = self.first_version(key, (0, as_of), true)? else {
            return Ok(None);
        };
        let after = (timestamp.saturating_add(1), Timestamp::MAX);
        let valid_to = self.first_version(key, after, false)?.map(|next| next.timestamp);
        let reaches = valid_to.is_none() || as_of >= self.horizon(history_ms);
        Ok(reaches.then_some(VersionRow { value, timestamp, valid_to }))
    }

    /// The versions of a row that held at some time from `from` to `to`, both included, newest first, as far as the
    /// history reaches.
    ///
    /// # Errors
    /// When the store keeps no versions, or the disk fails.
    pub fn get_versions(&mut self, key: &[u8], from: Timestamp, to: Timestamp) -> Result<Vec<VersionRow>> {
        let history_ms = self.history_ms()?;
        let (mut found, mut next) = (Vec::new(), None);
        let from = from.max(self.horizon(history_ms));
        self.versions(key, (0, Timestamp::MAX), true, &mut |Stored { timestamp, value }| {
            let valid_to = next.replace(timestamp);
            if valid_to.is_some_and(|end| end <= from) {
                return ControlFlow::Break(());
            }
            if timestamp <= to {
                found.extend(value.map(|value| VersionRow { value, timestamp, valid_to }));
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// The row of a key: its newest version in a versioned store, else the row itself.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_latest(&mut self, key: &[u8]) -> Result<Option<Row>> {
        match self.spec.kind {
            StoreKind::Versioned { .. } => {
                let found = self.get_version(key, None)?;
                Ok(found.map(|version| Row { value: version.value.into(), timestamp: version.timestamp }))
            }
            _ => self.get(key),
        }
    }

    /// Writes the row of a key: a version of it in a versioned store, else the row itself.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_latest(&mut self, row: Bytes, value: Option<Bytes>, timestamp: Timestamp) -> Result<VersionPut> {
        if let StoreKind::Versioned { .. } = self.spec.kind {
            return self.put_version(&row, value, timestamp);
        }
        Ok(if self.put(row, value, timestamp)? { VersionPut::Latest } else { VersionPut::Expired })
    }

    /// A version that the changelog brings back, unless it was refused when it was written. That goes by the records up
    /// to here, and not by the stream time that is committed: what was in time then may lie behind the history's reach
    /// and still be the version that holds at its end.
    pub(super) fn restore_version(&mut self, key: &[u8], value: Option<&Bytes>, timestamp: Timestamp) {
        let in_time = |history_ms: i64| timestamp >= self.rows_time.saturating_sub(history_ms);
        if self.history_ms().is_ok_and(in_time) {
            self.rows_time = self.rows_time.max(timestamp);
            self.advance_stream_time(timestamp);
            let value = stored_form(value.cloned());
            self.write(&version_row(key, timestamp), VersionRef { value: Some(&value), timestamp });
        }
    }
}

fn stored_form(value: Option<Bytes>) -> Bytes {
    match value {
        None => Bytes::from_static(&[DELETED]),
        Some(value) => {
            let mut out = Vec::with_capacity(1 + value.len());
            out.push(LIVE);
            out.extend_from_slice(&value);
            out.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::store;

    pub(super) fn versions() -> Store {
        store(StoreKind::Versioned { history_ms: 100 })
    }

    fn put(store: &mut Store, value: &'static str, at: Timestamp) -> VersionPut {
        let value = (!value.is_empty()).then(|| Bytes::from(value));
        store.put_version(b"k", value, at).unwrap()
    }

    fn at(store: &mut Store, as_of: Option<Timestamp>) -> Option<(String, Timestamp, Option<Timestamp>)> {
        let found = store.get_version(b"k", as_of).unwrap();
        found.map(|v| (String::from_utf8(v.value.to_vec()).unwrap(), v.timestamp, v.valid_to))
    }

    #[test]
    fn p39_a_version_holds_until_the_next_begins() {
        let mut store = versions();
        assert_eq!(put(&mut store, "b", 10), VersionPut::Latest);
        assert_eq!(put(&mut store, "a", 5), VersionPut::ValidTo(10));
        assert_eq!(put(&mut store, "", 20), VersionPut::Latest);
        assert_eq!(at(&mut store, Some(4)), None);
        assert_eq!(at(&mut store, Some(9)), Some(("a".into(), 5, Some(10))));
        assert_eq!(at(&mut store, Some(10)), Some(("b".into(), 10, Some(20))));
        assert_eq!(at(&mut store, Some(20)), None);
        assert_eq!(at(&mut store, None), None);
        assert_eq!(put(&mut store, "c", 20), VersionPut::Latest);
        assert_eq!(at(&mut store, None), Some(("c".into(), 20, None)));
        assert_eq!(store.get_versions(b"k", 9, 10).unwrap().len(), 2);
    }

    #[test]
    fn p39_a_deletion_at_the_time_of_the_only_version_holds() {
        let mut store = versions();
        put(&mut store, "a", 36);
        assert_eq!(put(&mut store, "", 36), VersionPut::Latest);
        assert_eq!(put(&mut store, "b", 6), VersionPut::ValidTo(36));
        assert_eq!(at(&mut store, None), None);
    }

    #[test]
    fn p39_history_ends_where_stream_time_says_but_the_newest_version_stays() {
        let mut store = versions();
        put(&mut store, "a", 5);
        put(&mut store, "b", 50);
        store.put_version(b"other", Some("x".into()), 160).unwrap();
        assert_eq!(put(&mut store, "late", 59), VersionPut::Expired);
        assert_eq!(at(&mut store, Some(49)), None);
        assert_eq!(at(&mut store, Some(50)), Some(("b".into(), 50, None)));
        put(&mut store, "c", 70);
        assert_eq!(at(&mut store, Some(59)), None);
        assert_eq!(at(&mut store, Some(60)), Some(("b".into(), 50, Some(70))));
        let mut rows = 0;
        store
            .versions(b"k", (0, Timestamp::MAX), false, &mut |_| {
                rows += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(rows, 2, "the version before the horizon is gone");
    }
}
