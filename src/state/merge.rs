//! One ordered view over the tiers in memory.

use super::{row::VersionRef, short_bytes::ShortBytes};
use std::{cmp::Ordering, iter::Peekable};

type Rows<'a> = Peekable<Box<dyn Iterator<Item = (&'a ShortBytes, VersionRef<'a>)> + 'a>>;

/// Merges rows in order. Where several sources know a row, the first source wins and the others are passed over.
pub(super) struct Merge<'a> {
    sources: Vec<Rows<'a>>,
    reverse: bool,
}

impl<'a> Merge<'a> {
    pub(super) fn new(reverse: bool) -> Self {
        Self { sources: Vec::with_capacity(3), reverse }
    }

    /// Adds a source below all former ones.
    pub(super) fn add(&mut self, rows: impl DoubleEndedIterator<Item = (&'a ShortBytes, VersionRef<'a>)> + 'a) {
        let rows: Box<dyn Iterator<Item = _>> = if self.reverse { Box::new(rows.rev()) } else { Box::new(rows) };
        self.sources.push(rows.peekable());
    }

    /// How `a` and `b` follow each other in the direction of this merge.
    pub(super) fn order(&self, a: &[u8], b: &[u8]) -> Ordering {
        if self.reverse { b.cmp(a) } else { a.cmp(b) }
    }

    /// The next row id.
    pub(super) fn peek(&mut self) -> Option<&'a ShortBytes> {
        let reverse = self.reverse;
        self.sources
            .iter_mut()
            .filter_map(|rows| rows.peek().map(|(id, _)| *id))
            .min_by(|a, b| if reverse { b.cmp(a) } else { a.cmp(b) })
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = (&'a ShortBytes, VersionRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.peek()?;
        let mut found = None;
        for rows in &mut self.sources {
            if let Some(row) = rows.next_if(|(id, _)| *id == first) {
                found.get_or_insert(row);
            }
        }
        found
    }
}
