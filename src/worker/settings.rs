//! The limits and choices of one worker. Every queue, batch and buffer has its bound here, unit last.

use crate::{operator::ErrorSettings, record::Timestamp};

/// When input is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guarantee {
    /// Offsets, output and changelogs in one transaction.
    #[default]
    ExactlyOnceV2,
    /// Output and changelogs first, offsets after them: nothing is skipped, a crash repeats.
    AtLeastOnce,
}

/// Settings of a worker; the defaults are those of the README.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `processing.guarantee`.
    pub guarantee: Guarantee,
    /// `commit.interval.ms`: the longest time between two commits while there is something to commit.
    pub commit_interval_ms: i64,
    /// `max.task.idle.ms`.
    pub max_task_idle_ms: i64,
    /// Records of one partition that wait in its queue, in bytes; above it the partition's flow is turned off.
    pub partition_queue_bytes_max: usize,
    /// Half of `fetch.queue.max.bytes`, this worker's share: records that wait in the queues of all partitions, in bytes. Each
    /// has an equal part, at most `partition_queue_bytes_max`.
    pub queues_bytes_max: usize,
    /// Bytes in the outbox at which a part of it is sent before the commit.
    pub outbox_bytes_max: usize,
    /// Uncommitted rows of all stores, in bytes, at which a commit is due.
    pub overlay_bytes_max: usize,
    /// `transaction.sink.max.bytes`, this worker's share: rows for sinks beyond Kafka, in bytes, at which a commit is due.
    pub sink_bytes_max: usize,
    /// `statestore.cache.max.bytes`, this worker's share: updates held back by record caches, in bytes.
    pub cache_bytes_max: usize,
    /// `state.memory.bytes`, this worker's share: table rows of all tasks, in bytes.
    pub table_bytes_max: usize,
    /// Unsaved rows of one store, in bytes, at which they are persisted.
    pub persist_bytes: usize,
    /// `state.persist.interval.ms`: the longest time a committed row stays unsaved.
    pub persist_interval_ms: i64,
    /// `changelog.deduplicate`: one changelog record per dirty row and commit.
    pub changelog_deduplicate: bool,
    /// `transaction.abort.backoff.ms`: pause after an abort, doubled by each further one up to 64 times.
    pub abort_backoff_ms: i64,
    /// `transaction.aborts.max`: aborts in a row without a commit that stop the worker.
    pub aborts_max: u32,
    /// `suspended.task.close.ms`: how long a task waits for its partitions to come back.
    pub suspended_close_ms: i64,
    /// `repartition.purge.interval.ms`.
    pub purge_interval_ms: i64,
    /// `delete.retention.ms` of the changelogs: how long a tombstone stays readable after compaction (I2).
    pub delete_retention_ms: i64,
    /// `windowstore.changelog.additional.retention.ms`.
    pub changelog_margin_ms: i64,
    /// `max.request.size`: the largest record a sink may make, in bytes.
    pub request_bytes_max: usize,
    /// Committed changes of watched stores between two looks at them, in bytes; those above it are lost to the watchers.
    pub watch_bytes_max: usize,
    /// What happens to failed and late records: the handlers and topics of `errors.*` and `*.exception.handler`.
    pub errors: ErrorSettings,
    /// `--accept-reset`: go on without committed offsets although a changelog holds data.
    pub accept_reset: bool,
    /// `millstream.session` of the commit stamp: drawn by the driver when the producer starts.
    pub session: i64,
    /// Bugs to plant, for the checkers' own tests. Empty in every real run.
    pub planted: crate::worker::Planted,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            guarantee: Guarantee::ExactlyOnceV2,
            commit_interval_ms: 100,
            max_task_idle_ms: 0,
            partition_queue_bytes_max: 1 << 20,
            queues_bytes_max: 8 << 20,
            outbox_bytes_max: 1 << 20,
            overlay_bytes_max: 8 << 20,
            sink_bytes_max: 4 << 20,
            cache_bytes_max: 10 << 20,
            table_bytes_max: 88 << 20,
            persist_bytes: (88 << 20) / 7,
            persist_interval_ms: 30_000,
            changelog_deduplicate: true,
            abort_backoff_ms: 50,
            aborts_max: 20,
            suspended_close_ms: 60_000,
            purge_interval_ms: 30_000,
            delete_retention_ms: 86_400_000,
            changelog_margin_ms: 86_400_000,
            request_bytes_max: 1 << 20,
            watch_bytes_max: 8 << 20,
            errors: ErrorSettings::default(),
            accept_reset: false,
            session: 1,
            planted: crate::worker::Planted::default(),
        }
    }
}

/// A time that never comes.
pub const NEVER: Timestamp = Timestamp::MAX;
