//! Bugs that a test can switch on, to prove that the checkers see them. Real runs never set one.

/// One planted bug, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Planted {
    /// The honest worker.
    #[default]
    None,
    /// Commits the offsets of fetched instead of processed records.
    FetchedOffsets,
    /// Moves the overlay to the table, and lets it be persisted, before the commit's outcome is known.
    StoreBeforeCommit,
    /// Keeps the overlay after an abort.
    OverlayAfterAbort,
    /// Keeps operator times and record caches after an abort.
    TimesAfterAbort,
    /// Asks for the changelog's end before the stable offsets (I3).
    EndBeforeStable,
    /// Stores a position above the data (I2).
    PositionAboveData,
    /// Takes an unknown outcome for an abort.
    UnknownIsAborted,
    /// Expires rows by the stream time of the open transaction (I8).
    ExpiryUncommitted,
    /// Leaves the offsets out of a transaction that only punctuated (I7).
    PunctuationWithoutOffsets,
    /// Goes on writing for a partition that was lost.
    LostStillWrites,
    /// Lets a persist run on after its task was closed and handed over.
    PersistOutlivesTask,
    /// Reads a saved row although a newer one was persisted meanwhile.
    SavedReadStale,
    /// Sends what was processed since a commit was sent before its outcome is known (I4).
    NextSentEarly,
    /// Keeps what was processed since a commit was sent although that is aborted (I4).
    NextKept,
    /// Counts a marker for a changelog partition that the transaction wrote nothing to.
    MarkerWithoutRecords,
    /// Takes a suspended task up again without looking at the commit stamp.
    StampIgnored,
    /// Leaves a changelog's retention as it is although event time lies far behind the clock.
    RetentionNotRaised,
    /// Hands rows to sinks when their transaction is committed already.
    SinkAfterCommit,
    /// Goes on although a sink did not take its rows.
    SinkFailureIgnored,
    /// A sink takes every row, however old.
    SinkUnguarded,
    /// At least once, commits the offsets before output and changelogs are acknowledged.
    OffsetsBeforeFlush,
    /// At least once, commits although the broker refused a record.
    RefusalIgnored,
    /// At least once, trusts a position on disk that was counted before the changelog was acknowledged.
    PositionBeforeFlush,
    /// Lets a restore start above rows that have not expired.
    FloorTooHigh,
    /// Shows queries what the open transaction wrote.
    QueriesSeeOverlay,
    /// Restores a table from its source topic's end, past the committed offset.
    SourceBeyondCommitted,
}

impl Planted {
    /// Every planted bug that the simulator must see exactly once.
    pub const EXACTLY_ONCE: [Self; 22] = [
        Self::FetchedOffsets,
        Self::StoreBeforeCommit,
        Self::OverlayAfterAbort,
        Self::TimesAfterAbort,
        Self::EndBeforeStable,
        Self::PositionAboveData,
        Self::UnknownIsAborted,
        Self::ExpiryUncommitted,
        Self::PunctuationWithoutOffsets,
        Self::LostStillWrites,
        Self::PersistOutlivesTask,
        Self::SavedReadStale,
        Self::NextSentEarly,
        Self::NextKept,
        Self::MarkerWithoutRecords,
        Self::StampIgnored,
        Self::RetentionNotRaised,
        Self::FloorTooHigh,
        Self::QueriesSeeOverlay,
        Self::SinkAfterCommit,
        Self::SinkFailureIgnored,
        Self::SinkUnguarded,
    ];

    /// Every planted bug that it must see at least once: repeats are allowed, skipped input and lost state are not.
    pub const AT_LEAST_ONCE: [Self; 8] = [
        Self::FetchedOffsets,
        Self::NextKept,
        Self::OffsetsBeforeFlush,
        Self::RefusalIgnored,
        Self::PositionBeforeFlush,
        Self::PositionAboveData,
        Self::SinkAfterCommit,
        Self::SinkFailureIgnored,
    ];
}
