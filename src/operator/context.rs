//! What an operator may ask of its task.

use super::{ErrorContext, ErrorSettings, OnError, Stage};
use crate::{
    fault::{Fault, Result},
    record::{OutRecord, RawRecord, SourceContext, StoreIx, TaskId, Timestamp},
    sink::SinkRow,
    state::Store,
};
use std::sync::Arc;

/// Why a record was left out; each is a label of the dropped-records counter (D-76).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dropped {
    /// The key is null where the operator needs one.
    NullKey,
    /// The value is null where the operator needs one.
    NullValue,
    /// The window is closed.
    Late,
    /// The store no longer keeps rows that old.
    Expired,
    /// The event time is negative.
    NegativeTimestamp,
    /// The bytes are no value of the source's type.
    Deserialization,
    /// A newer version of the row is known.
    OutOfOrder,
    /// A processor or a function of the topology failed, and the handler goes on.
    Processing,
    /// A sink can't write it, and the handler goes on.
    Production,
}

impl Dropped {
    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::NullKey => "null-key",
            Self::NullValue => "null-value",
            Self::Late => "late",
            Self::Expired => "expired",
            Self::NegativeTimestamp => "negative-timestamp",
            Self::Deserialization => "deserialization",
            Self::OutOfOrder => "out-of-order",
            Self::Processing => "processing",
            Self::Production => "production",
        }
    }

    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::NullKey,
        Self::NullValue,
        Self::Late,
        Self::Expired,
        Self::NegativeTimestamp,
        Self::Deserialization,
        Self::OutOfOrder,
        Self::Processing,
        Self::Production,
    ];
}

/// The clock a schedule goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Punctuation {
    /// The task's stream time.
    StreamTime,
    /// The wall clock.
    WallClock,
}

/// A schedule of one node: its ordinal among the `schedule` calls of the node's `init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScheduleId(pub usize);

/// A time that an operator keeps in its task, such as its own stream time; commits and aborts with the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimeSlot(pub usize);

/// The task, as an operator sees it. One thread uses it; calls nest as records are forwarded.
pub trait Context {
    /// Id of the task.
    fn task(&self) -> TaskId;

    /// Name of the application.
    fn application_id(&self) -> &str;

    /// Wall clock in milliseconds as the driver gave it for this step.
    fn now(&self) -> Timestamp;

    /// Greatest timestamp of any record of this task, -1 before the first (D-51).
    fn stream_time(&self) -> Timestamp;

    /// The input record in hand; absent in punctuation.
    fn source(&self) -> Option<&SourceContext>;

    /// Replaces the input record in hand, for an update that the record cache held back. Returns the former one.
    fn set_source(&mut self, source: Option<SourceContext>) -> Option<SourceContext>;

    /// The input record in hand as it came; absent in punctuation, and for what the record cache held back unless there is
    /// a dead-letter topic.
    fn input(&self) -> Option<&RawRecord>;

    /// Replaces the input record as it came, for an update that the record cache held back. Returns the former one.
    fn set_input(&mut self, input: Option<Arc<RawRecord>>) -> Option<Arc<RawRecord>>;

    /// What the settings say of failed and late records.
    fn error_settings(&self) -> &ErrorSettings;

    /// What the topology's handler, or else the settings, say of a failure.
    fn on_error(&self, stage: Stage, context: &ErrorContext<'_>, fault: &Fault) -> OnError;

    /// A store of this task.
    fn store(&mut self, store: StoreIx) -> &mut Store;

    /// An operator's time, -1 before it is set.
    fn time(&self, slot: TimeSlot) -> Timestamp;

    /// Sets an operator's time.
    fn set_time(&mut self, slot: TimeSlot, time: Timestamp);

    /// Number of partitions of an output topic.
    ///
    /// # Errors
    /// When the topic is not known to exist.
    fn partitions(&self, topic: &str) -> Result<i32>;

    /// The partition that Kafka's default partitioner gives a key: murmur2; a null key goes round by a counter of the task.
    fn default_partition(&mut self, key: Option<&[u8]>, partitions: i32) -> i32;

    /// Full name of an internal topic: the application's id, then the name in the topology.
    fn internal_topic(&self, name: &str) -> Arc<str>;

    /// Appends to the outbox.
    ///
    /// # Errors
    /// When the record can't be sent, such as one above `max.request.size`.
    fn send(&mut self, record: OutRecord) -> Result<()>;

    /// Keeps a row for the sink of this name, until the commit.
    fn collect(&mut self, sink: &Arc<str>, row: SinkRow);

    /// Counts a record that was left out.
    fn dropped(&mut self, reason: Dropped);

    /// Starts a schedule of node `node` (its index in the task's graph). Only in [`Node::init`](super::Node::init), in
    /// punctuation or while processing.
    fn schedule(&mut self, node: usize, interval_ms: i64, kind: Punctuation) -> ScheduleId;

    /// Starts a schedule whose due times are `start` and multiples of the interval after it, those passed left out
    /// (P-27). Otherwise as [`Context::schedule`].
    fn schedule_from(&mut self, node: usize, start: Timestamp, interval_ms: i64, kind: Punctuation) -> ScheduleId;

    /// Ends a schedule.
    fn cancel(&mut self, node: usize, schedule: ScheduleId);

    /// Asks for a commit soon.
    fn request_commit(&mut self);

    /// A buffer for encoding, empty; give it back with [`Context::recycle`].
    fn buffer(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes back a buffer.
    fn recycle(&mut self, _buffer: Vec<u8>) {}
}
