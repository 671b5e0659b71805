//! The second tier: committed rows, whether the backend has them already or not.

use super::{
    keys::split_window_row,
    row::Version,
    segment::{Cost, Progress, Segment},
};
use crate::record::Timestamp;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

/// Committed rows in segments of window starts. A segment below the cut goes as a whole.
pub(super) struct Table {
    segments: BTreeMap<i64, Segment>,
    /// Milliseconds of window start that one segment takes; `None` puts all rows in one.
    interval: Option<i64>,
    /// Ids of rows that may be unsaved.
    unsaved: Vec<Bytes>,
    /// Ids of the rows in the batch that is being persisted.
    saving: Vec<Bytes>,
    /// Ids of rows that may be evicted, those listed first first.
    saved: VecDeque<Bytes>,
    bytes: Cost,
    /// Saved versions that [`Flaw::SavedReadStale`](super::Flaw) brings back.
    stale: BTreeMap<Bytes, Version>,
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

    /// Calls `change` on the segment of a row, made if need be, and keeps the sums right.
    fn with_segment<R>(&mut self, id: &[u8], change: impl FnOnce(&mut Segment) -> R) -> R {
        let segment = self.segments.entry(self.segment_of(id)).or_default();
        let before = segment.bytes();
        let result = change(segment);
        let after = segment.bytes();
        self.bytes.take(before);
        self.bytes.add(after);
        result
    }

    pub(super) fn get(&mut self, id: &[u8]) -> Option<&Version> {
        let segment = self.segment_of(id);
        Some(&self.segments.get_mut(&segment)?.touch(id)?.version)
    }

    /// A newer committed version of a row. `keep_stale` plants a bug.
    pub(super) fn write(&mut self, id: Bytes, version: Version, keep_stale: bool) {
        if keep_stale
            && let Some(row) = self.segments.get(&self.segment_of(&id)).and_then(|segment| segment.get(&id))
            && row.progress == Progress::Saved
        {
            self.stale.insert(id.clone(), row.version.clone());
        }
        let before = self.with_segment(&id, |segment| segment.set(id.clone(), version, Progress::Unsaved));
        if before != Some(Progress::Unsaved) {
            self.unsaved.push(id);
        }
    }

    /// Forgets a row that the backend can't have either.
    pub(super) fn remove(&mut self, id: &[u8]) {
        self.with_segment(id, |segment| segment.remove(id));
    }

    /// Adds what the backend said of a row.
    pub(super) fn remember(&mut self, id: Bytes, version: Version) {
        self.with_segment(&id, |segment| segment.set(id.clone(), version, Progress::Saved));
        self.list(&id);
    }

    fn list(&mut self, id: &Bytes) {
        let listed =
            self.with_segment(id, |segment| segment.change(id, |row| std::mem::replace(&mut row.listed, true)));
        if listed == Some(false) {
            self.saved.push_back(id.clone());
        }
    }

    /// Unsaved rows in order of row id, saving from now on; those with a start below `cut` are forgotten instead.
    pub(super) fn freeze(&mut self, cut: Option<Timestamp>) -> Vec<(Bytes, Option<Bytes>)> {
        debug_assert!(self.saving.is_empty(), "one batch at a time");
        let mut ids = std::mem::take(&mut self.unsaved);
        ids.sort_unstable();
        ids.dedup();
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            if is_below(&id, cut) {
                self.remove(&id);
                continue;
            }
            let stored = self.with_segment(&id, |segment| {
                segment.change(&id, |row| {
                    (row.progress == Progress::Unsaved).then(|| {
                        row.progress = Progress::Saving;
                        row.version.stored()
                    })
                })
            });
            if let Some(Some(stored)) = stored {
                self.saving.push(id.clone());
                rows.push((id, stored));
            }
        }
        rows
    }

    /// The rows of the last [`Table::freeze`] are saved, or unsaved again. Rows written since stay unsaved.
    pub(super) fn persisted(&mut self, durable: bool) {
        for id in std::mem::take(&mut self.saving) {
            let progress = if durable { Progress::Saved } else { Progress::Unsaved };
            let stale = if durable { self.stale.remove(&id) } else { None };
            let changed = self.with_segment(&id, |segment| {
                segment.change(&id, |row| {
                    let was_saving = row.progress == Progress::Saving;
                    if was_saving {
                        row.progress = progress;
                        row.version = stale.unwrap_or_else(|| row.version.clone());
                    }
                    was_saving
                })
            });
            match (changed, durable) {
                (Some(true), true) => self.list(&id),
                (Some(true), false) => self.unsaved.push(id),
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
            && let Some(id) = self.saved.pop_front()
        {
            let stays = self.with_segment(&id, |segment| {
                let stays = segment.change(&id, |row| {
                    let saved = row.progress == Progress::Saved;
                    let stays = saved && std::mem::take(&mut row.used) && second_chances > 0;
                    row.listed = stays;
                    (saved, stays)
                });
                match stays {
                    Some((true, false)) => segment.remove(&id),
                    Some((_, true)) => return true,
                    _ => {}
                }
                false
            });
            if stays {
                second_chances -= 1;
                self.saved.push_back(id);
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
    ) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Version)> {
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        self.segments.range(self.segment_range(from, to)).flat_map(move |(_, segment)| {
            segment.sorted().range::<[u8], _>(bounds).map(move |id| {
                let row = segment.get(id).expect("order and rows agree");
                (id, &row.version)
            })
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
