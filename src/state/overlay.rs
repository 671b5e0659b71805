//! The first tier: what one transaction wrote, in the order in which it wrote it.

use super::{
    row::{Pending, Version},
    row_map::{Keyed, RowMap, hash},
    short_bytes::ShortBytes,
};
use crate::record::{Headers, NO_TIMESTAMP, RawRecord, SourceContext, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a row costs above bytes outside of its place: the place and its index entry.
const ROW_BYTES: usize = 112;
/// What a changelog record costs above bytes outside of its place while it waits for the commit.
const LOGGED_BYTES: usize = 100;
/// What an update held back costs above its headers.
const HELD_BYTES: usize = 160;

/// The update of a row that the record cache holds back.
struct Held {
    /// Place of the row.
    place: u32,
    old: Option<Version>,
    headers: Headers,
    source: Option<SourceContext>,
    input: Option<Arc<RawRecord>>,
    /// Rank of the last update among all of the transaction.
    rank: u64,
    bytes: usize,
}

struct OverlayRow {
    id: ShortBytes,
    version: Version,
    /// False while only the record cache knows of the row.
    written: bool,
    /// Place among what is held back.
    held: Option<u32>,
}

impl Keyed for OverlayRow {
    fn id(&self) -> &[u8] {
        &self.id
    }
}

/// A write in the form and order of the changelog.
struct Logged {
    row: ShortBytes,
    version: Version,
}

/// A row to be written, and where it is.
pub(super) struct At {
    pub(super) row: ShortBytes,
    pub(super) hash: u64,
    /// Its place in the overlay, if it is there.
    pub(super) place: Option<u32>,
}

/// The rows that one transaction wrote.
pub(super) struct Overlay {
    rows: RowMap<OverlayRow>,
    held: Vec<Held>,
    held_bytes: usize,
    ranks: u64,
    /// Every single write, when the changelog shall get them all.
    log: Option<Vec<Logged>>,
    /// Places of rows in the order of writes, when the changelog shall get rows in the order of their last ones.
    order: Option<Vec<u32>>,
    /// Headers of those changelog records that have some, by their place in `log`, or else by the row's place.
    headers: BTreeMap<usize, Headers>,
    bytes: usize,
    /// Stream time of the store after the last write of this transaction.
    pub(super) stream_time: Timestamp,
    /// Changelog records made of it; counted when it is drained.
    pub(super) drained: u64,
}

impl Overlay {
    pub(super) fn new(log_each_write: bool) -> Self {
        Self {
            rows: RowMap::default(),
            held: Vec::new(),
            held_bytes: 0,
            ranks: 0,
            log: log_each_write.then(Vec::new),
            order: None,
            headers: BTreeMap::new(),
            bytes: 0,
            stream_time: NO_TIMESTAMP,
            drained: 0,
        }
    }

    /// Gives the changelog rows in the order of their last writes: of several rows that share a changelog key, compaction
    /// keeps the last one.
    pub(super) fn in_order_of_last_writes(self) -> Self {
        Self { order: Some(Vec::new()), ..self }
    }

    /// Empties it for another transaction. Memory for rows, and the wish for order, stay.
    pub(super) fn reset(&mut self) {
        self.rows.clear();
        if let Some(log) = &mut self.log {
            log.clear();
        }
        if let Some(order) = &mut self.order {
            order.clear();
        }
        self.headers.clear();
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

    /// The place of a row.
    pub(super) fn find(&self, hash: u64, row: &[u8]) -> Option<u32> {
        self.rows.find(hash, row)
    }

    /// The version of the row at a place.
    ///
    /// # Panics
    /// When there is none: an overlay never loses a row.
    pub(super) fn at(&self, place: u32) -> &Version {
        &self.row(place).version
    }

    fn row(&self, place: u32) -> &OverlayRow {
        self.rows.at(place).expect("an overlay never loses a row")
    }

    fn row_mut(&mut self, place: u32) -> &mut OverlayRow {
        self.rows.at_mut(place).expect("an overlay never loses a row")
    }

    pub(super) fn get(&self, hash: u64, row: &[u8]) -> Option<&Version> {
        Some(self.at(self.find(hash, row)?))
    }

    /// True when an update of the row is held back: what was forwarded before is known already.
    pub(super) fn holds(&self, place: u32) -> bool {
        self.row(place).held.is_some()
    }

    /// A write that takes effect at once.
    pub(super) fn put(&mut self, at: At, version: Version) {
        if let Some(log) = &mut self.log {
            self.bytes += LOGGED_BYTES + at.row.heap_bytes() + version.heap_bytes();
            log.push(Logged { row: at.row.clone(), version: version.clone() });
        }
        let place = self.set(at, version);
        self.row_mut(place).written = true;
        if let Some(order) = &mut self.order {
            order.push(place);
            self.bytes += size_of::<u32>();
        }
    }

    /// Gives headers to the changelog record of `row`, which was the last to be written.
    pub(super) fn set_headers(&mut self, row: &[u8], headers: &Headers) {
        if headers.is_empty() && self.headers.is_empty() {
            return;
        }
        let place = match &self.log {
            Some(log) => log.len().checked_sub(1),
            None => self.find(hash(row), row).map(|place| place as usize),
        };
        let Some(place) = place else { return };
        self.bytes += headers.bytes();
        let before = match headers.is_empty() {
            true => self.headers.remove(&place),
            false => self.headers.insert(place, headers.clone()),
        };
        self.bytes -= before.map_or(0, |before| before.bytes());
    }

    /// A write whose forward waits. `old` is what the row was before; it counts only for a row not held back yet.
    pub(super) fn put_held(
        &mut self,
        at: At,
        version: Version,
        old: Option<Version>,
        headers: &Headers,
        source: Option<&SourceContext>,
    ) {
        let bytes = HELD_BYTES + headers.bytes();
        let rank = self.ranks;
        self.ranks += 1;
        let place = self.set(at, version);
        if let Some(held) = self.row(place).held {
            let held = &mut self.held[held as usize];
            self.held_bytes = self.held_bytes + bytes - held.bytes;
            held.headers.clone_from(headers);
            held.source.clone_from(&source.cloned());
            (held.rank, held.bytes, held.input) = (rank, bytes, None);
        } else {
            let at = u32::try_from(self.held.len()).expect("a transaction has less than 2^32 rows");
            self.row_mut(place).held = Some(at);
            self.held.push(Held {
                place,
                old,
                headers: headers.clone(),
                source: source.cloned(),
                input: None,
                rank,
                bytes,
            });
            self.held_bytes += bytes;
        }
    }

    /// Keeps the input record of the last update of a row that is held back.
    pub(super) fn hold_input(&mut self, row: &[u8], input: Arc<RawRecord>) {
        let place = self.find(hash(row), row).and_then(|place| self.row(place).held);
        let Some(held) = place.and_then(|place| self.held.get_mut(place as usize)) else { return };
        let bytes = input.bytes();
        (held.bytes, held.input) = (held.bytes + bytes, Some(input));
        self.held_bytes += bytes;
    }

    fn set(&mut self, At { row, hash, place }: At, version: Version) -> u32 {
        let new = version.heap_bytes();
        if let Some(place) = place {
            let old = std::mem::replace(&mut self.row_mut(place).version, version);
            self.bytes = self.bytes + new - old.heap_bytes();
            return place;
        }
        self.bytes += ROW_BYTES + row.heap_bytes() + new;
        self.rows.insert(hash, OverlayRow { id: row, version, written: false, held: None })
    }

    /// Takes what is held back, in the order of last updates. From here on these rows are written (P-62); one that
    /// was made and deleted meanwhile is as if it had never been (P-64), unless `all` are to be written.
    pub(super) fn take_held(&mut self, all: bool) -> Vec<Pending> {
        let mut held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        // Mostly in order already: only rows updated twice are out of it.
        held.sort_by_key(|held| held.rank);
        let mut taken = Vec::with_capacity(held.len());
        for Held { place, old, headers, source, input, .. } in held.drain(..) {
            let entry = self.rows.at_mut(place).expect("an overlay never loses a row");
            let row = &entry.id;
            entry.held = None;
            let (old, new) = (old.and_then(|old| old.row()), entry.version.row());
            if old.is_none() && new.is_none() && !entry.written && !all {
                continue;
            }
            entry.written = true;
            if let Some(log) = &mut self.log {
                self.bytes += LOGGED_BYTES + row.heap_bytes() + entry.version.heap_bytes();
                log.push(Logged { row: row.clone(), version: entry.version.clone() });
            }
            // A write past the cache may have come in between: then the log must say that the row is gone.
            if old.is_some() || new.is_some() {
                let timestamp = entry.version.timestamp;
                taken.push(Pending { row: row.clone(), old, new, timestamp, headers, source, input });
            }
        }
        // Its memory stays.
        self.held = held;
        taken
    }

    /// What goes to the changelog: each write, or the last version of each written row in the order of first writes, or of
    /// last ones where that was asked for.
    pub(super) fn for_each_logged(&self, mut visit: impl FnMut(&ShortBytes, &Version, Option<&Headers>)) {
        let headers = |place| if self.headers.is_empty() { None } else { self.headers.get(&place) };
        match &self.log {
            Some(log) => {
                log.iter().enumerate().for_each(|(at, logged)| visit(&logged.row, &logged.version, headers(at)));
            }
            None if self.order.is_some() => {
                let mut seen = BTreeSet::new();
                let writes = self.order.iter().flatten().rev();
                let last: Vec<u32> = writes.copied().filter(|place| seen.insert(*place)).collect();
                for place in last.into_iter().rev() {
                    let row = self.row(place);
                    visit(&row.id, &row.version, headers(place as usize));
                }
            }
            None => {
                // An overlay never loses a row, so that a row's place is its rank.
                let written = self.rows.iter().enumerate().filter(|(_, row)| row.written);
                written.for_each(|(at, row)| visit(&row.id, &row.version, headers(at)));
            }
        }
    }

    /// True when the changelog gets the last version of each row, false when it gets each write.
    pub(super) fn logs_last_versions(&self) -> bool {
        self.log.is_none()
    }

    /// Id and last version of each written row, in the order of first writes.
    pub(super) fn written(&self) -> impl Iterator<Item = (&ShortBytes, &Version)> {
        self.rows.iter().filter(|row| row.written).map(|row| (&row.id, &row.version))
    }

    /// Keeps row ids in order from here on.
    pub(super) fn sort(&mut self) {
        self.rows.sort();
    }

    /// Row ids in order; [`Overlay::sort`] was called before.
    pub(super) fn sorted(&self) -> &BTreeSet<ShortBytes> {
        self.rows.sorted()
    }

    /// The version of a row that [`Overlay::sorted`] gave.
    pub(super) fn version_of(&self, id: &[u8]) -> &Version {
        &self.rows.of(id).version
    }

    /// Where a row is to be written.
    pub(super) fn locate(&self, row: ShortBytes) -> At {
        let hash = hash(&row);
        At { hash, place: self.find(hash, &row), row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn version(value: Option<&'static str>, timestamp: i64) -> Version {
        Version { value: value.map(Into::into), timestamp }
    }

    fn hold(overlay: &mut Overlay, row: &str, version: Version) {
        let at = overlay.locate(row.into());
        overlay.put_held(at, version, None, Headers::none(), None);
    }

    fn put(overlay: &mut Overlay, row: &str, version: Version) {
        let at = overlay.locate(row.into());
        overlay.put(at, version);
    }

    fn logged(overlay: &Overlay) -> Vec<(ShortBytes, Option<ShortBytes>)> {
        let mut out = Vec::new();
        overlay.for_each_logged(|row, version, _| out.push((row.clone(), version.value.clone())));
        out
    }

    #[test]
    fn deduplicated_rows_come_in_the_order_of_first_writes() {
        let mut overlay = Overlay::new(false);
        put(&mut overlay, "b", version(Some("1"), 1));
        put(&mut overlay, "a", version(Some("2"), 2));
        put(&mut overlay, "b", version(None, 3));
        assert_eq!(logged(&overlay), [("b".into(), None), ("a".into(), Some("2".into()))]);
    }

    #[test]
    fn rows_are_logged_in_the_order_of_last_writes_where_that_is_asked_for() {
        let mut overlay = Overlay::new(false).in_order_of_last_writes();
        for (row, value) in [("b", "1"), ("a", "2"), ("c", "3"), ("b", "4")] {
            put(&mut overlay, row, version(Some(value), 1));
        }
        let expected = [("a".into(), Some("2".into())), ("c".into(), Some("3".into())), ("b".into(), Some("4".into()))];
        assert_eq!(logged(&overlay), expected);
        overlay.reset();
        assert_eq!((logged(&overlay), overlay.bytes()), (vec![], 0));
    }

    #[test]
    fn without_deduplication_each_write_and_each_flush_is_logged() {
        let mut overlay = Overlay::new(true);
        put(&mut overlay, "b", version(Some("1"), 1));
        hold(&mut overlay, "c", version(Some("x"), 1));
        hold(&mut overlay, "c", version(Some("y"), 1));
        put(&mut overlay, "b", version(None, 3));
        overlay.take_held(false);
        let expected = [("b".into(), Some("1".into())), ("b".into(), None), ("c".into(), Some("y".into()))];
        assert_eq!(logged(&overlay), expected);
    }

    #[test]
    fn held_updates_come_in_the_order_of_last_updates_and_once() {
        let mut overlay = Overlay::new(false);
        for (row, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            hold(&mut overlay, row, version(Some(value), 1));
        }
        let rows: Vec<_> = overlay.take_held(false).into_iter().map(|p| (p.row, p.new.unwrap().value)).collect();
        assert_eq!(rows, [("b".into(), "2".into()), ("a".into(), "3".into())]);
        assert!(overlay.take_held(false).is_empty());
        assert_eq!(overlay.held_bytes(), 0);
    }

    #[test]
    fn the_input_of_the_last_update_is_held_and_counted_until_it_is_taken() {
        let mut overlay = Overlay::new(false);
        let input = |value: &'static str| {
            let (key, value) = (None, Some(Bytes::from_static(value.as_bytes())));
            Arc::new(RawRecord { offset: 7, timestamp: 1, key, value, headers: Headers::default() })
        };
        hold(&mut overlay, "a", version(Some("1"), 1));
        let plain = overlay.held_bytes();
        overlay.hold_input(b"a", input("a long record"));
        assert_eq!(overlay.held_bytes(), plain + input("a long record").bytes());
        hold(&mut overlay, "a", version(Some("2"), 2));
        assert_eq!(overlay.held_bytes(), plain);
        overlay.hold_input(b"a", input("short"));
        overlay.hold_input(b"not held", input("short"));
        let taken = overlay.take_held(false);
        assert_eq!(taken[0].input.as_ref().and_then(|input| input.value.clone()), Some("short".into()));
        assert_eq!(overlay.held_bytes(), 0);
    }

    #[test]
    fn a_row_made_and_deleted_between_flushes_leaves_no_trace_p64() {
        let mut overlay = Overlay::new(false);
        hold(&mut overlay, "a", version(Some("1"), 1));
        hold(&mut overlay, "a", version(None, 2));
        assert!(overlay.take_held(false).is_empty());
        assert!(logged(&overlay).is_empty());
        hold(&mut overlay, "a", version(None, 3));
        overlay.take_held(true);
        assert_eq!(logged(&overlay), [("a".into(), None)]);
    }

    #[test]
    fn a_deletion_after_a_write_past_the_cache_is_logged_though_not_forwarded() {
        let mut overlay = Overlay::new(true);
        hold(&mut overlay, "a", version(None, 1));
        put(&mut overlay, "a", version(Some("1"), 2));
        hold(&mut overlay, "a", version(None, 3));
        assert!(overlay.take_held(false).is_empty());
        assert_eq!(logged(&overlay), [("a".into(), Some("1".into())), ("a".into(), None)]);
    }

    #[test]
    fn headers_go_with_the_write_that_had_them() {
        for each_write in [true, false] {
            let mut overlay = Overlay::new(each_write);
            let named: Headers = [("h".to_owned(), None)].into_iter().collect();
            for (row, headers) in [("a", Headers::none()), ("b", &named), ("c", &named), ("c", Headers::none())] {
                put(&mut overlay, row, version(Some("1"), 1));
                overlay.set_headers(row.as_bytes(), headers);
            }
            let mut seen = Vec::new();
            overlay.for_each_logged(|_, _, headers| seen.push(headers.cloned()));
            let wanted = if each_write {
                vec![None, Some(named.clone()), Some(named), None]
            } else {
                vec![None, Some(named), None]
            };
            assert_eq!(seen, wanted);
            overlay.reset();
            assert_eq!(overlay.bytes(), 0);
        }
    }

    #[test]
    fn bytes_follow_the_rows() {
        let mut overlay = Overlay::new(false);
        let long = ["x".repeat(100), "x".repeat(50)].map(|text| ShortBytes::from(&*text));
        for value in &long {
            put(&mut overlay, "a", Version { value: Some(value.clone()), timestamp: 1 });
        }
        let long = long[1].heap_bytes();
        assert_eq!(overlay.bytes(), ROW_BYTES + long);
        overlay.reset();
        assert_eq!(overlay.bytes(), 0);
    }
}
