//! A running graph: one sub-topology built for one task, on the task's thread.

use crate::{
    operator::{Node, Source},
    record::StoreIx,
    state::StoreSpec,
};
use std::{rc::Rc, sync::Arc};

/// One source topic of a graph.
pub struct SourceEntry {
    /// Full topic name (internal topics carry the application's id).
    pub topic: Arc<str>,
    /// Where its records enter.
    pub source: Rc<dyn Source>,
}

/// A node whose store has a record cache, to be flushed at commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushPoint {
    /// Index in [`Graph::nodes`].
    pub node: usize,
    /// The cached store.
    pub store: StoreIx,
}

/// The nodes of one task, made anew for each task and after each abort.
pub struct Graph {
    /// Source topics in the order of the plan; ties between equal timestamps go by it.
    pub sources: Vec<SourceEntry>,
    /// All nodes in topological order, sources first.
    pub nodes: Vec<Rc<dyn Node>>,
    /// Names of [`Graph::nodes`].
    pub names: Vec<Arc<str>>,
    /// Stores in the order of their [`StoreIx`]; the same for every build of a sub-topology.
    pub stores: Vec<StoreSpec>,
    /// Caches in the order in which a commit flushes them (topological).
    pub flush: Vec<FlushPoint>,
    /// Names of the operator times in the order of their [`TimeSlot`](crate::operator::TimeSlot): the keys under
    /// which they travel in the offset metadata.
    pub times: Vec<Arc<str>>,
}
