//! How far a restore is, and how long it still takes.

use crate::record::Timestamp;

/// A restore under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Wall clock when it began.
    pub since: Timestamp,
    /// Changelog offsets that it began with.
    pub offsets: i64,
}

impl Progress {
    /// Milliseconds that are left when so many offsets are, if it goes on as fast; `None` before a tenth is done.
    ///
    /// ```
    /// # use millstream::worker::Progress;
    /// let progress = Progress { since: 1_000, offsets: 500 };
    /// assert_eq!(progress.left_ms(2_000, 400), Some(4_000));
    /// assert_eq!(progress.left_ms(2_000, 451), None);
    /// ```
    pub fn left_ms(&self, now: Timestamp, remaining: i64) -> Option<i64> {
        let done = self.offsets - remaining;
        if done <= 0 || done < self.offsets / 10 {
            return None;
        }
        i64::try_from(i128::from(now - self.since) * i128::from(remaining) / i128::from(done)).ok()
    }
}
