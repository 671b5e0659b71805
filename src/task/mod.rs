//! One sub-topology on one partition: queues, times, punctuation, and the stores it keeps.
//!
//! A [`Task`] is a [`Replica`] (stores, positions, restore) plus the operators and what feeds them. It never talks to
//! a client: what it sends lies in the worker's [`Outbox`] until the commit.

mod context;
mod counters;
mod latency;
mod metadata;
mod outbox;
mod queue;
mod replica;
mod running;
mod schedules;

pub use counters::{Counters, DroppedBy, TopicCounters};
pub use latency::{COMMIT_BOUNDS_US, EVENT_BOUNDS_US, Latency, RECORD_BOUNDS_US};
pub use metadata::{Metadata, Stamp};
pub use outbox::Outbox;
pub use queue::{Idle, Queue};
pub use replica::{Judge, Replica, Slot, Verdict};
pub use running::{Committed, Env, Task, at_task};
