//! Optimisations of a topology, which change its nodes, stores and topics, but not its results.

use super::plan::{Logical, LogicalNode};

/// One of the optimisations of Kafka Streams' `topology.optimization`. An application that is in use keeps those that
/// it has: another choice means other nodes, stores and topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Optimization {
    /// `single.store.self.join`: a stream that is joined with itself keeps its records once (D-92).
    SingleStoreSelfJoin,
}

impl Optimization {
    /// Every optimisation: `all`.
    pub const ALL: &'static [Self] = &[Self::SingleStoreSelfJoin];
}

/// Joins of a stream with itself get one node and one store.
pub(super) fn self_joins(nodes: &mut [LogicalNode]) {
    for at in 0..nodes.len() {
        let (Logical::StreamJoin(join), &[parent]) = (&nodes[at].what, &nodes[at].parents[..]) else { continue };
        let (other, parents) = (join.other_window, vec![join.this_window.clone()]);
        let parts = vec![(join.self_join.clone(), parents)];
        nodes[parent].children.retain(|child| *child != other);
        nodes[at].what = Logical::Processors(parts);
    }
}
