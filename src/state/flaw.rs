//! Bugs that a test can plant in a store.

/// A bug to plant with [`Store::plant`](super::Store::plant), so that a test can prove that its checker sees it. Real
/// runs never plant one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Flaw {
    /// The honest store.
    #[default]
    None,
    /// Expires rows by the stream time of the open transaction (breaks I8).
    ExpiryUncommitted,
    /// Brings an older saved version of a row back when a newer one has been persisted.
    SavedReadStale,
    /// Saves a position two records above the data (breaks I2).
    PositionAboveData,
    /// Counts a marker for a transaction that wrote nothing to the changelog (breaks I2).
    MarkerWithoutRecords,
    /// Keeps the overlay after an abort (breaks I1).
    OverlayAfterAbort,
    /// Lets a restore advance stream time although the committed metadata names it.
    TimeOfRestoredRows,
    /// Counts changelog records when they are sent instead of when they are committed (breaks I2).
    PositionBeforeCommit,
    /// Moves the overlay to the table before the outcome of its commit is known (breaks I1).
    StoreBeforeCommit,
    /// Lets a restore start above rows that have not expired.
    FloorTooHigh,
    /// Shows queries what the open transaction wrote.
    QueriesSeeOverlay,
}
