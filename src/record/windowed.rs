//! A key in a window.

use super::Timestamp;
use std::fmt;

/// A key and the window it is in: the key of a windowed table.
///
/// A time window holds `start <= t < end`; a session holds its end too. It prints as Kafka Streams prints it.
///
/// ```
/// use millstream::record::Windowed;
/// assert_eq!(Windowed::new("JFK", 0, 3_600_000).to_string(), "[JFK@0/3600000]");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// First millisecond of the window.
    pub start: Timestamp,
    /// End of the window in milliseconds.
    pub end: Timestamp,
}

impl<K> Windowed<K> {
    /// `key` in the window from `start` to `end`.
    pub fn new(key: K, start: Timestamp, end: Timestamp) -> Self {
        Self { key, start, end }
    }
}

impl<K: fmt::Display> fmt::Display for Windowed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}@{}/{}]", self.key, self.start, self.end)
    }
}
