//! Windows of fixed size: tumbling and hopping (D-40, D-41).

use crate::{
    fault::{Fault, Result},
    record::Timestamp,
};
use std::time::Duration;

/// Windows of fixed size over event time: `[start, start + size)`, aligned to 1970-01-01 UTC.
///
/// Tumbling by default; [`TimeWindows::advance_by`] makes them hop. The grace is how long after its end, in event
/// time, a window still takes records.
///
/// ```
/// use millstream::operator::TimeWindows;
/// use std::time::Duration;
/// let hourly = TimeWindows::of_size_with_no_grace(Duration::from_secs(3600));
/// assert_eq!(hourly.windows_for(3_600_001).collect::<Vec<_>>(), [3_600_000]);
/// let hopping = hourly.advance_by(Duration::from_secs(1800));
/// assert_eq!(hopping.windows_for(3_600_001).collect::<Vec<_>>(), [1_800_000, 3_600_000]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindows {
    size_ms: i64,
    advance_ms: i64,
    grace_ms: i64,
}

/// Whole milliseconds, as far as they go.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl TimeWindows {
    /// Windows that take no record after their end.
    pub fn of_size_with_no_grace(size: Duration) -> Self {
        Self::of_size_and_grace(size, Duration::ZERO)
    }

    /// Windows that take records until `grace` after their end.
    pub fn of_size_and_grace(size: Duration, grace: Duration) -> Self {
        Self { size_ms: millis(size), advance_ms: millis(size), grace_ms: millis(grace) }
    }

    /// Starts a window every `advance`, at most the size: windows overlap.
    #[must_use]
    pub fn advance_by(self, advance: Duration) -> Self {
        Self { advance_ms: millis(advance), ..self }
    }

    /// Size in milliseconds.
    pub fn size_ms(&self) -> i64 {
        self.size_ms
    }

    /// Distance between two starts in milliseconds.
    pub fn advance_ms(&self) -> i64 {
        self.advance_ms
    }

    /// Grace in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    /// Starts of the windows that hold `timestamp`, ascending.
    pub fn windows_for(&self, timestamp: Timestamp) -> impl Iterator<Item = Timestamp> + use<> {
        let Self { size_ms, advance_ms, .. } = *self;
        let first = timestamp.saturating_sub(size_ms).saturating_add(advance_ms).max(0) / advance_ms * advance_ms;
        std::iter::successors(Some(first), move |start| start.checked_add(advance_ms))
            .take_while(move |start| *start <= timestamp)
    }

    /// Refuses windows that make no sense.
    pub(crate) fn check(&self) -> Result<()> {
        if self.size_ms <= 0 {
            return Err(Fault::stop("the window size is not positive").hint("give at least a millisecond"));
        }
        if self.advance_ms <= 0 || self.advance_ms > self.size_ms {
            return Err(Fault::stop(format!("windows of {} ms can't advance by {} ms", self.size_ms, self.advance_ms))
                .hint("advance by more than zero and at most the size"));
        }
        Ok(())
    }
}

/// When a windowed aggregate emits (D-140, D-141).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmitStrategy {
    /// With each update, as far as the record cache lets through.
    #[default]
    OnWindowUpdate,
    /// Once, when the window is closed: stream time has reached its end and grace.
    OnWindowClose,
}

impl EmitStrategy {
    /// Emits with each update.
    pub fn on_window_update() -> Self {
        Self::OnWindowUpdate
    }

    /// Emits each window once, when it is closed.
    pub fn on_window_close() -> Self {
        Self::OnWindowClose
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(size: u64, advance: u64) -> TimeWindows {
        TimeWindows::of_size_with_no_grace(Duration::from_millis(size)).advance_by(Duration::from_millis(advance))
    }

    #[test]
    fn windows_are_aligned_and_never_negative() {
        assert_eq!(windows(12, 5).windows_for(21).collect::<Vec<_>>(), [10, 15, 20]);
        assert_eq!(windows(12, 5).windows_for(3).collect::<Vec<_>>(), [0]);
        assert_eq!(windows(10, 10).windows_for(10).collect::<Vec<_>>(), [10]);
        assert_eq!(windows(10, 10).windows_for(i64::MAX).count(), 1);
    }

    proptest::proptest! {
        #[test]
        fn windows_are_those_that_hold_the_time(size in 1u64..50, advance in 1u64..50, at in 0i64..1_000) {
            let advance = advance.min(size);
            let step = usize::try_from(advance).expect("a small number");
            let (size_ms, bound) = (i64::try_from(size).expect("a small number"), 0..=at);
            let wanted: Vec<_> = bound.step_by(step).filter(|start| at < start + size_ms).collect();
            proptest::prop_assert_eq!(windows(size, advance).windows_for(at).collect::<Vec<_>>(), wanted);
        }
    }

    #[test]
    fn senseless_windows_are_refused() {
        assert!(windows(0, 0).check().is_err());
        assert!(windows(10, 11).check().is_err());
        assert!(windows(10, 10).check().is_ok());
    }
}
