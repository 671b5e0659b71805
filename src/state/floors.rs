//! Where a restore may start: below which position of its changelog all rows of a store have expired.

use super::{Store, StoreKind, flaw::Flaw};
use crate::record::{NO_TIMESTAMP, Offset, Timestamp};

/// Pieces that the time for which rows are kept is cut into: a floor lies at most one of them below the best one.
const PIECES: i64 = 64;

/// Positions of a changelog, ascending, each with a time that no row below it exceeds. There are about [`PIECES`] of
/// them, for those that a later one outdoes are forgotten.
pub(super) struct Floors {
    pairs: Vec<(Offset, Timestamp)>,
    /// Nearer times are told by one pair.
    step_ms: i64,
}

impl Floors {
    /// Floors of a store of this kind, if its rows expire.
    pub fn of(kind: StoreKind) -> Option<Self> {
        let kept_ms = match kind {
            StoreKind::Window { retention_ms, .. } => retention_ms,
            StoreKind::Segmented(segmented) => segmented.readable_ms().saturating_add(segmented.kept_ms),
            _ => return None,
        };
        Some(Self { pairs: Vec::new(), step_ms: (kept_ms / PIECES).max(1) })
    }

    /// No row below `position` is of a time above `time`; both never go down.
    pub fn note(&mut self, position: Offset, time: Timestamp) {
        match &mut self.pairs[..] {
            [.., last] if last.1 == time => last.0 = position,
            [.., before, last] if time.saturating_sub(before.1) < self.step_ms => *last = (position, time),
            _ => self.pairs.push((position, time)),
        }
    }

    /// Forgets what lies below the best floor for `cut`, which only rises.
    pub fn forget(&mut self, cut: Timestamp) {
        let expired = self.pairs.partition_point(|(_, time)| *time < cut);
        self.pairs.drain(..expired.saturating_sub(1));
    }

    /// The greatest known position with rows below `cut` only below it. `above` plants the bug of taking the next one.
    fn below(&self, cut: Timestamp, above: bool) -> Option<Offset> {
        let expired = self.pairs.partition_point(|(_, time)| *time < cut);
        let at = if above { expired.min(self.pairs.len().saturating_sub(1)) } else { expired.checked_sub(1)? };
        self.pairs.get(at).map(|(position, _)| *position)
    }
}

impl Store {
    /// Where a restore into an empty directory may start once the open transaction is committed: all rows below have
    /// expired then. `None` when nothing is known, and at least once: positions are not exact there.
    pub fn changelog_floor(&self) -> Option<Offset> {
        let known = self.floors.as_ref().filter(|_| self.spec.logged && self.marker > 0)?;
        known.below(self.floor()?, self.flaw == Flaw::FloorTooHigh)
    }

    /// Takes over what a former owner knew: all rows below `floor` have expired.
    pub fn recall_floor(&mut self, floor: Offset) {
        if let Some(floors) = self.floors.as_mut().filter(|floors| floors.pairs.is_empty()) {
            floors.note(floor, NO_TIMESTAMP);
        }
    }

    /// Notes how far the changelog goes, and up to which time its rows.
    pub(super) fn note_floor(&mut self) {
        let cut = self.floor_at(self.committed_stream_time);
        if let Some(floors) = &mut self.floors {
            floors.note(self.position, self.rows_time);
            if let Some(cut) = cut {
                floors.forget(cut);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors() -> Floors {
        Floors::of(StoreKind::Window { size_ms: 10, retention_ms: 6_400 }).unwrap()
    }

    #[test]
    fn rows_that_do_not_expire_have_no_floor() {
        assert!(Floors::of(StoreKind::KeyValue).is_none());
    }

    #[test]
    fn a_floor_has_only_rows_below_the_cut_below_it() {
        let mut floors = floors();
        for (position, time) in [(10, 0), (20, 1_000), (30, 1_000), (40, 2_000)] {
            floors.note(position, time);
        }
        assert_eq!(
            [0, 1, 1_000, 1_001, 2_000, 2_001].map(|cut| floors.below(cut, false)),
            [None, Some(10), Some(10), Some(30), Some(30), Some(40)]
        );
    }

    #[test]
    fn a_long_run_keeps_few_pairs_and_lags_by_one_piece() {
        let mut floors = floors();
        for n in 0..1_000_000 {
            // A position and a millisecond for each record.
            floors.note(n + 1, n);
            let cut = n - 6_400;
            floors.forget(cut);
            assert!(floors.pairs.len() <= PIECES as usize + 3, "{} pairs", floors.pairs.len());
            if cut > 1_000 {
                let floor = floors.below(cut, false).unwrap();
                assert!(floor <= cut && floor >= cut - 200, "{floor} for {cut}");
            }
        }
    }
}
