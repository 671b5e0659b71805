//! Kafka Streams for Rust: a library and a worker for stateful stream processing, exactly once.
//!
//! A program writes a topology in Kafka Streams' words (streams, tables, windows, joins), links it into a worker, and
//! starts as many replicas as it likes. Replicas share the partitions of a Kafka consumer group, keep their state per
//! partition on the local disk, log it to compacted changelog topics, and commit input offsets, output and changelogs
//! in one Kafka transaction. Without Kafka the same worker runs on an embedded log in the process.
//!
//! ```text
//!        input topics        output topics        changelog topics      committed offsets
//!             |                    ^                      ^                     ^
//!             |                    +----------+-----------+---------------------+
//!             |                               |  one transaction
//!  driver     |  kafka | embedded | testing   |              (clocks, threads, sockets)
//!  ===========|===============================|=================================
//!             v Event                         | Effect       (pure: same events, same effects)
//!      +------+-------------------------------+--------+
//!      | worker: one group member, one transaction     |
//!      |   +----------------+   +----------------+     |
//!      |   | task 0_0       |   | task 0_1       | ... |   a task is one sub-topology
//!      |   | queue > graph  |   | queue > graph  |     |   on one partition
//!      |   |       > outbox |   |       > outbox |     |
//!      |   | stores         |   | stores         |     |
//!      |   +-------+--------+   +-------+--------+     |
//!      +-----------|--------------------|--------------+
//!                  v                    v
//!       overlay (uncommitted) > table (committed) > RocksDB or memory (persisted)
//! ```
//!
//! # The journey of a record
//!
//! 1. The driver fetches a batch and hands it over as [`Event::Records`](worker::Event::Records). Nothing is processed
//!    yet: [`Worker::handle`](worker::Worker::handle) appends it to the queue of its task and partition.
//! 2. [`Worker::step`](worker::Worker::step) picks a task. The task takes the record with the smallest timestamp among
//!    the heads of its queues, and stream time advances.
//! 3. The source decodes key and value. Bytes that are no value are a [`Fault`](fault::Fault) whose remedy the topology chose.
//! 4. Operators call each other directly, typed from end to end. They read and write rows of
//!    [`Store`](state::Store)s; writes stay in the overlay of the open transaction.
//! 5. Sinks choose the partition, encode, and append to the outbox.
//! 6. A commit falls due by time or by size. Record caches forward what they held back, each store turns its overlay
//!    into changelog records, the outbox is sent, and the offsets go with it: [`Effect::Commit`](worker::Effect::Commit).
//! 7. Until the driver answers, records go on into a second overlay. The answer is one of five
//!    [`Outcome`](worker::Outcome)s. Committed: the first overlay's rows move to the table. Aborted: each task starts
//!    again from the last commit. Unknown: a new producer finds out which of the two it was. Lost or fenced: others own
//!    the partitions, and nothing more is written.
//! 8. Later, off the record's path, rows of the table reach the disk in sorted batches, each with the changelog
//!    position that it brings the disk up to. After a crash only what lies above that position is read again.
//!
//! # Invariants
//!
//! Asserted in the code; the simulator in `testing` attacks them with crashes, aborts, zombies and lost writes.
//!
//! - **I1** A backend never holds a write whose changelog record is not committed.
//! - **I2** The changelog position stored with a backend is never above what the backend holds.
//! - **I3** A restore reads the stable committed offsets first and the changelog's end after them, so that no commit
//!   of the former owner is missed.
//! - **I4** There are at most two overlays, one committing and one open. The open one sends nothing before the other's
//!   outcome, and is dropped with it unless that is a commit.
//! - **I5** A revoked partition is given up only after its transaction has ended; a lost one writes nothing more.
//! - **I6** Every queue, batch, loop and buffer has a limit with a name ([`Settings`](worker::Settings)).
//! - **I7** A task's part of a transaction is whole: the offsets of all its source partitions, whether they moved or
//!   not. Otherwise a zombie could commit beside its successor.
//! - **I8** Expired rows are dropped by the stream time of the last committed transaction; reads use the current one.
//!
//! # The map
//!
//! From the bottom up; a module imports only what stands above it here, and `tests/architecture.rs` holds it to that.
//! Everything before `embedded`, and `testing`, is pure: no clock, threads, files, sockets or randomness, but for the one
//! file that talks to RocksDB.
//!
//! - [`fault`]: every failure, sorted by what the caller must do about it
//! - [`record`]: records, times, headers, and the names of tasks, stores and partitions
//! - [`codec`]: bytes to values and back in Kafka Streams' formats, and Kafka's partitioner
//! - [`config`]: settings, where a value came from, and what the Kafka clients get
//! - [`log`]: a log in memory that keeps a broker's rules: transactions, groups, compaction, retention
//! - [`sink`]: rows for systems beyond Kafka, and what is guaranteed of them
//! - [`state`]: stores in three tiers (overlay, table, backend) over memory or RocksDB
//! - [`operator`]: what a node does, one operator per file
//! - [`topology`]: the DSL, the plan it makes, its checks, names and description
//! - [`task`]: one sub-topology on one partition: queues, times, graph, outbox
//! - [`worker`]: many tasks, one group member, one transaction: events in, effects out
//! - [`embedded`]: workers on the log in the process: the demo, and topologies on files
//! - [`testing`]: the driver for tests of topologies, the simulator and its checker
//! - [`kafka`]: workers on Kafka
//! - [`adapters`]: PostgreSQL and Redis as sinks
//! - [`runtime`]: what a process needs around its workers: signals, logging, watchdog, shares of memory
//! - [`http`]: metrics, health, tasks and topology over HTTP
//! - [`cli`]: the command line

#[cfg(any(feature = "postgres", feature = "redis"))]
pub mod adapters;
pub mod cli;
pub mod codec;
pub mod config;
pub mod embedded;
pub mod fault;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod log;
pub mod operator;
pub mod record;
pub mod runtime;
pub mod sink;
pub mod state;
pub mod task;
pub mod testing;
pub mod topology;
pub mod worker;

/// Compiles and runs the README's code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
