//! Windows of activity: sessions (D-47).

use super::windows::millis;
use crate::fault::{Fault, Result};
use std::time::Duration;

/// Periods of activity of a key, parted by gaps without a record (D-47). A session reaches from its first record to its
/// last, both included; two records belong to one session when they lie at most the gap apart. A record between two
/// sessions may join them.
///
/// ```
/// use millstream::operator::SessionWindows;
/// use std::time::Duration;
/// let visits = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(1_800));
/// assert_eq!((visits.gap_ms(), visits.grace_ms()), (1_800_000, 0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionWindows {
    gap_ms: i64,
    grace_ms: i64,
}

impl SessionWindows {
    /// Sessions that take no record once stream time is past their end by more than the gap.
    pub fn of_inactivity_gap_with_no_grace(gap: Duration) -> Self {
        Self::of_inactivity_gap_and_grace(gap, Duration::ZERO)
    }

    /// Sessions that take records until stream time is past their end by more than gap and `grace` (D-56).
    pub fn of_inactivity_gap_and_grace(gap: Duration, grace: Duration) -> Self {
        Self { gap_ms: millis(gap), grace_ms: millis(grace) }
    }

    /// Greatest distance of two records of one session, in milliseconds.
    pub fn gap_ms(&self) -> i64 {
        self.gap_ms
    }

    /// Grace in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    /// How long a session is of use after its end: gap and grace (P-42).
    pub(crate) fn lifetime_ms(&self) -> i64 {
        self.gap_ms.saturating_add(self.grace_ms)
    }

    /// Refuses sessions that make no sense.
    pub(crate) fn check(&self) -> Result<()> {
        if self.gap_ms <= 0 {
            return Err(Fault::stop("the inactivity gap is not positive").hint("give at least a millisecond"));
        }
        Ok(())
    }
}
