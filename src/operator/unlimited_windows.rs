//! A window without end (D-42), and the windows whose starts a record's time alone decides.

use super::TimeWindows;
use crate::{
    fault::{Fault, Result},
    record::Timestamp,
};

/// One window from a start to the end of time (D-42). Records before the start are in no window, and nothing ever
/// expires.
///
/// ```
/// use millstream::operator::UnlimitedWindows;
/// assert_eq!(UnlimitedWindows::of().start_on(5_000).start_ms(), 5_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnlimitedWindows {
    start_ms: Timestamp,
}

impl UnlimitedWindows {
    /// The window that starts at 1970-01-01 UTC.
    pub fn of() -> Self {
        Self::default()
    }

    /// The window that starts at `start`, in milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn start_on(self, start: Timestamp) -> Self {
        Self { start_ms: start }
    }

    /// Start in milliseconds since 1970-01-01 UTC.
    pub fn start_ms(&self) -> Timestamp {
        self.start_ms
    }
}

/// Windows that lie at fixed places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FixedWindows {
    Time(TimeWindows),
    Unlimited(UnlimitedWindows),
}

impl FixedWindows {
    /// Size in milliseconds.
    pub fn size_ms(&self) -> i64 {
        match self {
            Self::Time(windows) => windows.size_ms(),
            Self::Unlimited(_) => i64::MAX,
        }
    }

    /// Grace in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        match self {
            Self::Time(windows) => windows.grace_ms(),
            Self::Unlimited(_) => 0,
        }
    }

    /// Size and grace: how long a window is of use after its start.
    pub fn lifetime_ms(&self) -> i64 {
        self.size_ms().saturating_add(self.grace_ms())
    }

    /// Starts of the windows that hold `timestamp`, ascending.
    pub fn windows_for(&self, timestamp: Timestamp) -> impl Iterator<Item = Timestamp> + use<> {
        let (windows, start) = match *self {
            Self::Time(windows) => (Some(windows.windows_for(timestamp)), None),
            Self::Unlimited(window) => (None, Some(window.start_ms).filter(|start| *start <= timestamp)),
        };
        windows.into_iter().flatten().chain(start)
    }

    /// Refuses windows that make no sense.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Time(windows) => windows.check(),
            Self::Unlimited(window) if window.start_ms < 0 => {
                Err(Fault::stop(format!("an unlimited window can't start at {} ms", window.start_ms))
                    .hint("start it at 1970-01-01 UTC or later"))
            }
            Self::Unlimited(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d42_records_before_the_start_are_in_no_window() {
        let windows = FixedWindows::Unlimited(UnlimitedWindows::of().start_on(10));
        let starts = |at| windows.windows_for(at).collect::<Vec<_>>();
        assert_eq!((starts(9), starts(10), starts(i64::MAX)), (vec![], vec![10], vec![10]));
        assert!(windows.check().is_ok());
        assert!(FixedWindows::Unlimited(UnlimitedWindows::of().start_on(-1)).check().is_err());
    }
}
