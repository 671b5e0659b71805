//! Places for rows, in pieces.

/// Places in a piece.
const PIECE: usize = 256;

/// A list that grows by pieces: no place moves once there are many, and none lie spare but in the last piece. One
/// allocation for all would hold up to twice as much, and three times while it grows.
pub(super) struct Slots<T> {
    /// All full but the last one that is in use; those behind it are empty.
    pieces: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, value: T) {
        let piece = self.len / PIECE;
        if piece == self.pieces.len() {
            // Most stores of most tests and many of real life stay small: the first piece grows as it is filled.
            self.pieces.push(Vec::with_capacity(if piece == 0 { 0 } else { PIECE }));
        }
        self.pieces[piece].push(value);
        self.len += 1;
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        let at = at as usize;
        self.pieces.get(at / PIECE)?.get(at % PIECE)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let at = at as usize;
        self.pieces.get_mut(at / PIECE)?.get_mut(at % PIECE)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// Empties it. Memory for `keep` places stays.
    pub(super) fn clear(&mut self, keep: usize) {
        self.pieces.truncate(keep.div_ceil(PIECE));
        self.pieces.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }

    /// Places that there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_across_pieces_and_after_it_was_emptied() {
        let mut slots = Slots::default();
        for round in 0..2 {
            (0..3 * PIECE + 7).for_each(|n| slots.push(n + round));
            assert_eq!(slots.len(), 3 * PIECE + 7);
            assert_eq!(slots.get(2 * PIECE as u32), Some(&(2 * PIECE + round)));
            assert_eq!(slots.get(slots.len() as u32), None);
            *slots.get_mut(1).unwrap() = 1_000;
            assert_eq!(slots.iter().nth(1), Some(&1_000));
            assert!(slots.iter().skip(2).copied().eq(2 + round..3 * PIECE + 7 + round));
            slots.clear(PIECE + 1);
            assert_eq!((slots.len(), slots.get(0), slots.capacity()), (0, None, 2 * PIECE));
        }
    }
}
