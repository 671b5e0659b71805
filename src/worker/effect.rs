//! What the worker asks a driver to do.

use super::{Fetch, GroupMetadata, Request};
use crate::{
    fault::Fault,
    record::{Offset, OutRecord, TaskId, TopicPartition},
    sink,
    state::{Backend, Batch, StoreKind, StoreSpec},
};
use std::sync::Arc;

/// Where a fetch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At this offset.
    Offset(Offset),
    /// Where `auto.offset.reset` says, for a partition without a committed offset.
    Reset,
    /// At the start of the log: repartition topics without a committed offset.
    Start,
}

/// The committed position of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read.
    pub offset: Offset,
    /// Kafka Streams' metadata with the operators' times and the commit stamp.
    pub metadata: String,
}

/// A store to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStore {
    /// Store name.
    pub name: Arc<str>,
    /// Its changelog partition, when it is logged.
    pub changelog: Option<TopicPartition>,
    /// False for a store in memory.
    pub persistent: bool,
}

/// The topic setting by which a changelog forgets records whose event time lies far behind the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptBy {
    /// `retention.ms`: windows are deleted.
    Retention,
    /// `min.compaction.lag.ms`: of a key's versions only the last stays.
    CompactionLag,
}

impl KeptBy {
    /// The setting of `spec`'s changelog; none for stores whose changelog keeps the last record of each key.
    pub(crate) fn of(spec: &StoreSpec) -> Option<Self> {
        match spec.kind {
            StoreKind::Versioned { .. } => Some(Self::CompactionLag),
            _ => spec.retention_ms().map(|_| Self::Retention),
        }
    }

    /// Name and value of the setting with which nothing is forgotten.
    pub fn setting(self) -> (&'static str, &'static str) {
        match self {
            Self::Retention => ("retention.ms", "-1"),
            Self::CompactionLag => ("min.compaction.lag.ms", "9223372036854775807"),
        }
    }
}

/// Something for the driver to do, in the order given. Effects with a `request` are answered by the event of that number.
pub enum Effect {
    /// Starts a transaction (nothing at least once).
    Begin,
    /// Appends records to the open transaction. May block while the client's queue is full.
    Send {
        /// In order of processing.
        records: Vec<OutRecord>,
    },
    /// Adds the offsets to the transaction and commits it; at least once: flushes, then commits the offsets.
    Commit {
        /// Number to answer.
        request: Request,
        /// All source partitions of all tasks that took part (I7).
        offsets: Vec<CommitOffset>,
        /// Identity of the assignment under which the work was done.
        group: GroupMetadata,
    },
    /// Aborts the open transaction.
    Abort {
        /// Number to answer.
        request: Request,
    },
    /// Destroys the producer and starts one with the same transactional id.
    ReplaceProducer {
        /// Number to answer.
        request: Request,
    },
    /// Reads committed offsets with `require_stable`.
    FetchStable {
        /// Number to answer.
        request: Request,
        /// The partitions.
        partitions: Vec<TopicPartition>,
    },
    /// Fetches a partition from here on and delivers its records under this number; what was fetched before is stale.
    Fetch {
        /// Number that the records carry.
        fetch: Fetch,
        /// The partition.
        partition: TopicPartition,
        /// Where to start.
        from: From,
    },
    /// Stops (`false`) or resumes (`true`) delivery of a partition without losing what is prefetched.
    Flow {
        /// The partition.
        partition: TopicPartition,
        /// Whether records shall come.
        on: bool,
    },
    /// Gives the revoked partitions up. The answer to `Revoked` and to `Lost`.
    Unassign,
    /// Makes the group take this member's partitions back and assign anew, although the group itself is content: the
    /// worker closed its tasks because its producer was fenced or its commit was refused. `Revoked` (or `Lost`) and
    /// `Assigned` follow as in any rebalance; when one is under way there is nothing to do.
    Rejoin,
    /// Takes the directory of a task and opens its stores; waits while another thread still holds it.
    OpenStores {
        /// Number to answer.
        request: Request,
        /// The task.
        task: TaskId,
        /// Its stores in order.
        stores: Vec<OpenStore>,
    },
    /// Gives the directory of a task back. All backends of the task are dropped by now.
    CloseStores {
        /// Number to answer.
        request: Request,
        /// The task.
        task: TaskId,
    },
    /// Asks for start and read-uncommitted end of changelog partitions (I3: after the stable offsets were read).
    LogRanges {
        /// Number to answer.
        request: Request,
        /// The partitions.
        partitions: Vec<TopicPartition>,
    },
    /// Reads the next piece of a changelog, read_committed.
    Restore {
        /// Number to answer.
        request: Request,
        /// The changelog partition.
        changelog: TopicPartition,
        /// First offset wanted.
        from: Offset,
        /// Where the restore will end.
        to: Offset,
    },
    /// The restore of this changelog partition is over or given up; its reader may go.
    RestoreDone {
        /// The changelog partition.
        changelog: TopicPartition,
    },
    /// Makes a batch durable, off the worker's thread.
    Persist {
        /// Number to answer.
        request: Request,
        /// The task it belongs to.
        task: TaskId,
        /// Where to.
        backend: Arc<dyn Backend>,
        /// What.
        batch: Batch,
    },
    /// Deletes the records of a repartition partition below an offset whose commit is visible.
    Purge {
        /// The partition.
        partition: TopicPartition,
        /// First offset to keep.
        below: Offset,
    },
    /// Makes the topic keep records however old their timestamps are. Comes before the commit of such records; a failure
    /// is told as [`Event::SendFailed`](super::Event::SendFailed) before the next effect is taken.
    KeepForever {
        /// Changelog topic of a store whose stream time lies far behind the wall clock.
        topic: Arc<str>,
        /// Which setting would let them go.
        by: KeptBy,
    },
    /// Hands rows to sinks beyond Kafka. Comes before the commit of what made them; a failure that trying again for a
    /// while does not mend is told as [`Event::SendFailed`](super::Event::SendFailed) before the next effect is taken.
    Deliver {
        /// The rows of the transaction, by sink and task.
        batches: Vec<sink::Batch>,
    },
    /// All is closed and committed: leave the group and end. A fault ends the process with an error.
    Exit {
        /// Why, when not asked to.
        fault: Option<Fault>,
    },
}
