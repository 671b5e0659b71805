//! Many tasks, one group member, one transaction: a value that drivers feed with events and whose effects they carry out.

mod effect;
mod event;
mod planted;
mod settings;

pub use effect::{CommitOffset, Effect, From, OpenStore};
pub use event::{Event, GroupMetadata, LogRange, Now, OpenedStore, Outcome, Stable};
pub use planted::Planted;
pub use settings::{Guarantee, NEVER, Settings};

/// Number of an effect that awaits an answer; unique within a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request(pub u64);

/// Number of a fetch; unique within a worker. Records of an older fetch of the same partition are stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fetch(pub u64);

use crate::{
    fault::Result,
    record::{Timestamp, TopicPartition},
    topology::{Resolved, Topology},
};
use std::sync::Arc;

/// One group member: its tasks and its transaction.
pub struct Worker {
    _x: (),
}

/// Figures of a worker at one moment; the HTTP side reads copies of it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Records processed since the start, by source topic.
    pub processed: u64,
}

#[allow(unused_variables, reason = "signatures first")]
impl Worker {
    /// A worker without an assignment.
    pub fn new(topology: Arc<Topology>, resolved: Arc<Resolved>, settings: Settings) -> Self {
        todo!()
    }

    /// Something happened.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        todo!()
    }

    /// Processes at most `budget` records. True when there is more to do at once.
    pub fn step(&mut self, now: Timestamp, budget: usize) -> bool {
        todo!()
    }

    /// The next thing for the driver to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        todo!()
    }

    /// When [`Worker::step`] should be called again even if nothing happens.
    pub fn next_wakeup(&self) -> Timestamp {
        todo!()
    }

    /// True when every owned partition is processed and committed up to `end` of each (for `--until-end`).
    pub fn committed_up_to(&self, ends: &[(TopicPartition, i64)]) -> bool {
        todo!()
    }

    /// Figures for metrics, logs and `/tasks`.
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }
}

/// Result of a worker call.
pub type WorkerResult = Result<()>;
