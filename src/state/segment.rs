//! Rows of the table that expire together.

use super::{
    packed::{PackedRow, Progress},
    row::{Version, VersionRef},
    row_map::{Keyed as _, RowMap},
    short_bytes::ShortBytes,
};
use std::collections::{BTreeSet, VecDeque};

/// What a row costs above bytes outside of its place: the place, its index entry, and its entries in lists.
const ROW_BYTES: usize = 84;

/// What a row id costs where ids are kept in order: its place in nodes that are two thirds full.
const ORDERED_BYTES: usize = 48;

/// The difference that a change makes to the sizes of a segment and of its table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// All rows.
    pub(super) all: usize,
    /// Rows that are not saved.
    pub(super) unsaved: usize,
}

/// Rows whose windows start in one interval; for a store that doesn't expire, all rows.
#[derive(Default)]
pub(super) struct Segment {
    rows: RowMap<PackedRow>,
    bytes: Cost,
    /// Places of rows that may be unsaved. Another row may have taken the place since, here and below.
    unsaved: Vec<u32>,
    /// Places of rows in the batch that is being persisted.
    saving: Vec<u32>,
    /// Places of rows that may be evicted, those listed first first.
    saved: VecDeque<u32>,
    /// Row ids are kept in order.
    ordered: bool,
}

/// Rows on their way to the backend: id and stored form, `None` for a deletion.
pub(super) type Frozen = Vec<(ShortBytes, Option<ShortBytes>)>;

fn cost(row: &PackedRow, ordered: bool) -> Cost {
    let order = if ordered { ORDERED_BYTES + ShortBytes::heap_bytes_of(row.id()) } else { 0 };
    let all = ROW_BYTES + row.heap_bytes() + order;
    Cost { all, unsaved: if row.progress == Progress::Saved { 0 } else { all } }
}

impl Segment {
    pub(super) fn bytes(&self) -> Cost {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Finds a row and marks it as used.
    pub(super) fn touch(&mut self, hash: u64, id: &[u8]) -> Option<VersionRef<'_>> {
        let place = self.rows.find(hash, id)?;
        let row = self.rows.at_mut(place)?;
        row.used = true;
        Some(row.version())
    }

    /// Changes the row at a place through `change`, if there is one.
    fn change<R>(&mut self, place: u32, change: impl FnOnce(&mut PackedRow) -> R) -> Option<R> {
        let row = self.rows.at_mut(place)?;
        self.bytes.take(cost(row, self.ordered));
        let result = change(row);
        self.bytes.add(cost(row, self.ordered));
        Some(result)
    }

    /// Sets a row. Gives its place, and what it was before.
    fn set(&mut self, hash: u64, id: &[u8], version: VersionRef<'_>, progress: Progress) -> (u32, Option<Progress>) {
        if let Some(place) = self.rows.find(hash, id) {
            let before = self.change(place, |row| {
                row.used = true;
                row.set(version);
                std::mem::replace(&mut row.progress, progress)
            });
            return (place, before);
        }
        let row = PackedRow::new(id, version, progress);
        self.bytes.add(cost(&row, self.ordered));
        (self.rows.insert(hash, row), None)
    }

    /// A newer committed version of a row.
    pub(super) fn write(&mut self, hash: u64, id: &[u8], version: VersionRef<'_>) {
        let (place, before) = self.set(hash, id, version, Progress::Unsaved);
        if before != Some(Progress::Unsaved) {
            self.unsaved.push(place);
        }
    }

    /// A row of which the backend said this.
    pub(super) fn remember(&mut self, hash: u64, id: &[u8], version: VersionRef<'_>) {
        let (place, _) = self.set(hash, id, version, Progress::Saved);
        self.list(place);
    }

    /// The version of a row that is saved.
    pub(super) fn saved_version(&self, hash: u64, id: &[u8]) -> Option<Version> {
        let row = self.rows.at(self.rows.find(hash, id)?)?;
        (row.progress == Progress::Saved).then(|| row.version().to_version())
    }

    /// Forgets a row.
    pub(super) fn forget(&mut self, hash: u64, id: &[u8]) {
        if let Some(place) = self.rows.find(hash, id) {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: u32) {
        if let Some(row) = self.rows.remove(place) {
            self.bytes.take(cost(&row, self.ordered));
        }
    }

    fn list(&mut self, place: u32) {
        if self.change(place, |row| std::mem::replace(&mut row.listed, true)) == Some(false) {
            self.saved.push_back(place);
        }
    }

    /// Adds its unsaved rows to `frozen`, saving from now on; those that have `expired` are forgotten instead.
    pub(super) fn freeze(&mut self, frozen: &mut Frozen, expired: impl Fn(&[u8]) -> bool) {
        debug_assert!(self.saving.is_empty(), "one batch at a time");
        for place in std::mem::take(&mut self.unsaved) {
            let Some(row) = self.rows.at_mut(place).filter(|row| row.progress == Progress::Unsaved) else { continue };
            if expired(row.id()) {
                self.remove(place);
            } else {
                // Costs as much as an unsaved one.
                row.progress = Progress::Saving;
                frozen.push((row.id().into(), row.version().stored()));
                self.saving.push(place);
            }
        }
    }

    /// The rows of the last [`Segment::freeze`] are saved, or unsaved again. Rows written since stay unsaved. `stale`
    /// plants a bug: it gives older versions, which the saved rows get.
    pub(super) fn persisted(&mut self, durable: bool, mut stale: impl FnMut(&[u8]) -> Option<Version>) {
        let progress = if durable { Progress::Saved } else { Progress::Unsaved };
        for place in std::mem::take(&mut self.saving) {
            let changed = self.change(place, |row| {
                let was_saving = row.progress == Progress::Saving;
                if was_saving {
                    row.progress = progress;
                    if durable && let Some(stale) = stale(row.id()) {
                        row.set(stale.borrowed());
                    }
                }
                was_saving
            });
            match (changed, durable) {
                (Some(true), true) => self.list(place),
                (Some(true), false) => self.unsaved.push(place),
                _ => {}
            }
        }
    }

    /// Looks at each listed row once and drops saved ones until `bytes` are free; with `spare_used`, those not used
    /// since the last look.
    pub(super) fn evict(&mut self, bytes: usize, spare_used: bool) {
        let goal = self.bytes.all.saturating_sub(bytes);
        for _ in 0..self.saved.len() {
            if self.bytes.all <= goal {
                break;
            }
            let Some(place) = self.saved.pop_front() else { break };
            let Some(row) = self.rows.at_mut(place) else { continue };
            let saved = row.progress == Progress::Saved;
            row.listed = saved && std::mem::take(&mut row.used) && spare_used;
            if row.listed {
                self.saved.push_back(place);
            } else if saved {
                self.remove(place);
            }
        }
    }

    /// Keeps row ids in order from here on.
    pub(super) fn sort(&mut self) {
        if !self.ordered {
            self.ordered = true;
            self.rows.sort();
            self.bytes = Cost::default();
            self.rows.iter().for_each(|row| self.bytes.add(cost(row, true)));
        }
    }

    /// Row ids in order; [`Segment::sort`] was called before.
    pub(super) fn sorted(&self) -> &BTreeSet<ShortBytes> {
        self.rows.sorted()
    }

    /// The version of a row that [`Segment::sorted`] gave.
    pub(super) fn version_of(&self, id: &[u8]) -> VersionRef<'_> {
        self.rows.of(id).version()
    }
}

impl Cost {
    pub(super) fn add(&mut self, other: Self) {
        self.all += other.all;
        self.unsaved += other.unsaved;
    }

    pub(super) fn take(&mut self, other: Self) {
        self.all -= other.all;
        self.unsaved -= other.unsaved;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::row_map::hash, *};

    #[test]
    fn order_is_counted_and_goes_with_the_rows() {
        let mut segment = Segment::default();
        let ids: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; 20 + usize::from(n % 2) * 20]).collect();
        let version = VersionRef { value: Some(b"value"), timestamp: 1 };
        ids.iter().take(50).for_each(|id| segment.write(hash(id), id, version));
        let unordered = segment.bytes().all;
        segment.sort();
        assert_eq!(segment.bytes().all - unordered, 50 * ORDERED_BYTES + 25 * 40);
        ids.iter().skip(50).for_each(|id| segment.remember(hash(id), id, version));
        assert_eq!(segment.bytes().all, 2 * (unordered + 50 * ORDERED_BYTES + 25 * 40));
        ids.iter().for_each(|id| segment.forget(hash(id), id));
        assert_eq!(segment.bytes(), Cost::default());
    }
}
