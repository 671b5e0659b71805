//! Optimisations of a topology, which change its nodes, stores and topics, but not its results.

use super::plan::{Changes, Logical, LogicalNode, NodeIx};
use std::{collections::BTreeMap, sync::Arc};

/// One of the optimisations of Kafka Streams' `topology.optimization`. An application that is in use keeps those that
/// it has: another choice means other nodes, stores and topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Optimization {
    /// `reuse.ktable.source.topics`: a table that is read from a topic and keeps its rows has no changelog of its own. Its
    /// store is restored from the source topic, up to the committed offset: what lies above is input still to come. Nothing
    /// is written to the topic, also where the store's logging is off.
    ///
    /// The topic must then keep what state needs: its `cleanup.policy` is to be `compact`, for a versioned table with a
    /// `min.compaction.lag.ms` of its history. A worker warns of others. As in Kafka Streams, a row is missing after a
    /// restore while its newer version lies in the topic unprocessed and compaction has removed the older one. Unlike
    /// there, a record that processing left out (its bytes are no value, it has no key or no time) is left out by a restore too.
    ReuseKtableSourceTopics,
    /// `merge.repartition.topics`: groupings and joins below one change of the key share one repartition topic, which lies
    /// right below it, or below the merge of several such streams.
    MergeRepartitionTopics,
    /// `single.store.self.join`: a stream that is joined with itself keeps its records once (D-92).
    SingleStoreSelfJoin,
}

impl Optimization {
    /// Every optimisation: `all`.
    pub const ALL: &'static [Self] =
        &[Self::ReuseKtableSourceTopics, Self::MergeRepartitionTopics, Self::SingleStoreSelfJoin];
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

/// The first of a node and its ancestors, depth first, for which `wanted` holds.
fn nearest(nodes: &[LogicalNode], at: NodeIx, wanted: &dyn Fn(NodeIx) -> bool) -> Option<NodeIx> {
    if wanted(at) {
        return Some(at);
    }
    nodes[at].parents.iter().find_map(|parent| nearest(nodes, *parent, wanted))
}

fn link(nodes: &mut [LogicalNode], parent: NodeIx, child: NodeIx) {
    if !nodes[parent].children.contains(&child) {
        nodes[parent].children.push(child);
    }
    if !nodes[child].parents.contains(&parent) {
        nodes[child].parents.push(parent);
    }
}

fn unlink(nodes: &mut [LogicalNode], parent: NodeIx, child: NodeIx) {
    nodes[parent].children.retain(|c| *c != child);
    nodes[child].parents.retain(|p| *p != parent);
}

/// Repartition topics by the node below which one of them does for all: the change of key right above, or the merge of
/// several such streams.
fn shared(nodes: &[LogicalNode]) -> Vec<(NodeIx, Vec<NodeIx>)> {
    let changes = |at: NodeIx| nodes[at].changes;
    let mut below: Vec<(NodeIx, Vec<NodeIx>)> =
        (0..nodes.len()).filter(|at| changes(*at).key).map(|at| (at, Vec::new())).collect();
    for (at, node) in nodes.iter().enumerate() {
        let Logical::Repartition(through) = &node.what else { continue };
        let above = nearest(nodes, at, &|n| n != at && (changes(n).key || changes(n).value));
        let changer = above.filter(|n| changes(*n).key && through.mergeable);
        if let Some((_, topics)) = below.iter_mut().find(|(n, _)| Some(*n) == changer) {
            topics.push(at);
        }
    }
    for merge in (0..nodes.len()).filter(|at| changes(*at).merged) {
        let is_below = |at: NodeIx, above: NodeIx| nearest(nodes, at, &|n| nodes[n].parents.contains(&above)).is_some();
        let through = |(changer, topics): &(NodeIx, Vec<NodeIx>)| {
            topics.iter().any(|topic| is_below(*topic, merge)) && is_below(merge, *changer)
        };
        let (merged, rest): (Vec<_>, Vec<_>) = below.into_iter().partition(through);
        below = rest;
        below.push((merge, merged.into_iter().flat_map(|(_, topics)| topics).collect()));
    }
    below.retain(|(_, topics)| !topics.is_empty());
    below
}

/// Puts one repartition topic in the place of all those below one change of the key. Gives new names of sources by the
/// former ones.
pub(super) fn merge_repartitions(nodes: &mut Vec<LogicalNode>) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut renamed = BTreeMap::new();
    for (changer, topics) in shared(nodes) {
        let Logical::Repartition(mut through) = nodes[topics[0]].what.clone() else { continue };
        let part = |what: &str| -> Arc<str> { format!("{}-{what}", through.topic).into() };
        let (filter, sink, source) = (part("filter"), part("sink"), part("source"));
        if let Some(plan) = &mut through.filter {
            plan.name = filter;
        }
        (through.sink.name, through.source.name) = (sink, source.clone());
        let one = nodes.len();
        nodes.push(LogicalNode {
            name: source.clone(),
            priority: nodes[changer].priority,
            parents: Vec::new(),
            children: Vec::new(),
            takes_null_keys: false,
            grace_ms: None,
            changes: Changes::default(),
            what: Logical::Repartition(through),
        });
        for topic in topics {
            let first = nearest(nodes, topic, &|n| nodes[n].parents.contains(&changer));
            if let Some(first) = first {
                link(nodes, one, first);
                unlink(nodes, changer, first);
            }
            for child in nodes[topic].children.clone() {
                for parent in nodes[topic].parents.clone() {
                    link(nodes, parent, child);
                }
                unlink(nodes, topic, child);
            }
            for parent in nodes[topic].parents.clone() {
                unlink(nodes, parent, topic);
            }
            renamed.insert(nodes[topic].name.clone(), source.clone());
        }
        link(nodes, changer, one);
    }
    renamed
}
