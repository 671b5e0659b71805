//! What a driver tells the worker.

use super::{Fetch, Request};
use crate::{
    fault::Fault,
    record::{Offset, RawRecord, Timestamp, TopicPartition},
    state::{Backend, Saved},
};
use std::sync::Arc;

/// Identity in the group, captured once when an assignment is delivered and used verbatim for every commit under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    /// Generation of the assignment; negative means that the membership is gone.
    pub generation: i32,
    /// Member id.
    pub member: String,
    /// Static member's id.
    pub instance: Option<String>,
}

/// A committed offset, read with `require_stable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stable {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read, or `None` when nothing is committed.
    pub offset: Option<Offset>,
    /// The metadata committed with it.
    pub metadata: String,
}

/// Where a partition's log starts and ends: the first offset that can be read, and the next one to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// First offset still there.
    pub start: Offset,
    /// Read-uncommitted end.
    pub end: Offset,
}

/// A store as the driver opened it.
#[derive(Clone)]
pub struct OpenedStore {
    /// The rows.
    pub backend: Arc<dyn Backend>,
    /// What they say of themselves.
    pub saved: Option<Saved>,
    /// Cluster of the changelog.
    pub cluster_id: String,
    /// Id of the changelog topic; empty when the store isn't logged.
    pub topic_id: String,
}

/// How a commit ended (architecture: outcomes of a commit).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is visible.
    Committed,
    /// None of it is; try again from the last commit, or end where the fault's remedy is to stop.
    Aborted(Fault),
    /// The answer did not come. The producer must be replaced, then the stable offsets tell; at least once the same
    /// offsets are committed again.
    Unknown,
    /// The group has moved on. None of it is visible.
    Lost,
    /// Another producer took this one's transactional id. None of it is visible.
    Fenced,
}

/// Something that happened. An answer repeats the number of its effect; one that nobody awaits is dropped.
pub enum Event {
    /// The group gave partitions to this member; nothing is fetched before [`Effect::Fetch`](super::Effect::Fetch).
    Assigned {
        /// All partitions that this member owns now, with committed offsets read after the assignment.
        partitions: Vec<Stable>,
        /// Current partition count of each subscribed topic.
        counts: Vec<(Arc<str>, i32)>,
        /// Identity for commits under this assignment.
        group: GroupMetadata,
    },
    /// The group takes all partitions back, and waits until [`Effect::Unassign`](super::Effect::Unassign).
    Revoked,
    /// The partitions went to others already.
    Lost,
    /// Records of one partition in offset order.
    Records {
        /// The fetch they belong to; another number than the current one means a stale batch.
        fetch: Fetch,
        /// Their partition.
        partition: TopicPartition,
        /// The records.
        records: Vec<RawRecord>,
        /// Position after them: offset of the next record or marker to fetch.
        position: Offset,
        /// The last stable end of the partition as far as known.
        end: Offset,
    },
    /// The position of a partition, also when no record came: markers and aborted ranges advance it.
    Position {
        /// The fetch it belongs to.
        fetch: Fetch,
        /// The partition.
        partition: TopicPartition,
        /// Offset of the next record or marker to fetch.
        position: Offset,
        /// The last stable end of the partition as far as known.
        end: Offset,
    },
    /// Answer to [`Effect::OpenStores`](super::Effect::OpenStores), stores in the order asked for.
    Opened {
        /// Number of the effect.
        request: Request,
        /// The stores.
        result: Result<Vec<OpenedStore>, Fault>,
    },
    /// Answer to [`Effect::LogRanges`](super::Effect::LogRanges), in the order asked for.
    LogRanges {
        /// Number of the effect.
        request: Request,
        /// The ranges.
        result: Result<Vec<LogRange>, Fault>,
    },
    /// Answer to [`Effect::Restore`](super::Effect::Restore): one bounded piece of a changelog, committed records only.
    Restored {
        /// Number of the effect.
        request: Request,
        /// Records and the position after them; it may advance without records. Never empty-handed without progress:
        /// the driver answers when the position has moved or the read failed.
        result: Result<(Vec<RawRecord>, Offset), Fault>,
    },
    /// Answer to [`Effect::Persist`](super::Effect::Persist).
    Persisted {
        /// Number of the effect.
        request: Request,
        /// Whether the batch is durable.
        result: Result<(), Fault>,
    },
    /// Answer to [`Effect::CloseStores`](super::Effect::CloseStores).
    Closed {
        /// Number of the effect.
        request: Request,
    },
    /// Answer to [`Effect::Commit`](super::Effect::Commit).
    CommitEnded {
        /// Number of the effect.
        request: Request,
        /// How it ended.
        outcome: Outcome,
    },
    /// Sending, keeping or delivering failed in a way that dooms the open transaction; the worker answers with an abort. Told before
    /// the driver takes another effect, it keeps a commit back that lies ready.
    SendFailed {
        /// What the broker said.
        fault: Fault,
    },
    /// Answer to [`Effect::Abort`](super::Effect::Abort): nothing of the transaction is visible.
    AbortEnded {
        /// Number of the effect.
        request: Request,
        /// An error means that the producer is of no use any more.
        result: Result<(), Fault>,
    },
    /// Answer to [`Effect::ReplaceProducer`](super::Effect::ReplaceProducer): former transactions are decided.
    ProducerReady {
        /// Number of the effect.
        request: Request,
        /// Whether there is a producer.
        result: Result<(), Fault>,
    },
    /// Answer to [`Effect::FetchStable`](super::Effect::FetchStable).
    StableOffsets {
        /// Number of the effect.
        request: Request,
        /// One per partition asked for.
        result: Result<Vec<Stable>, Fault>,
    },
    /// The memory this worker may use for tables from now on, in bytes.
    Budget {
        /// Bytes.
        table_bytes_max: usize,
    },
    /// Commit, close everything, leave.
    Stop,
}

/// The wall clock as the driver reads it, in milliseconds.
pub type Now = Timestamp;
