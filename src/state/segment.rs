//! Rows of the table that expire together.

use super::{row::Version, row_map::RowMap, short_bytes::ShortBytes};
use std::collections::BTreeSet;

/// What a row costs above bytes outside of its place: the place with the slack of the map.
const ROW_BYTES: usize = 144;

/// How far a committed row has come on its way to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Only here.
    Unsaved,
    /// In the batch that is being persisted.
    Saving,
    /// The backend has it too.
    Saved,
}

pub(super) struct TableRow {
    pub(super) version: Version,
    pub(super) progress: Progress,
    /// Read or written since eviction last looked at it.
    pub(super) used: bool,
    /// Listed for eviction.
    pub(super) listed: bool,
}

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
    rows: RowMap<TableRow>,
    bytes: Cost,
}

fn cost(id: &ShortBytes, row: &TableRow) -> Cost {
    let all = ROW_BYTES + id.heap_bytes() + row.version.heap_bytes();
    Cost { all, unsaved: if row.progress == Progress::Saved { 0 } else { all } }
}

impl Segment {
    pub(super) fn bytes(&self) -> Cost {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn find(&self, hash: u64, id: &[u8]) -> Option<u32> {
        self.rows.find(hash, id)
    }

    /// Finds a row and marks it as used.
    pub(super) fn touch(&mut self, hash: u64, id: &[u8]) -> Option<&TableRow> {
        let place = self.rows.find(hash, id)?;
        let (_, row) = self.rows.at_mut(place)?;
        row.used = true;
        Some(row)
    }

    /// Changes the row at a place through `change`, if there is one.
    pub(super) fn change<R>(&mut self, place: u32, change: impl FnOnce(&ShortBytes, &mut TableRow) -> R) -> Option<R> {
        let (id, row) = self.rows.at_mut(place)?;
        self.bytes.take(cost(id, row));
        let result = change(id, row);
        self.bytes.add(cost(id, row));
        Some(result)
    }

    /// Sets a row. Gives its place, and what it was before.
    pub(super) fn set(
        &mut self,
        hash: u64,
        id: &[u8],
        version: Version,
        progress: Progress,
    ) -> (u32, Option<(Progress, Version)>) {
        if let Some(place) = self.rows.find(hash, id) {
            let before = self.change(place, |_, row| {
                row.used = true;
                (std::mem::replace(&mut row.progress, progress), std::mem::replace(&mut row.version, version))
            });
            return (place, before);
        }
        let row = TableRow { version, progress, used: false, listed: false };
        let id = ShortBytes::from(id);
        self.bytes.add(cost(&id, &row));
        (self.rows.insert(hash, id, row), None)
    }

    pub(super) fn remove(&mut self, place: u32) {
        if let Some((id, row)) = self.rows.remove(place) {
            self.bytes.take(cost(&id, &row));
        }
    }

    /// Keeps row ids in order from here on.
    pub(super) fn sort(&mut self) {
        self.rows.sort();
    }

    /// Row ids in order; [`Segment::sort`] was called before.
    pub(super) fn sorted(&self) -> &BTreeSet<ShortBytes> {
        self.rows.sorted()
    }

    /// The version of a row that [`Segment::sorted`] gave.
    pub(super) fn version_of(&self, id: &[u8]) -> &Version {
        &self.rows.of(id).version
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
