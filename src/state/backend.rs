//! The last tier: where the rows of one store lie when they are not in memory.

use super::short_bytes::ShortBytes;
use crate::{
    fault::Result,
    record::{Offset, Timestamp},
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// What a backend knows about its own contents; written in one atomic step with the rows it describes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Saved {
    /// Changelog offset from which a restore must read; never above what the rows hold (I2).
    pub position: Offset,
    /// The store's stream time as of the newest commit that the rows cover, or that of a row beyond it.
    pub stream_time: Timestamp,
    /// Cluster that the changelog belongs to.
    pub cluster_id: String,
    /// Id of the changelog topic; a topic deleted and made again has another.
    pub topic_id: String,
    /// Wall clock, taken before the newest commit that `position` covers.
    pub covered_at: Timestamp,
    /// True when this was written by a clean close. At least once trusts nothing else.
    pub clean: bool,
}

/// Rows to be made durable together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Stored form of rows in ascending order of row id; `None` deletes.
    pub rows: Vec<(ShortBytes, Option<ShortBytes>)>,
    /// Rows below this row id have expired: they may go, whole files at a time. `None` when the store doesn't expire.
    pub expire_below: Option<Bytes>,
    /// The description that becomes true with these rows.
    pub saved: Option<Saved>,
}

/// Takes row ids and stored forms one by one, and says whether to go on.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// The rows of one store of one task.
///
/// Synchronous, because an operator needs a row in the middle of a record; all methods take `&self` so that a
/// [`Batch`] can be persisted on another thread while the task reads.
pub trait Backend: Send + Sync {
    /// The stored form of a row.
    ///
    /// # Errors
    /// When the medium fails.
    fn get(&self, row: &[u8]) -> Result<Option<Bytes>>;

    /// Visits rows with `from <= id < to` (`to` absent: no upper bound), ascending, or descending when `reverse`.
    ///
    /// # Errors
    /// When the medium fails.
    fn scan(&self, from: &[u8], to: Option<&[u8]>, reverse: bool, visit: Visit<'_>) -> Result<()>;

    /// Makes a batch durable: flushed and synced when this returns. Rows and `saved` become visible together or not at all.
    ///
    /// # Errors
    /// When the medium fails; the backend then holds what it held before.
    fn persist(&self, batch: &Batch) -> Result<()>;

    /// What the last durable batch said of itself; `None` for an empty backend.
    ///
    /// # Errors
    /// When the medium fails.
    fn saved(&self) -> Result<Option<Saved>>;

    /// Removes everything.
    ///
    /// # Errors
    /// When the medium fails.
    fn clear(&self) -> Result<()>;

    /// True when rows survive the process.
    fn durable(&self) -> bool;
}
