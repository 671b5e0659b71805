//! The second tier: committed rows, whether the backend has them already or not.

use super::{
    keys::split_window_row,
    row::{Version, VersionRef},
    segment::{Cost, Frozen, Segment},
    short_bytes::ShortBytes,
};
use crate::record::Timestamp;
use std::{collections::BTreeMap, ops::Bound};

/// Committed rows in segments of window starts. A segment below the cut goes as a whole.
pub(super) struct Table {
    segments: BTreeMap<i64, Segment>,
    /// Milliseconds of window start that one segment takes; `None` puts all rows in one.
    interval: Option<i64>,
    bytes: Cost,
    /// Saved versions that [`Flaw::SavedReadStale`](super::Flaw) brings back.
    stale: BTreeMap<Vec<u8>, Version>,
}

impl Table {
    pub(super) fn new(interval: Option<i64>) -> Self {
        Self {
            segments: BTreeMap::new(),
            interval: interval.map(|interval| interval.max(1)),
            bytes: Cost::default(),
            stale: BTreeMap::new(),
        }
    }

    pub(super) fn bytes(&self) -> Cost {
        self.bytes
    }

    fn segment_of(&self, id: &[u8]) -> i64 {
        match (self.interval, split_window_row(id)) {
            (Some(interval), Some((start, _))) => start.div_euclid(interval),
            _ => 0,
        }
    }

    /// Calls `change` on the segment of a row, made if need be, and keeps the sums right.
    fn with_segment(&mut self, id: &[u8], change: impl FnOnce(&mut Segment)) {
        let segment = self.segments.entry(self.segment_of(id)).or_default();
        let before = segment.bytes();
        change(segment);
        self.bytes.take(before);
        self.bytes.add(segment.bytes());
    }

    /// Calls `change` on all segments, the oldest first, and keeps the sums right.
    fn each_segment(&mut self, mut change: impl FnMut(&mut Segment, Cost)) {
        for segment in self.segments.values_mut() {
            let before = segment.bytes();
            change(segment, self.bytes);
            self.bytes.take(before);
            self.bytes.add(segment.bytes());
        }
    }

    pub(super) fn get(&mut self, hash: u64, id: &[u8]) -> Option<VersionRef<'_>> {
        let segment = self.segment_of(id);
        self.segments.get_mut(&segment)?.touch(hash, id)
    }

    /// A newer committed version of a row. `keep_stale` plants a bug.
    pub(super) fn write(&mut self, hash: u64, id: &[u8], version: VersionRef<'_>, keep_stale: bool) {
        if keep_stale
            && let Some(segment) = self.segments.get(&self.segment_of(id))
            && let Some(saved) = segment.saved_version(hash, id)
        {
            self.stale.insert(id.to_vec(), saved);
        }
        self.with_segment(id, |s| s.write(hash, id, version));
    }

    /// Forgets a row that the backend can't have either.
    pub(super) fn remove(&mut self, hash: u64, id: &[u8]) {
        if self.segments.contains_key(&self.segment_of(id)) {
            self.with_segment(id, |s| s.forget(hash, id));
        }
    }

    /// Adds what the backend said of a row.
    pub(super) fn remember(&mut self, hash: u64, id: &[u8], version: VersionRef<'_>) {
        self.with_segment(id, |s| s.remember(hash, id, version));
    }

    /// Unsaved rows in order of row id, saving from now on; those with a start below `cut` are forgotten instead.
    pub(super) fn freeze(&mut self, cut: Option<Timestamp>) -> Frozen {
        let mut rows = Vec::new();
        self.each_segment(|segment, _| segment.freeze(&mut rows, |id| is_below(id, cut)));
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        rows
    }

    /// The rows of the last [`Table::freeze`] are saved, or unsaved again. Rows written since stay unsaved.
    pub(super) fn persisted(&mut self, durable: bool) {
        let mut stale = std::mem::take(&mut self.stale);
        self.each_segment(|segment, _| segment.persisted(durable, |id| stale.remove(id)));
        self.stale = stale;
    }

    /// Drops the segments all of whose rows start below `cut`.
    pub(super) fn drop_below(&mut self, cut: Timestamp) {
        let Some(interval) = self.interval else { return };
        while let Some(first) = self.segments.first_entry() {
            if first.key().saturating_add(1).saturating_mul(interval) > cut {
                break;
            }
            let bytes = first.remove().bytes();
            self.bytes.take(bytes);
        }
    }

    /// Drops saved rows until all take at most `bytes_max`: those not used since the last look first, and of these the
    /// ones of the oldest windows.
    pub(super) fn evict(&mut self, bytes_max: usize) {
        for spare_used in [true, false] {
            self.each_segment(|segment, total| segment.evict(total.all.saturating_sub(bytes_max), spare_used));
        }
        self.segments.retain(|_, segment| !segment.is_empty());
    }

    /// Rows with `from <= id < to` in order. Segments it touches keep their order from here on.
    pub(super) fn sort(&mut self, from: &[u8], to: Option<&[u8]>) {
        let range = self.segment_range(from, to);
        for (_, segment) in self.segments.range_mut(range) {
            self.bytes.take(segment.bytes());
            segment.sort();
            self.bytes.add(segment.bytes());
        }
    }

    /// Rows with `from <= id < to`, ascending; [`Table::sort`] was called for the same range before.
    pub(super) fn range<'a>(
        &'a self,
        from: &'a [u8],
        to: Option<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'a ShortBytes, VersionRef<'a>)> {
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        self.segments.range(self.segment_range(from, to)).flat_map(move |(_, segment)| {
            segment.sorted().range::<[u8], _>(bounds).map(move |id| (id, segment.version_of(id)))
        })
    }

    fn segment_range(&self, from: &[u8], to: Option<&[u8]>) -> (Bound<i64>, Bound<i64>) {
        let bound = |id: &[u8]| match (self.interval, split_window_row(id)) {
            (Some(_), Some(_)) => Bound::Included(self.segment_of(id)),
            _ => Bound::Unbounded,
        };
        (bound(from), to.map_or(Bound::Unbounded, bound))
    }
}

/// True when a window row's start is below the cut.
pub(super) fn is_below(id: &[u8], cut: Option<Timestamp>) -> bool {
    match (cut, split_window_row(id)) {
        (Some(cut), Some((start, _))) => start < cut,
        _ => false,
    }
}
