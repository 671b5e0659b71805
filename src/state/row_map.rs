//! Rows in memory by row id.

use super::{short_bytes::ShortBytes, slots::Slots};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::{collections::BTreeSet, hash::BuildHasher as _};

/// The hash of a row id, good for every map: one operation hashes once, whatever number of maps it looks into.
pub(super) fn hash(id: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(id)
}

/// Room for so many rows is never given back.
const SPARE_MIN: usize = 1_024;

/// A row that knows its id.
pub(super) trait Keyed {
    fn id(&self) -> &[u8];
}

/// Rows by row id. A row keeps its place until it is removed; then the place is given to another row.
pub(super) struct RowMap<T> {
    index: HashTable<u32>,
    slots: Slots<Option<T>>,
    free: Vec<u32>,
    /// Row ids in order; kept only once somebody has scanned.
    sorted: Option<BTreeSet<ShortBytes>>,
}

impl<T> Default for RowMap<T> {
    fn default() -> Self {
        Self { index: HashTable::new(), slots: Slots::default(), free: Vec::new(), sorted: None }
    }
}

impl<T: Keyed> RowMap<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Removes all rows. Memory for as many rows again, and the wish for order, stay.
    pub(super) fn clear(&mut self) {
        // One large transaction shall not hold its memory for ever.
        let keep = SPARE_MIN.max(2 * self.slots.len());
        self.index.clear();
        if self.index.capacity() > 2 * keep {
            self.index.shrink_to(keep, |_| 0);
        }
        self.slots.clear(keep);
        self.free.clear();
        if let Some(sorted) = &mut self.sorted {
            sorted.clear();
        }
    }

    /// The place of a row.
    pub(super) fn find(&self, hash: u64, id: &[u8]) -> Option<u32> {
        self.index.find(hash, |place| self.at(*place).is_some_and(|row| row.id() == id)).copied()
    }

    /// Adds a row that is not there.
    ///
    /// # Panics
    /// Above 2^32 rows.
    pub(super) fn insert(&mut self, hash: u64, row: T) -> u32 {
        debug_assert!(self.find(hash, row.id()).is_none(), "a row is added once");
        if let Some(sorted) = &mut self.sorted {
            sorted.insert(row.id().into());
        }
        let place = match self.free.pop() {
            Some(place) => {
                *self.slots.get_mut(place).expect("a free place was taken once") = Some(row);
                place
            }
            None => {
                self.slots.push(Some(row));
                u32::try_from(self.slots.len() - 1).expect("a map has less than 2^32 rows")
            }
        };
        let slots = &self.slots;
        let row_at = |place: u32| slots.get(place).and_then(Option::as_ref).expect("indexed places are taken");
        self.index.insert_unique(hash, place, |place| self::hash(row_at(*place).id()));
        place
    }

    /// Removes the row at a place.
    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let row = self.slots.get_mut(place)?.take()?;
        if let Ok(entry) = self.index.find_entry(hash(row.id()), |p| *p == place) {
            entry.remove();
        }
        self.free.push(place);
        if let Some(sorted) = &mut self.sorted {
            sorted.remove(row.id());
        }
        Some(row)
    }

    /// The row at a place, if there is one.
    pub(super) fn at(&self, place: u32) -> Option<&T> {
        self.slots.get(place)?.as_ref()
    }

    /// The row at a place, if there is one.
    pub(super) fn at_mut(&mut self, place: u32) -> Option<&mut T> {
        self.slots.get_mut(place)?.as_mut()
    }

    /// All rows; in the order in which they were added as long as none is removed.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    /// Keeps row ids in order from here on.
    pub(super) fn sort(&mut self) {
        if self.sorted.is_none() {
            self.sorted = Some(self.iter().map(|row| row.id().into()).collect());
        }
    }

    /// Row ids in order; [`RowMap::sort`] was called before.
    pub(super) fn sorted(&self) -> &BTreeSet<ShortBytes> {
        self.sorted.as_ref().expect("sorted before it is scanned")
    }

    /// The row of an id that [`RowMap::sorted`] gave.
    pub(super) fn of(&self, id: &[u8]) -> &T {
        let place = self.find(hash(id), id).expect("order and rows agree");
        self.at(place).expect("found places are taken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Keyed for (String, u32) {
        fn id(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }

    fn insert(map: &mut RowMap<(String, u32)>, id: &str, row: u32) -> u32 {
        map.insert(hash(id.as_bytes()), (id.to_owned(), row))
    }

    #[test]
    fn rows_are_found_until_they_are_removed_and_places_are_used_again() {
        let mut map = RowMap::default();
        let places: Vec<u32> = (0..1_000).map(|n| insert(&mut map, &n.to_string(), n)).collect();
        assert_eq!(map.remove(places[7]), Some(("7".into(), 7)));
        assert_eq!(map.remove(places[7]), None);
        assert_eq!(map.find(hash(b"7"), b"7"), None);
        assert_eq!(insert(&mut map, "x", 1_000), places[7]);
        assert_eq!(map.find(hash(b"999"), b"999").and_then(|p| map.at(p)), Some(&("999".into(), 999)));
    }

    #[test]
    fn order_follows_what_is_added_and_removed() {
        let mut map = RowMap::default();
        insert(&mut map, "b", 1);
        map.sort();
        let place = insert(&mut map, "a", 2);
        insert(&mut map, "c", 3);
        map.remove(place);
        let sorted: Vec<u32> = map.sorted().iter().map(|id| map.of(id).1).collect();
        assert_eq!(sorted, [1, 3]);
        map.clear();
        assert!(map.is_empty() && map.sorted().is_empty());
    }

    #[test]
    fn room_for_many_rows_is_given_back_once_few_come() {
        let mut map = RowMap::default();
        for rows in [100_000, 100, 100] {
            for n in 0..rows {
                insert(&mut map, &n.to_string(), n);
            }
            map.clear();
        }
        assert!(map.slots.capacity() <= SPARE_MIN && map.index.capacity() <= 2 * SPARE_MIN);
    }
}
