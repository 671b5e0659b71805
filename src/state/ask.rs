//! Questions to a store from outside its task, answered page by page from committed rows.

use super::{
    Moments, Row, Segmented, Store, StoreKind,
    keys::{split_version_row, split_window_row, version_prefix, version_row, window_row},
};
use crate::{
    fault::{Fault, Result},
    record::Timestamp,
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// A question. Bounds are included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The row of a key: of a versioned store the version that held at `as_of`, or the newest.
    Row {
        /// Its bytes.
        key: Bytes,
        /// Milliseconds; only a versioned store knows more than one time.
        as_of: Option<Timestamp>,
    },
    /// The rows of all keys between two in the order of their bytes; the keys of a versioned store come by length first,
    /// and its bounds are not looked at.
    Keys {
        /// The first; `None` is the start.
        from: Option<Bytes>,
        /// The last; `None` is the end.
        to: Option<Bytes>,
        /// As in [`Ask::Row`].
        as_of: Option<Timestamp>,
    },
    /// Windows that start between two times, sessions and versions that hold at some time between them.
    Times {
        /// Of this key alone, or of all.
        key: Option<Bytes>,
        /// Milliseconds.
        from: Timestamp,
        /// Milliseconds.
        to: Timestamp,
    },
}

/// What bounds the work and the size of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a page.
    pub rows_max: usize,
    /// Bytes of keys and values of a page; one row more may exceed it.
    pub bytes_max: usize,
    /// Rows that are looked at for a page, whether they are in it or not.
    pub visits_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: 1_000, bytes_max: 1 << 20, visits_max: 10_000 }
    }
}

/// A committed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Key bytes without window.
    pub key: Bytes,
    /// Start and end of the window or session.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Value bytes.
    pub value: Bytes,
    /// Event time of the value in milliseconds.
    pub timestamp: Timestamp,
    /// Of a version: when the next one begins.
    pub valid_to: Option<Timestamp>,
}

/// Rows, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The rows.
    pub entries: Vec<Entry>,
    /// What to give as `after` for the next page; `None` at the end. A page may be empty and not the last one.
    pub next: Option<Bytes>,
}

impl StoreKind {
    /// Whether a store of this kind has an answer to a question.
    ///
    /// # Errors
    /// Says what to ask instead.
    pub fn answers(&self, ask: &Ask) -> std::result::Result<(), &'static str> {
        let as_of = matches!(ask, Ask::Row { as_of: Some(_), .. } | Ask::Keys { as_of: Some(_), .. });
        match (self, ask) {
            (Self::Buffer, _) => Err("the store is the buffer of a `suppress`: its rows are no results"),
            (Self::Segmented(Segmented { moments: Moments::Join, .. }), _) => {
                Err("the store holds the records of a join: its rows are no results")
            }
            (Self::KeyValue | Self::Lru { .. }, Ask::Times { .. }) => Err("the store has no windows: ask for keys"),
            (Self::Window { .. } | Self::Segmented(_), Ask::Row { .. } | Ask::Keys { .. }) => {
                Err("the store has windows: ask for times")
            }
            (Self::Versioned { .. }, Ask::Times { key: None, .. }) => {
                Err("versions are asked for by key: ask for a key, or for all keys as of a time")
            }
            (Self::KeyValue | Self::Lru { .. }, _) if as_of => {
                Err("the store keeps no versions, so there is no row as of a time")
            }
            _ => Ok(()),
        }
    }
}

/// The page in the making.
struct Pager {
    limits: Limits,
    page: Page,
    bytes: usize,
    visits: usize,
    last: Vec<u8>,
}

impl Pager {
    /// Notes a row that was looked at. Break when it is one too many for this page: the next one begins with it.
    fn visit(&mut self, id: &[u8], entry: impl FnOnce() -> Option<Entry>) -> ControlFlow<()> {
        let full = self.page.entries.len() >= self.limits.rows_max || self.bytes >= self.limits.bytes_max;
        if full || self.visits >= self.limits.visits_max {
            self.page.next = Some(Bytes::copy_from_slice(&self.last));
            return ControlFlow::Break(());
        }
        self.visits += 1;
        self.last.clear();
        self.last.extend_from_slice(id);
        if let Some(entry) = entry() {
            self.bytes += entry.key.len() + entry.value.len();
            self.page.entries.push(entry);
        }
        ControlFlow::Continue(())
    }
}

impl Entry {
    fn new(key: &[u8], window: Option<(Timestamp, Timestamp)>, row: Row) -> Self {
        let key = Bytes::copy_from_slice(key);
        Self { key, window, value: row.value.into(), timestamp: row.timestamp, valid_to: None }
    }
}

impl Store {
    /// A page of committed rows: the answer to `ask` from the first row after `after`, which a former page gave.
    ///
    /// # Errors
    /// When the disk fails, or the store is of a kind that does not [answer](StoreKind::answers) this.
    pub fn ask(&mut self, ask: &Ask, after: Option<&[u8]>, limits: Limits) -> Result<Page> {
        let kind = self.spec.kind;
        kind.answers(ask).map_err(|why| self.blame(Fault::skip(why)))?;
        let pager = Pager { limits, page: Page::default(), bytes: 0, visits: 0, last: Vec::new() };
        self.committed_view(|store| {
            let mut pager = pager;
            match (ask, kind) {
                (Ask::Row { key, as_of }, _) => return store.ask_row(key, *as_of),
                (Ask::Keys { as_of, .. }, StoreKind::Versioned { .. }) => {
                    store.ask_versioned(*as_of, after, &mut pager)
                }
                (Ask::Keys { from, to, .. }, _) => store.ask_keys((from.as_deref(), to.as_deref()), after, &mut pager),
                (Ask::Times { key, from, to }, _) => {
                    store.ask_times(key.as_deref(), ((*from).max(0), *to), after, &mut pager)
                }
            }?;
            Ok(pager.page)
        })
    }

    fn ask_row(&mut self, key: &Bytes, as_of: Option<Timestamp>) -> Result<Page> {
        let entry = match self.spec.kind {
            StoreKind::Versioned { .. } => self.ask_version(key, as_of)?,
            _ => self.get(key)?.map(|row| Entry::new(key, None, row)),
        };
        Ok(Page { entries: entry.into_iter().collect(), next: None })
    }

    fn ask_version(&mut self, key: &[u8], as_of: Option<Timestamp>) -> Result<Option<Entry>> {
        let found = self.get_version(key, as_of)?;
        Ok(found.map(|version| Entry {
            key: Bytes::copy_from_slice(key),
            window: None,
            value: version.value,
            timestamp: version.timestamp,
            valid_to: version.valid_to,
        }))
    }

    fn ask_keys(
        &mut self,
        (from, to): (Option<&[u8]>, Option<&[u8]>),
        after: Option<&[u8]>,
        pager: &mut Pager,
    ) -> Result<()> {
        let from = after.map_or_else(|| from.unwrap_or_default().to_vec(), above);
        self.scan(&from, to.map(above).as_deref(), false, &mut |id, row| {
            pager.visit(id, || Some(Entry::new(id, None, row)))
        })
    }

    /// Key by key: one look for the next key, one for its version.
    fn ask_versioned(&mut self, as_of: Option<Timestamp>, after: Option<&[u8]>, pager: &mut Pager) -> Result<()> {
        let mut from = after.map_or_else(Vec::new, above);
        loop {
            let mut next: Option<Bytes> = None;
            self.scan(&from, None, false, &mut |id, _| {
                next = split_version_row(id).map(|(key, ..)| Bytes::copy_from_slice(key));
                ControlFlow::Break(())
            })?;
            let Some(key) = next else { return Ok(()) };
            let entry = self.ask_version(&key, as_of)?;
            let mut last = version_prefix(&key);
            last.extend_from_slice(&[u8::MAX; 9]);
            if pager.visit(&last, || entry).is_break() {
                return Ok(());
            }
            from = above(&last);
        }
    }

    fn ask_times(
        &mut self,
        key: Option<&[u8]>,
        (from, to): (Timestamp, Timestamp),
        after: Option<&[u8]>,
        pager: &mut Pager,
    ) -> Result<()> {
        match (self.spec.kind, key) {
            (StoreKind::Versioned { history_ms }, Some(key)) => {
                self.ask_versions(key, history_ms, (from, to), after, pager)
            }
            (StoreKind::Window { size_ms, .. }, Some(key)) => {
                self.ask_windows_of(key, size_ms, (from, to), after, pager)
            }
            (StoreKind::Window { size_ms, .. }, None) => {
                let first = after.map_or_else(|| window_row(from, b"").to_vec(), above);
                let end = to.checked_add(1).map(|end| window_row(end, b""));
                self.scan(&first, end.as_deref(), false, &mut |id, row| {
                    pager.visit(id, || {
                        let (start, key) = split_window_row(id)?;
                        Some(Entry::new(key, Some((start, start.saturating_add(size_ms))), row))
                    })
                })
            }
            (StoreKind::Segmented(kind), key) => self.ask_segmented(kind, key, (from, to), after, pager),
            _ => Ok(()),
        }
    }

    /// Versions of a key that held at some time of a span, newest first.
    fn ask_versions(
        &mut self,
        key: &[u8],
        history_ms: i64,
        (from, to): (Timestamp, Timestamp),
        after: Option<&[u8]>,
        pager: &mut Pager,
    ) -> Result<()> {
        // The cursor is the version that the last page ended with; the next one is valid up to its time.
        let last = after.and_then(split_version_row).map(|(_, time, _)| time);
        let from = from.max(self.horizon(history_ms));
        let mut valid_to = last;
        let newest = last.map_or(Timestamp::MAX, |time| time - 1);
        self.versions(key, (0, newest), true, &mut |version| {
            let end = valid_to.replace(version.timestamp);
            if end.is_some_and(|end| end <= from) {
                return ControlFlow::Break(());
            }
            pager.visit(&version_row(key, version.timestamp), || {
                let value = version.value.filter(|_| version.timestamp <= to)?;
                let key = Bytes::copy_from_slice(key);
                Some(Entry { key, window: None, value, timestamp: version.timestamp, valid_to: end })
            })
        })
    }

    /// Windows of a key where windows lie side by side: other keys are passed over with two looks for each start.
    fn ask_windows_of(
        &mut self,
        key: &[u8],
        size_ms: i64,
        (from, to): (Timestamp, Timestamp),
        after: Option<&[u8]>,
        pager: &mut Pager,
    ) -> Result<()> {
        if from == to && after.is_none() {
            // One window is a look-up, and leaves the rows without order where nobody else wants one.
            let (id, window) = (window_row(from, key), Some((from, from.saturating_add(size_ms))));
            let row = self.get(&id)?;
            let _last = pager.visit(&id, || row.map(|row| Entry::new(key, window, row)));
            return Ok(());
        }
        let mut next = after.map_or_else(|| window_row(from, key).to_vec(), above);
        let end = to.checked_add(1).map(|end| window_row(end, b""));
        loop {
            let mut found: Option<(Timestamp, Option<Row>, bool)> = None;
            self.scan(&next, end.as_deref(), false, &mut |id, row| {
                found = split_window_row(id).map(|(start, other)| match other.cmp(key) {
                    std::cmp::Ordering::Equal => (start, Some(row), false),
                    std::cmp::Ordering::Less => (start, None, true),
                    std::cmp::Ordering::Greater => (start, None, false),
                });
                ControlFlow::Break(())
            })?;
            let Some((start, row, comes)) = found else { return Ok(()) };
            let window = Some((start, start.saturating_add(size_ms)));
            let here = window_row(start, key);
            if comes {
                // The window has rows of lesser keys: its own may follow.
                next = here.to_vec();
                continue;
            }
            if pager.visit(&here, || row.map(|row| Entry::new(key, window, row))).is_break() {
                return Ok(());
            }
            next = above(&here);
            match start.checked_add(1) {
                Some(start) => next = next.max(window_row(start, b"").to_vec()),
                None => return Ok(()),
            }
        }
    }

    fn ask_segmented(
        &mut self,
        kind: Segmented,
        key: Option<&[u8]>,
        (from, to): (Timestamp, Timestamp),
        after: Option<&[u8]>,
        pager: &mut Pager,
    ) -> Result<()> {
        let sessions = kind.moments == Moments::Session;
        // A row's place is by its session's end: one that holds at `to` may end at any time after it.
        let last = if sessions { Timestamp::MAX } else { to };
        let cut = self.cut().unwrap_or(0);
        let mut visit = |id: &[u8], row: Row| {
            if after.is_some_and(|after| id <= after) {
                return ControlFlow::Continue(());
            }
            pager.visit(id, || {
                let (key, start, end) = kind.split(id)?;
                let moment = if sessions { end } else { start };
                let asked = moment >= from.max(cut) && start <= to;
                asked.then(|| Entry::new(key, Some((start, end)), row))
            })
        };
        match key {
            Some(key) => {
                let from = after.and_then(|after| kind.moment(after)).map_or(from, |moment| moment.max(from));
                self.scan_key(key, from, last, false, &mut visit)
            }
            None => {
                let first = after.map_or_else(|| kind.segment_of(from).to_be_bytes().to_vec(), above);
                let end = kind.segment_of(last).checked_add(kind.segment_ms).map(Timestamp::to_be_bytes);
                self.scan(&first, end.as_ref().map(<[u8; 8]>::as_slice), false, &mut visit)
            }
        }
    }
}

/// The smallest row id above `id`.
fn above(id: &[u8]) -> Vec<u8> {
    [id, &[0]].concat()
}

#[cfg(test)]
mod tests;
