//! Rows of the table that expire together.

use super::row::Version;
use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::BTreeSet;

/// What a row costs above its bytes: handles, the map's slack and the allocator's headers.
const ROW_BYTES: usize = 200;

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
    rows: HashMap<Bytes, TableRow, FixedState>,
    /// Row ids in order; kept only once somebody has scanned.
    sorted: Option<BTreeSet<Bytes>>,
    bytes: Cost,
}

fn cost(id: &[u8], row: &TableRow) -> Cost {
    let all = ROW_BYTES + id.len() + row.version.bytes();
    Cost { all, unsaved: if row.progress == Progress::Saved { 0 } else { all } }
}

impl Segment {
    pub(super) fn bytes(&self) -> Cost {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn get(&self, id: &[u8]) -> Option<&TableRow> {
        self.rows.get(id)
    }

    /// Marks the row as used.
    pub(super) fn touch(&mut self, id: &[u8]) -> Option<&TableRow> {
        let row = self.rows.get_mut(id)?;
        row.used = true;
        Some(row)
    }

    /// Changes a row through `change`, if it is there.
    pub(super) fn change<R>(&mut self, id: &[u8], change: impl FnOnce(&mut TableRow) -> R) -> Option<R> {
        let row = self.rows.get_mut(id)?;
        self.bytes.take(cost(id, row));
        let result = change(row);
        self.bytes.add(cost(id, row));
        Some(result)
    }

    /// Sets a row, keeping its place in the list for eviction.
    pub(super) fn set(&mut self, id: Bytes, version: Version, progress: Progress) -> Option<Progress> {
        let before = self.change(&id, |row| {
            row.version = version.clone();
            row.used = true;
            std::mem::replace(&mut row.progress, progress)
        });
        if before.is_none() {
            let row = TableRow { version, progress, used: false, listed: false };
            self.bytes.add(cost(&id, &row));
            if let Some(sorted) = &mut self.sorted {
                sorted.insert(id.clone());
            }
            self.rows.insert(id, row);
        }
        before
    }

    pub(super) fn remove(&mut self, id: &[u8]) {
        if let Some(row) = self.rows.remove(id) {
            self.bytes.take(cost(id, &row));
            if let Some(sorted) = &mut self.sorted {
                sorted.remove(id);
            }
        }
    }

    /// Keeps row ids in order from here on.
    pub(super) fn sort(&mut self) {
        if self.sorted.is_none() {
            self.sorted = Some(self.rows.keys().cloned().collect());
        }
    }

    /// Row ids in order; [`Segment::sort`] was called before.
    pub(super) fn sorted(&self) -> &BTreeSet<Bytes> {
        self.sorted.as_ref().expect("sorted before it is scanned")
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
