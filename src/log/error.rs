//! What the broker refuses.

use crate::record::Offset;
use std::fmt;

/// Why a request failed; named after the broker's error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogError {
    /// The topic or partition does not exist.
    UnknownTopic,
    /// The offset lies outside of the log.
    OutOfRange {
        /// First offset that can be read.
        start: Offset,
        /// The next offset to be written.
        end: Offset,
    },
    /// A newer producer took the transactional id, or the transaction timed out.
    Fenced,
    /// The transaction is in no state for this request.
    InvalidState,
    /// Markers of the last transaction are still being written: ask again.
    Concurrent,
    /// The generation is not the group's.
    IllegalGeneration,
    /// The group does not know the member (any more).
    UnknownMember,
    /// Another member joined with this one's `group.instance.id`.
    FencedInstance,
    /// An open transaction holds an offset back: ask again.
    Unstable,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTopic => f.write_str("UNKNOWN_TOPIC_OR_PARTITION"),
            Self::OutOfRange { start, end } => write!(f, "OFFSET_OUT_OF_RANGE (the log holds {start} to {end})"),
            Self::Fenced => f.write_str("INVALID_PRODUCER_EPOCH"),
            Self::InvalidState => f.write_str("INVALID_TXN_STATE"),
            Self::Concurrent => f.write_str("CONCURRENT_TRANSACTIONS"),
            Self::IllegalGeneration => f.write_str("ILLEGAL_GENERATION"),
            Self::UnknownMember => f.write_str("UNKNOWN_MEMBER_ID"),
            Self::FencedInstance => f.write_str("FENCED_INSTANCE_ID"),
            Self::Unstable => f.write_str("UNSTABLE_OFFSET_COMMIT"),
        }
    }
}

impl std::error::Error for LogError {}
