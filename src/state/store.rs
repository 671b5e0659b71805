//! One store of one task: overlay, table and backend behind one set of reads and writes.

use super::{Backend, Batch, Saved, StoreSpec};
use crate::{
    fault::Result,
    record::{Headers, Offset, SourceContext, Timestamp},
};
use bytes::Bytes;
use std::{ops::ControlFlow, sync::Arc};

/// A row: its value and the timestamp of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Value bytes.
    pub value: Bytes,
    /// Event time of the value in milliseconds.
    pub timestamp: Timestamp,
}

/// An update that the record cache held back, in the form in which it is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Row id.
    pub row: Bytes,
    /// The row as it was last forwarded, or before the cache saw it.
    pub old: Option<Row>,
    /// The row now.
    pub new: Option<Row>,
    /// Event time of the last update (a deletion has one too).
    pub timestamp: Timestamp,
    /// Headers of the last update.
    pub headers: Headers,
    /// Input record of the last update.
    pub source: Option<SourceContext>,
}

/// Receives the changelog records of a commit.
pub trait ChangelogSink {
    /// One changelog record in the topic's own format.
    fn log(&mut self, key: Bytes, value: Option<Bytes>, timestamp: Timestamp);
}

/// One store of one task.
///
/// Writes go to the overlay; [`Store::drain`] turns it into changelog records, [`Store::committed`] moves it to the
/// table, [`Store::discard`] forgets it. [`Store::freeze`] and [`Store::persisted`] move the table to the backend.
pub struct Store {
    spec: StoreSpec,
    backend: Arc<dyn Backend>,
}

#[allow(unused_variables, reason = "signatures first")]
impl Store {
    /// A store over `backend`, which holds what `saved` describes (`None`: nothing usable).
    /// `deduplicate` writes one changelog record per dirty row and commit instead of one per write.
    pub fn new(spec: StoreSpec, backend: Arc<dyn Backend>, saved: Option<&Saved>, deduplicate: bool) -> Self {
        Self { spec, backend }
    }

    /// What the topology says of this store.
    pub fn spec(&self) -> &StoreSpec {
        &self.spec
    }

    // ---- reads and writes of the open transaction

    /// The row as the open transaction sees it. Expired rows are absent.
    pub fn get(&mut self, row: &[u8]) -> Result<Option<Row>> {
        todo!()
    }

    /// Visits live rows with `from <= id < to` (`None`: open), merged over all tiers.
    pub fn scan(
        &mut self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Row) -> ControlFlow<()>,
    ) -> Result<()> {
        todo!()
    }

    /// Writes a row; `None` deletes it. False when the row has expired and the write was dropped.
    pub fn put(&mut self, row: Bytes, value: Option<Bytes>, timestamp: Timestamp) -> Result<bool> {
        todo!()
    }

    /// Writes a row and holds its forward back until the next flush (P-62). False when the row has expired.
    pub fn put_cached(
        &mut self,
        row: Bytes,
        value: Option<Bytes>,
        timestamp: Timestamp,
        headers: &Headers,
        source: Option<&SourceContext>,
    ) -> Result<bool> {
        todo!()
    }

    /// Takes the updates held back since the last flush, in the order of their last update; a row made and deleted
    /// in between is left out (P-64).
    pub fn take_pending(&mut self) -> Vec<Pending> {
        todo!()
    }

    /// Bytes of updates held back.
    pub fn pending_bytes(&self) -> usize {
        todo!()
    }

    /// Stream time of the store (its greatest window start for a window store), -1 before the first row.
    pub fn stream_time(&self) -> Timestamp {
        todo!()
    }

    // ---- commit

    /// Freezes the overlay and hands its changelog records to `sink`, in the order of first write.
    /// Returns how many there were; an unlogged store gives none.
    pub fn drain(&mut self, sink: &mut dyn ChangelogSink) -> u64 {
        todo!()
    }

    /// The transaction of the frozen overlay is committed: its rows move to the table, and the position grows by the
    /// records drained and one marker (I2). `now` is the wall clock taken before the commit was sent.
    pub fn committed(&mut self, now: Timestamp) {
        todo!()
    }

    /// Forgets every uncommitted write; stream time goes back to that of the last commit.
    pub fn discard(&mut self) {
        todo!()
    }

    /// Bytes in the overlay.
    pub fn overlay_bytes(&self) -> usize {
        todo!()
    }

    /// True when the open transaction wrote something.
    pub fn is_dirty(&self) -> bool {
        todo!()
    }

    // ---- restore

    /// Applies a changelog record as a committed row. Malformed keys are an error.
    pub fn restore(&mut self, key: &Bytes, value: Option<&Bytes>, timestamp: Timestamp) -> Result<()> {
        todo!()
    }

    /// The changelog offset up to which this store is known to be complete: where a restore goes on.
    pub fn position(&self) -> Offset {
        todo!()
    }

    /// Sets the position during and after a restore. It never goes down.
    pub fn advance_position(&mut self, position: Offset) {
        todo!()
    }

    // ---- persist

    /// Bytes of committed rows that are not on disk yet (unsaved and saving).
    pub fn unsaved_bytes(&self) -> usize {
        todo!()
    }

    /// When the oldest unsaved row was committed (wall clock), if there is one.
    pub fn unsaved_since(&self) -> Option<Timestamp> {
        todo!()
    }

    /// Bytes of the whole table, saved rows included.
    pub fn table_bytes(&self) -> usize {
        todo!()
    }

    /// Turns unsaved rows into saving ones and gives them as a sorted batch, with position, committed stream time and
    /// expiry cut of this moment; rows that have expired by committed time are left out (I8). `None` when a persist is
    /// running. `clean` marks a clean close.
    pub fn freeze(&mut self, cluster_id: &str, topic_id: &str, clean: bool) -> Option<Batch> {
        todo!()
    }

    /// The batch of the last [`Store::freeze`] is durable (`true`) or failed (`false`: its rows are unsaved again).
    pub fn persisted(&mut self, durable: bool) {
        todo!()
    }

    /// Drops saved rows until the table takes at most `bytes_max`; unsaved rows stay.
    pub fn evict(&mut self, bytes_max: usize) {
        todo!()
    }

    /// The backend, for a persist on another thread.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
}
