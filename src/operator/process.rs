//! What a node of a running graph is.

use super::{Context, ScheduleId};
use crate::{
    fault::Result,
    record::{RawRecord, Record, Timestamp},
};
use std::rc::Rc;

/// Takes records of one type. Built-in operators keep no state of their own: stores and times lie in the task, so
/// that an abort can take them back.
pub trait Process<K, V> {
    /// Handles one record and forwards what comes of it, depth first.
    ///
    /// # Errors
    /// A [`Fault`](crate::fault::Fault) with the remedy that the topology chose.
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()>;
}

/// A connection to a child.
pub type Edge<K, V> = Rc<dyn Process<K, V>>;

/// The children of a node in order of connection.
pub struct Children<K, V>(Vec<Edge<K, V>>);

impl<K, V> Children<K, V> {
    /// Children in order of connection.
    pub fn new(edges: Vec<Edge<K, V>>) -> Self {
        Self(edges)
    }

    /// Hands a record to every child.
    ///
    /// # Errors
    /// The first failure of a child.
    pub fn forward(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        for child in &self.0 {
            child.process(cx, record)?;
        }
        Ok(())
    }

    /// Hands a record to the child at `index`.
    ///
    /// # Errors
    /// The failure of the child.
    pub fn forward_to(&self, index: usize, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        self.0[index].process(cx, record)
    }
}

/// What the task calls on every node, whatever its types.
pub trait Node {
    /// Called once before the first record, and again after an abort on a node made anew.
    ///
    /// # Errors
    /// When a user processor refuses to start.
    fn init(&self, _cx: &mut dyn Context) -> Result<()> {
        Ok(())
    }

    /// A schedule of this node is due.
    ///
    /// # Errors
    /// As [`Process::process`].
    fn punctuate(&self, _cx: &mut dyn Context, _schedule: ScheduleId, _timestamp: Timestamp) -> Result<()> {
        Ok(())
    }

    /// Forwards what the record cache of this node's store holds back.
    ///
    /// # Errors
    /// As [`Process::process`].
    fn flush(&self, _cx: &mut dyn Context) -> Result<()> {
        Ok(())
    }

    /// Called once when the task closes.
    ///
    /// # Errors
    /// When a user processor fails to close.
    fn close(&self, _cx: &mut dyn Context) -> Result<()> {
        Ok(())
    }
}

/// The entry of a sub-topology for the records of one source node.
pub trait Source {
    /// The event time of a record, by the source's timestamp extractor. `partition_time` is the greatest seen so far
    /// in the partition, -1 before the first; `now` is the wall clock. A negative result means: drop the record and count it (D-59).
    ///
    /// # Errors
    /// When the extractor refuses the record.
    fn timestamp(&self, topic: &str, raw: &RawRecord, partition_time: Timestamp, now: Timestamp) -> Result<Timestamp>;

    /// Decodes a record and forwards it. False when its bytes were no value and it was left out: then it is as if it had
    /// never been, and time does not move.
    ///
    /// # Errors
    /// As [`Process::process`]; a decoding failure carries the remedy of the deserialization handler.
    fn process(&self, cx: &mut dyn Context, raw: &RawRecord, timestamp: Timestamp) -> Result<bool>;
}
