//! Windows of stream-stream joins (D-48).

use crate::fault::{Fault, Result};
use std::time::Duration;

/// How far apart in event time two records may lie to be joined: the right one from `before` before to `after` after
/// the left one, both included. All in milliseconds.
///
/// The grace is how long after its window an unmatched record of an outer side still waits for a late partner. An
/// inner join has no use for it but to keep records longer.
///
/// ```
/// use millstream::operator::JoinWindows;
/// use std::time::Duration;
/// let minute = Duration::from_secs(60);
/// let near = JoinWindows::of_time_difference_with_no_grace(minute);
/// assert_eq!((near.before_ms(), near.after_ms(), near.size_ms()), (60_000, 60_000, 120_000));
/// let following = JoinWindows::of_time_difference_and_grace(minute, minute).before(Duration::ZERO);
/// assert_eq!((following.before_ms(), following.after_ms(), following.grace_ms()), (0, 60_000, 60_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinWindows {
    before_ms: i64,
    after_ms: i64,
    grace_ms: i64,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl JoinWindows {
    /// Records that lie at most `difference` apart, without grace.
    pub fn of_time_difference_with_no_grace(difference: Duration) -> Self {
        Self::of_time_difference_and_grace(difference, Duration::ZERO)
    }

    /// Records that lie at most `difference` apart, with a grace for late ones.
    pub fn of_time_difference_and_grace(difference: Duration, grace: Duration) -> Self {
        Self { before_ms: millis(difference), after_ms: millis(difference), grace_ms: millis(grace) }
    }

    /// The right record lies at most this much before the left one.
    #[must_use]
    pub fn before(self, difference: Duration) -> Self {
        Self { before_ms: millis(difference), ..self }
    }

    /// The right record lies at most this much after the left one.
    #[must_use]
    pub fn after(self, difference: Duration) -> Self {
        Self { after_ms: millis(difference), ..self }
    }

    /// As [`JoinWindows::before`] and [`JoinWindows::after`] in one, in milliseconds. One of the two may be negative: the
    /// window then lies wholly on one side of the left record. A negative sum is refused when the topology is built.
    #[must_use]
    pub fn between_ms(self, before_ms: i64, after_ms: i64) -> Self {
        Self { before_ms, after_ms, ..self }
    }

    /// How far the right record may lie before the left one, in milliseconds.
    pub fn before_ms(&self) -> i64 {
        self.before_ms
    }

    /// How far the right record may lie after the left one, in milliseconds.
    pub fn after_ms(&self) -> i64 {
        self.after_ms
    }

    /// Grace in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    /// Length of the window in milliseconds: before and after.
    pub fn size_ms(&self) -> i64 {
        self.before_ms.saturating_add(self.after_ms)
    }

    /// How long the records of both sides are kept, in milliseconds of event time.
    pub(crate) fn retention_ms(&self) -> i64 {
        self.size_ms().saturating_add(self.grace_ms)
    }

    /// The same windows seen from the right side (D-81).
    pub(crate) fn mirrored(&self) -> Self {
        Self { before_ms: self.after_ms, after_ms: self.before_ms, ..*self }
    }

    /// Refuses windows that no pair of records can be in.
    pub(crate) fn check(&self) -> Result<()> {
        if self.size_ms() < 0 {
            return Err(Fault::stop(format!(
                "a join window from {} ms before to {} ms after ends before it starts",
                self.before_ms, self.after_ms
            ))
            .hint("give a sum of at least 0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d48_one_bound_may_be_negative_but_not_the_size() {
        let windows = JoinWindows::of_time_difference_with_no_grace(Duration::ZERO);
        assert!(windows.between_ms(-5, 5).check().is_ok());
        assert!(windows.between_ms(-5, 4).check().is_err());
        assert_eq!(windows.between_ms(-5, 9).mirrored(), windows.between_ms(9, -5));
    }
}
