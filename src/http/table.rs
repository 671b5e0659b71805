//! Every metric there is, as data: name, type, labels and help. README prints this table.

use Kind::{Counter, Gauge, Histogram};

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number that never falls; its name ends in `_total`.
    Counter,
    /// A number that comes and goes.
    Gauge,
    /// Times by bucket.
    Histogram,
}

impl Kind {
    /// The type in Prometheus' words.
    pub fn name(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const fn f(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind, labels, help }
}

const THREAD: &[&str] = &["thread"];
const SUB: &[&str] = &["thread", "sub_topology"];
const TASK: &[&str] = &["task"];
const TOPIC: &[&str] = &["topic"];
const STORE: &[&str] = &["store"];

/// Every metric, in the order of the page.
pub const FAMILIES: &[Family] = &[
    f("events_processed_total", Counter, TOPIC, "Input records processed."),
    f("events_failed_total", Counter, &["topic", "error_type"], "Input records left out, by reason."),
    f(
        "event_latency_ms",
        Histogram,
        TOPIC,
        "From a record's timestamp to the commit that made its effects visible, in milliseconds.",
    ),
    f("millstream_processed_records_total", Counter, SUB, "Records processed, repeats after an abort included."),
    f("millstream_processed_bytes_total", Counter, SUB, "Bytes of keys, values and headers of processed records."),
    f("millstream_sent_records_total", Counter, SUB, "Records written by sinks, repeats after an abort included."),
    f("millstream_sent_bytes_total", Counter, SUB, "Bytes written by sinks."),
    f("millstream_changelog_records_total", Counter, SUB, "Records written to changelogs."),
    f("millstream_changelog_bytes_total", Counter, SUB, "Bytes written to changelogs."),
    f(
        "millstream_dropped_records_total",
        Counter,
        &["thread", "sub_topology", "reason"],
        "Records left out, late ones among them, by reason.",
    ),
    f("millstream_punctuations_total", Counter, SUB, "Punctuations called."),
    f(
        "millstream_end_to_end_latency_seconds",
        Histogram,
        &["sub_topology"],
        "From a record's timestamp to the commit that made its effects visible; sampled evenly over each transaction.",
    ),
    f(
        "millstream_processing_duration_seconds",
        Histogram,
        &["thread", "phase"],
        "Work on one record by phase (fetch, queue, process): the mean of each batch, counted for each of its records.",
    ),
    f(
        "millstream_commit_duration_seconds",
        Histogram,
        THREAD,
        "From preparing a commit to its outcome, of commits that ended well; in whole milliseconds.",
    ),
    f(
        "millstream_commit_phase_duration_seconds",
        Histogram,
        &["thread", "phase"],
        "A commit by phase: prepare (flush caches, make changelog records), send, offsets, end (wait for brokers), apply.",
    ),
    f(
        "millstream_thread_time_seconds_total",
        Counter,
        &["thread", "activity"],
        "What a stream thread spends its time on; its rate is the share. Exactly once a commit's offsets and end are not among it.",
    ),
    f("millstream_thread_state", Gauge, &["thread", "state"], "1 for the state that a stream thread is in, else 0."),
    f("millstream_thread_silent_seconds", Gauge, THREAD, "Time since a stream thread's last sign of life."),
    f(
        "millstream_thread_call_seconds",
        Gauge,
        &["thread", "call"],
        "How long a call of the Kafka client by a stream thread takes already; a commit goes on beside other calls.",
    ),
    f("millstream_transactions_total", Counter, &["thread", "outcome"], "Transactions by how they ended."),
    f("millstream_last_commit_timestamp_seconds", Gauge, THREAD, "When the last commit ended; 0 before it."),
    f("millstream_commit_overdue", Gauge, THREAD, "1 while work waits and commit.interval.ms is over, else 0."),
    f("millstream_rebalances_total", Counter, THREAD, "Assignments received."),
    f(
        "millstream_rebalance_duration_seconds",
        Histogram,
        THREAD,
        "From giving the partitions up, or from the start, until every task ran again, restores included.",
    ),
    f("millstream_tasks", Gauge, &["state"], "Tasks by state."),
    f("millstream_task_lag_records", Gauge, TASK, "Records that wait or are known to come."),
    f("millstream_task_lag_seconds", Gauge, TASK, "Wall clock less stream time while records wait, else 0."),
    f("millstream_stream_time_seconds", Gauge, TASK, "Greatest event time that a task has seen."),
    f("millstream_committed_offset", Gauge, &["topic", "partition"], "Next offset to read after the last commit."),
    f("millstream_restored_records_total", Counter, THREAD, "Changelog records restored."),
    f("millstream_task_restored_records", Gauge, TASK, "Changelog records restored since the task was opened."),
    f(
        "millstream_restore_remaining_records",
        Gauge,
        TASK,
        "Changelog offsets that a task has still to read; markers and compacted records count too.",
    ),
    f(
        "millstream_restore_left_seconds",
        Gauge,
        TASK,
        "How long a restore still takes if it goes on as fast; told from its first tenth on.",
    ),
    f("millstream_overlay_bytes", Gauge, THREAD, "Rows written by open transactions."),
    f("millstream_table_bytes", Gauge, THREAD, "Committed rows in memory."),
    f("millstream_cache_bytes", Gauge, THREAD, "Updates held back by record caches."),
    f("millstream_store_overlay_bytes", Gauge, &["task", "store"], "Uncommitted rows of a store."),
    f("millstream_store_table_bytes", Gauge, &["task", "store"], "Committed rows of a store in memory."),
    f("millstream_persists_total", Counter, THREAD, "Batches of rows that became durable."),
    f("millstream_processing_stalled", Gauge, THREAD, "1 while processing waits for the disk, else 0."),
    f("millstream_processing_stalled_seconds_total", Counter, THREAD, "Time that processing waited for the disk."),
    f("millstream_rocksdb_estimated_keys", Gauge, STORE, "Rows on disk, estimated."),
    f("millstream_rocksdb_sst_bytes", Gauge, STORE, "Table files, obsolete ones included."),
    f("millstream_rocksdb_live_sst_bytes", Gauge, STORE, "Table files in use."),
    f("millstream_rocksdb_memtable_bytes", Gauge, STORE, "Memtables."),
    f("millstream_rocksdb_table_reader_bytes", Gauge, STORE, "Indexes and filters outside of the block cache."),
    f("millstream_rocksdb_pending_compaction_bytes", Gauge, STORE, "Bytes to rewrite until all levels fit, estimated."),
    f("millstream_rocksdb_running_compactions", Gauge, &[], "Compactions that run."),
    f("millstream_rocksdb_running_flushes", Gauge, &[], "Flushes that run."),
    f("millstream_rocksdb_background_errors", Gauge, &[], "Errors of flushes and compactions in open databases."),
    f("millstream_rocksdb_stopped_databases", Gauge, &[], "Databases that take no writes at the moment."),
    f("millstream_rocksdb_block_cache_bytes", Gauge, &[], "Block cache, shared by all databases."),
    f("millstream_rocksdb_pinned_block_cache_bytes", Gauge, &[], "Block cache that can't be evicted."),
    f("millstream_rocksdb_write_buffer_bytes", Gauge, &[], "Memtables of all databases."),
    f("millstream_queries_total", Counter, &["outcome"], "Queries that stream threads answered or had no room for."),
    f("millstream_queries_waiting", Gauge, &[], "Queries that wait for a stream thread."),
    f("millstream_query_duration_seconds", Histogram, &[], "From a query's request to its answer."),
    f("millstream_change_listeners", Gauge, &[], "Readers of `/stores/{name}/changes`."),
    f("millstream_change_listeners_cut_total", Counter, &[], "Readers of changes that left or were too slow."),
    f("millstream_build_info", Gauge, &["version"], "Always 1; the version is a label."),
    f("process_cpu_seconds_total", Counter, &[], "Processor time, user and system."),
    f("process_open_fds", Gauge, &[], "Open file descriptors."),
    f("process_resident_memory_bytes", Gauge, &[], "Resident memory."),
    f("process_threads", Gauge, &[], "Threads of the process."),
    f("process_virtual_memory_bytes", Gauge, &[], "Virtual memory."),
];
