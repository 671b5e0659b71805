//! A committed row in as few bytes as possible: most of a worker's memory is made of these.

use super::{row::VersionRef, row_map::Keyed};
use crate::record::Timestamp;
use smallvec::SmallVec;

/// What fits in place: a window start, a sequence number, a key of 20 bytes and a number.
const IN_PLACE: usize = 40;

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

/// Row id and version in one piece of memory, 64 bytes where they are short.
pub(super) struct PackedRow {
    /// The id, then the value.
    bytes: SmallVec<[u8; IN_PLACE]>,
    timestamp: Timestamp,
    id_len: u32,
    has_value: bool,
    pub(super) progress: Progress,
    /// Read or written since eviction last looked at it.
    pub(super) used: bool,
    /// Listed for eviction.
    pub(super) listed: bool,
}

impl Keyed for PackedRow {
    fn id(&self) -> &[u8] {
        &self.bytes[..self.id_len as usize]
    }
}

impl PackedRow {
    /// # Panics
    /// When the id is longer than 4 GiB: a broker takes no such key.
    pub(super) fn new(id: &[u8], version: VersionRef<'_>, progress: Progress) -> Self {
        let id_len = u32::try_from(id.len()).expect("an id is shorter than 4 GiB");
        let mut bytes = SmallVec::new();
        bytes.reserve_exact(id.len() + version.value.map_or(0, <[u8]>::len));
        bytes.extend_from_slice(id);
        let mut row = Self { bytes, timestamp: 0, id_len, has_value: false, progress, used: false, listed: false };
        row.set(version);
        row
    }

    pub(super) fn version(&self) -> VersionRef<'_> {
        let value = self.has_value.then(|| &self.bytes[self.id_len as usize..]);
        VersionRef { value, timestamp: self.timestamp }
    }

    pub(super) fn set(&mut self, version: VersionRef<'_>) {
        let value = version.value.unwrap_or_default();
        self.bytes.truncate(self.id_len as usize);
        if self.bytes.spilled() && self.bytes.capacity() > 2 * (self.bytes.len() + value.len()) {
            self.bytes.shrink_to_fit();
        }
        self.bytes.reserve_exact(value.len());
        self.bytes.extend_from_slice(value);
        self.has_value = version.value.is_some();
        self.timestamp = version.timestamp;
    }

    /// Bytes that it takes outside of its own place.
    pub(super) fn heap_bytes(&self) -> usize {
        if self.bytes.spilled() { self.bytes.capacity() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(value: Option<&[u8]>, timestamp: Timestamp) -> VersionRef<'_> {
        VersionRef { value, timestamp }
    }

    #[test]
    fn a_short_row_takes_a_cache_line_and_so_does_an_empty_place() {
        assert_eq!((size_of::<PackedRow>(), size_of::<Option<PackedRow>>()), (64, 64));
    }

    #[test]
    fn what_goes_in_comes_out_whatever_its_length() {
        let lengths = [0, 1, IN_PLACE - 3, IN_PLACE - 2, 1_000, 5];
        let values: Vec<Option<Vec<u8>>> = lengths.map(|len| Some(vec![7; len])).into_iter().chain([None]).collect();
        for first in &values {
            let mut row = PackedRow::new(b"id", version(first.as_deref(), 1), Progress::Saved);
            for (at, second) in values.iter().enumerate() {
                row.set(version(second.as_deref(), at as i64));
                assert_eq!(row.version(), version(second.as_deref(), at as i64));
                assert_eq!(row.id(), b"id");
            }
        }
    }

    #[test]
    fn a_value_that_has_become_short_gives_its_memory_back() {
        let long = [7; 10_000];
        let mut row = PackedRow::new(b"id", version(Some(&long), 1), Progress::Saved);
        assert_eq!(row.heap_bytes(), 10_002);
        row.set(version(Some(&long[..100]), 2));
        assert_eq!(row.heap_bytes(), 102);
        row.set(version(None, 3));
        assert_eq!(row.heap_bytes(), 0);
    }
}
