//! The first tier: what one transaction wrote, in the order in which it wrote it.

use super::row::{Pending, Row, Version};
use crate::record::{Headers, NO_TIMESTAMP, SourceContext, Timestamp};
use bytes::Bytes;
use foldhash::fast::FixedState;
use indexmap::{IndexMap, map::Entry};
use std::collections::BTreeSet;

/// What a row costs above its bytes: handles, the map's slack and the allocator's headers.
const ROW_BYTES: usize = 200;
/// What a changelog record costs above its bytes while it waits for the commit.
const LOGGED_BYTES: usize = 80;
/// What an update held back costs above its bytes.
const HELD_BYTES: usize = 160;

/// The update of a row that the record cache holds back.
struct Held {
    old: Option<Row>,
    headers: Headers,
    source: Option<SourceContext>,
    /// Rank of the last update among all of the transaction.
    rank: u64,
    bytes: usize,
}

struct OverlayRow {
    version: Version,
    /// False while only the record cache knows of the row.
    written: bool,
    held: Option<Box<Held>>,
}

/// A write in the form and order of the changelog.
pub(super) struct Logged {
    pub(super) row: Bytes,
    pub(super) version: Version,
}

/// The rows that one transaction wrote.
pub(super) struct Overlay {
    rows: IndexMap<Bytes, OverlayRow, FixedState>,
    /// Row ids in order; kept only once somebody has scanned.
    sorted: Option<BTreeSet<Bytes>>,
    /// Places in `rows` that hold an update back.
    held: Vec<usize>,
    held_bytes: usize,
    ranks: u64,
    /// Every single write, when the changelog shall get them all.
    log: Option<Vec<Logged>>,
    bytes: usize,
    /// Stream time of the store after the last write of this transaction.
    pub(super) stream_time: Timestamp,
    /// Changelog records made of it; counted when it is drained.
    pub(super) drained: u64,
}

impl Overlay {
    pub(super) fn new(log_each_write: bool) -> Self {
        Self {
            rows: IndexMap::with_hasher(FixedState::default()),
            sorted: None,
            held: Vec::new(),
            held_bytes: 0,
            ranks: 0,
            log: log_each_write.then(Vec::new),
            bytes: 0,
            stream_time: NO_TIMESTAMP,
            drained: 0,
        }
    }

    /// Empties it for another transaction. Memory for rows, and the wish for order, stay.
    pub(super) fn reset(&mut self) {
        self.rows.clear();
        if let Some(sorted) = &mut self.sorted {
            sorted.clear();
        }
        if let Some(log) = &mut self.log {
            log.clear();
        }
        self.held.clear();
        (self.held_bytes, self.ranks, self.bytes, self.drained) = (0, 0, 0, 0);
        self.stream_time = NO_TIMESTAMP;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn get(&self, row: &[u8]) -> Option<&Version> {
        Some(&self.rows.get(row)?.version)
    }

    /// True when an update of the row is held back: what was forwarded before is known already.
    pub(super) fn holds(&self, row: &[u8]) -> bool {
        self.rows.get(row).is_some_and(|row| row.held.is_some())
    }

    /// A write that takes effect at once.
    pub(super) fn put(&mut self, row: Bytes, version: Version) {
        if let Some(log) = &mut self.log {
            self.bytes += LOGGED_BYTES + version.bytes();
            log.push(Logged { row: row.clone(), version: version.clone() });
        }
        let place = self.set(row, version);
        self.rows[place].written = true;
    }

    /// A write whose forward waits. `old` is what the row was before; it counts only for a row not held back yet.
    pub(super) fn put_held(
        &mut self,
        row: Bytes,
        version: Version,
        old: impl FnOnce() -> Option<Row>,
        headers: &Headers,
        source: Option<&SourceContext>,
    ) {
        let bytes = HELD_BYTES + row.len() + version.bytes() + headers.bytes();
        let rank = self.ranks;
        self.ranks += 1;
        let place = self.set(row, version);
        let entry = &mut self.rows[place];
        if let Some(held) = &mut entry.held {
            self.held_bytes = self.held_bytes + bytes - held.bytes;
            held.headers.clone_from(headers);
            held.source = source.cloned();
            (held.rank, held.bytes) = (rank, bytes);
        } else {
            let held = Held { old: old(), headers: headers.clone(), source: source.cloned(), rank, bytes };
            entry.held = Some(Box::new(held));
            self.held.push(place);
            self.held_bytes += bytes;
        }
    }

    fn set(&mut self, row: Bytes, version: Version) -> usize {
        let (row_len, new) = (row.len(), version.bytes());
        match self.rows.entry(row) {
            Entry::Occupied(mut entry) => {
                let old = std::mem::replace(&mut entry.get_mut().version, version);
                self.bytes = self.bytes + new - old.bytes();
                entry.index()
            }
            Entry::Vacant(entry) => {
                if let Some(sorted) = &mut self.sorted {
                    sorted.insert(entry.key().clone());
                }
                self.bytes += ROW_BYTES + row_len + new;
                let place = entry.index();
                entry.insert(OverlayRow { version, written: false, held: None });
                place
            }
        }
    }

    /// Takes what is held back, in the order of last updates. From here on these rows are written (P-62); one that
    /// was made and deleted meanwhile is as if it had never been (P-64).
    pub(super) fn take_held(&mut self) -> Vec<Pending> {
        let mut taken = Vec::with_capacity(self.held.len());
        for place in self.held.drain(..) {
            let (id, entry) = self.rows.get_index_mut(place).expect("an overlay never loses a row");
            let held = entry.held.take().expect("its place is listed");
            let new = entry.version.row();
            let changed = held.old.is_some() || new.is_some();
            if !changed && !entry.written {
                continue;
            }
            entry.written = true;
            let Held { old, headers, source, rank, .. } = *held;
            let timestamp = entry.version.timestamp;
            taken.push((rank, Pending { row: id.clone(), old, new, timestamp, headers, source }));
        }
        self.held_bytes = 0;
        taken.sort_unstable_by_key(|(rank, _)| *rank);
        let mut taken: Vec<_> = taken.into_iter().map(|(_, pending)| pending).collect();
        if let Some(log) = &mut self.log {
            for Pending { row, new, timestamp, .. } in &taken {
                let version = Version { value: new.as_ref().map(|new| new.value.clone()), timestamp: *timestamp };
                self.bytes += LOGGED_BYTES + version.bytes();
                log.push(Logged { row: row.clone(), version });
            }
        }
        // A write past the cache may have come in between: then the log must say that the row is gone.
        taken.retain(|pending| pending.old.is_some() || pending.new.is_some());
        taken
    }

    /// What goes to the changelog: each write, or the last version of each written row in the order of first writes.
    pub(super) fn for_each_logged(&self, mut visit: impl FnMut(&Bytes, &Version)) {
        match &self.log {
            Some(log) => log.iter().for_each(|logged| visit(&logged.row, &logged.version)),
            None => self.written().for_each(|(row, version)| visit(row, version)),
        }
    }

    /// The last version of each written row in the order of first writes.
    pub(super) fn written(&self) -> impl Iterator<Item = (&Bytes, &Version)> {
        self.rows.iter().filter(|(_, row)| row.written).map(|(id, row)| (id, &row.version))
    }

    /// Keeps row ids in order from here on.
    pub(super) fn sort(&mut self) {
        if self.sorted.is_none() {
            self.sorted = Some(self.rows.keys().cloned().collect());
        }
    }

    /// Row ids in order; [`Overlay::sort`] was called before.
    pub(super) fn sorted(&self) -> &BTreeSet<Bytes> {
        self.sorted.as_ref().expect("sorted before it is scanned")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(value: Option<&'static str>, timestamp: i64) -> Version {
        Version { value: value.map(|v| Bytes::from_static(v.as_bytes())), timestamp }
    }

    fn logged(overlay: &Overlay) -> Vec<(Bytes, Option<Bytes>)> {
        let mut out = Vec::new();
        overlay.for_each_logged(|row, version| out.push((row.clone(), version.value.clone())));
        out
    }

    #[test]
    fn deduplicated_rows_come_in_the_order_of_first_writes() {
        let mut overlay = Overlay::new(false);
        overlay.put("b".into(), version(Some("1"), 1));
        overlay.put("a".into(), version(Some("2"), 2));
        overlay.put("b".into(), version(None, 3));
        assert_eq!(logged(&overlay), [("b".into(), None), ("a".into(), Some("2".into()))]);
    }

    #[test]
    fn without_deduplication_each_write_and_each_flush_is_logged() {
        let mut overlay = Overlay::new(true);
        overlay.put("b".into(), version(Some("1"), 1));
        overlay.put_held("c".into(), version(Some("x"), 1), || None, Headers::none(), None);
        overlay.put_held("c".into(), version(Some("y"), 1), || None, Headers::none(), None);
        overlay.put("b".into(), version(None, 3));
        overlay.take_held();
        let expected = [("b".into(), Some("1".into())), ("b".into(), None), ("c".into(), Some("y".into()))];
        assert_eq!(logged(&overlay), expected);
    }

    #[test]
    fn held_updates_come_in_the_order_of_last_updates_and_once() {
        let mut overlay = Overlay::new(false);
        for (row, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            overlay.put_held(row.into(), version(Some(value), 1), || None, Headers::none(), None);
        }
        let rows: Vec<_> = overlay.take_held().into_iter().map(|p| (p.row, p.new.unwrap().value)).collect();
        assert_eq!(rows, [("b".into(), "2".into()), ("a".into(), "3".into())]);
        assert!(overlay.take_held().is_empty());
        assert_eq!(overlay.held_bytes(), 0);
    }

    #[test]
    fn a_row_made_and_deleted_between_flushes_leaves_no_trace_p64() {
        let mut overlay = Overlay::new(false);
        overlay.put_held("a".into(), version(Some("1"), 1), || None, Headers::none(), None);
        overlay.put_held("a".into(), version(None, 2), || None, Headers::none(), None);
        assert!(overlay.take_held().is_empty());
        assert!(logged(&overlay).is_empty());
    }

    #[test]
    fn a_deletion_after_a_write_past_the_cache_is_logged_though_not_forwarded() {
        let mut overlay = Overlay::new(true);
        overlay.put_held("a".into(), version(None, 1), || None, Headers::none(), None);
        overlay.put("a".into(), version(Some("1"), 2));
        overlay.put_held("a".into(), version(None, 3), || None, Headers::none(), None);
        assert!(overlay.take_held().is_empty());
        assert_eq!(logged(&overlay), [("a".into(), Some("1".into())), ("a".into(), None)]);
    }

    #[test]
    fn bytes_follow_the_rows() {
        let mut overlay = Overlay::new(false);
        overlay.put("a".into(), version(Some("1234"), 1));
        overlay.put("a".into(), version(Some("12"), 1));
        assert_eq!(overlay.bytes(), ROW_BYTES + 1 + 2);
        overlay.reset();
        assert_eq!(overlay.bytes(), 0);
    }
}
