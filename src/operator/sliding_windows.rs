//! Windows around records: sliding (D-43).

use super::windows::millis;
use std::time::Duration;

/// Windows of fixed size that exist only where a record enters or leaves them: `[start, start + difference]`, both ends
/// included (D-43). Records of a key that lie at most the difference apart share a window.
///
/// For each record at `t` there is a window that ends at it, `[t - difference, t]`, and one that starts right behind it,
/// `[t + 1, t + 1 + difference]`, if another record lies there. Records before `difference` share `[0, difference]`
/// (D-45).
///
/// ```
/// use millstream::operator::SlidingWindows;
/// use std::time::Duration;
/// let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
/// assert_eq!(SlidingWindows::of_time_difference_and_grace(minute, second).grace_ms(), 1_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindows {
    difference_ms: i64,
    grace_ms: i64,
}

impl SlidingWindows {
    /// Windows that take no record once stream time is past their end.
    pub fn of_time_difference_with_no_grace(difference: Duration) -> Self {
        Self::of_time_difference_and_grace(difference, Duration::ZERO)
    }

    /// Windows that take records until stream time is past their end by more than `grace`.
    pub fn of_time_difference_and_grace(difference: Duration, grace: Duration) -> Self {
        Self { difference_ms: millis(difference), grace_ms: millis(grace) }
    }

    /// End of a window less its start, in milliseconds.
    pub fn difference_ms(&self) -> i64 {
        self.difference_ms
    }

    /// Grace in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    /// How long a window is of use to records to come: twice the difference, and the grace (P-42).
    pub(crate) fn lifetime_ms(&self) -> i64 {
        self.difference_ms.saturating_mul(2).saturating_add(self.grace_ms)
    }
}
