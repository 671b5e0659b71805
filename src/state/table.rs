//! The second tier: committed rows, whether the backend has them already or not.

use super::{
    keys::split_window_row,
    row::Version,
    segment::{Cost, Progress, Segment, TableRow},
    short_bytes::ShortBytes,
};
use crate::record::Timestamp;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

/// A row's segment and its place there. Another row may have taken the place since.
type Place = (i64, u32);

/// Committed rows in segments of window starts. A segment below the cut goes as a whole.
pub(super) struct Table {
    segments: BTreeMap<i64, Segment>,
    /// Milliseconds of window start that one segment takes; `None` puts all rows in one.
    interval: Option<i64>,
    /// Rows that may be unsaved.
    unsaved: Vec<Place>,
    /// Rows in the batch that is being persisted.
    saving: Vec<Place>,
    /// Rows that may be evicted, those listed first first.
    saved: VecDeque<Place>,
    bytes: Cost,
    /// Saved versions that [`Flaw::SavedReadStale`](super::Flaw) brings back.
    stale: BTreeMap<Place, Version>,
}

impl Table {
    pub(super) fn new(interval: Option<i64>) -> Self {
        Self {
            segments: BTreeMap::new(),
            interval: interval.map(|interval| interval.max(1)),
            unsaved: Vec::new(),
            saving: Vec::new(),
            saved: VecDeque::new(),
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

    /// Calls `change` on a segment, made if need be, and keeps the sums right.
    fn with_segment<R>(&mut self, segment: i64, change: impl FnOnce(&mut Segment) -> R) -> R {
        let segment = self.segments.entry(segment).or_default();
        let before = segment.bytes();
        let result = change(segment);
        let after = segment.bytes();
        self.bytes.take(before);
        self.bytes.add(after);
        result
    }

    /// Calls `change` on a row, if there is one at that place.
    fn change<R>(&mut self, at: Place, change: impl FnOnce(&ShortBytes, &mut TableRow) -> R) -> Option<R> {
        self.segments.contains_key(&at.0).then(|| self.with_segment(at.0, |s| s.change(at.1, change)))?
    }

    pub(super) fn get(&mut self, hash: u64, id: &[u8]) -> Option<&Version> {
        let segment = self.segment_of(id);
        Some(&self.segments.get_mut(&segment)?.touch(hash, id)?.version)
    }

    /// A newer committed version of a row. `keep_stale` plants a bug.
    pub(super) fn write(&mut self, hash: u64, id: &[u8], version: Version, keep_stale: bool) {
        let segment = self.segment_of(id);
        let (place, before) = self.with_segment(segment, |s| s.set(hash, id, version, Progress::Unsaved));
        match before {
            Some((Progress::Unsaved, _)) => return,
            Some((Progress::Saved, version)) if keep_stale => {
                self.stale.insert((segment, place), version);
            }
            _ => {}
        }
        self.unsaved.push((segment, place));
    }

    /// Forgets a row that the backend can't have either.
    pub(super) fn remove(&mut self, hash: u64, id: &[u8]) {
        let segment = self.segment_of(id);
        if let Some(place) = self.segments.get(&segment).and_then(|s| s.find(hash, id)) {
            self.with_segment(segment, |s| s.remove(place));
        }
    }

    /// Adds what the backend said of a row.
    pub(super) fn remember(&mut self, hash: u64, id: &[u8], version: Version) {
        let segment = self.segment_of(id);
        let (place, _) = self.with_segment(segment, |s| s.set(hash, id, version, Progress::Saved));
        self.list((segment, place));
    }

    fn list(&mut self, at: Place) {
        if self.change(at, |_, row| std::mem::replace(&mut row.listed, true)) == Some(false) {
            self.saved.push_back(at);
        }
    }

    /// Unsaved rows in order of row id, saving from now on; those with a start below `cut` are forgotten instead.
    pub(super) fn freeze(&mut self, cut: Option<Timestamp>) -> Vec<(ShortBytes, Option<ShortBytes>)> {
        debug_assert!(self.saving.is_empty(), "one batch at a time");
        let places = std::mem::take(&mut self.unsaved);
        let mut rows = Vec::with_capacity(places.len());
        for at in places {
            let frozen = self.change(at, |id, row| {
                let unsaved = row.progress == Progress::Unsaved;
                let expired = is_below(id, cut);
                if unsaved && !expired {
                    row.progress = Progress::Saving;
                    rows.push((id.clone(), row.version.stored()));
                }
                (unsaved, expired)
            });
            match frozen {
                Some((true, true)) => self.with_segment(at.0, |s| s.remove(at.1)),
                Some((true, false)) => self.saving.push(at),
                _ => {}
            }
        }
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        rows
    }

    /// The rows of the last [`Table::freeze`] are saved, or unsaved again. Rows written since stay unsaved.
    pub(super) fn persisted(&mut self, durable: bool) {
        for at in std::mem::take(&mut self.saving) {
            let progress = if durable { Progress::Saved } else { Progress::Unsaved };
            let stale = if durable { self.stale.remove(&at) } else { None };
            let changed = self.change(at, |_, row| {
                let was_saving = row.progress == Progress::Saving;
                if was_saving {
                    row.progress = progress;
                    if let Some(stale) = stale {
                        row.version = stale;
                    }
                }
                was_saving
            });
            match (changed, durable) {
                (Some(true), true) => self.list(at),
                (Some(true), false) => self.unsaved.push(at),
                _ => {}
            }
        }
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

    /// Drops saved rows until all take at most `bytes_max`: those not used since the last look first.
    pub(super) fn evict(&mut self, bytes_max: usize) {
        let mut second_chances = self.saved.len();
        while self.bytes.all > bytes_max
            && let Some(at) = self.saved.pop_front()
        {
            let stays = self.change(at, |_, row| {
                let saved = row.progress == Progress::Saved;
                let stays = saved && std::mem::take(&mut row.used) && second_chances > 0;
                row.listed = stays;
                (saved, stays)
            });
            match stays {
                Some((true, false)) => self.with_segment(at.0, |s| s.remove(at.1)),
                Some((_, true)) => {
                    second_chances -= 1;
                    self.saved.push_back(at);
                }
                _ => {}
            }
        }
        self.segments.retain(|_, segment| !segment.is_empty());
    }

    /// Rows with `from <= id < to` in order. Segments it touches keep their order from here on.
    pub(super) fn sort(&mut self, from: &[u8], to: Option<&[u8]>) {
        let range = self.segment_range(from, to);
        for (_, segment) in self.segments.range_mut(range) {
            segment.sort();
        }
    }

    /// Rows with `from <= id < to`, ascending; [`Table::sort`] was called for the same range before.
    pub(super) fn range<'a>(
        &'a self,
        from: &'a [u8],
        to: Option<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'a ShortBytes, &'a Version)> {
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
