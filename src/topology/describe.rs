//! Kafka Streams' text of a topology, to the letter.

use super::{
    java::{TreeSet, hash_order},
    physical::{Physical, PhysicalNode, Role},
    plan::SinkTopic,
};
use std::{cmp::Ordering, collections::BTreeMap, fmt::Write as _, sync::Arc};

/// One node of a sub-topology with what the text needs of it.
struct Described<'a> {
    node: &'a PhysicalNode,
    /// Number of paths that start here: Kafka Streams sorts by it.
    size: usize,
    parents: Vec<usize>,
    children: Vec<usize>,
}

/// The text of a topology.
pub(crate) fn describe(physical: &Physical) -> String {
    let mut text = String::from("Topologies:\n ");
    for group in 0..physical.groups() {
        let global = physical.is_global(group);
        let remark = if global { " for global store (will not generate tasks)" } else { "" };
        let _ = writeln!(text, "  Sub-topology: {group}{remark}");
        let nodes = connect(physical.nodes.iter().filter(|n| n.group == group).collect());
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by(|a, b| compare(&nodes, *a, *b));
        for at in order {
            write_node(&mut text, &nodes, at);
        }
        if !global {
            text.push('\n');
        }
    }
    text
}

fn compare(nodes: &[Described<'_>], a: usize, b: usize) -> Ordering {
    nodes[b].size.cmp(&nodes[a].size).then_with(|| nodes[a].node.name.cmp(&nodes[b].node.name))
}

/// Connects nodes in the order in which Kafka Streams does: sizes grow on the way, and the place of a child or parent
/// among its like is that of its size at the time.
fn connect(nodes: Vec<&PhysicalNode>) -> Vec<Described<'_>> {
    let place: BTreeMap<Arc<str>, usize> = nodes.iter().enumerate().map(|(i, n)| (n.name.clone(), i)).collect();
    let order = hash_order((0..nodes.len()).collect(), |i| nodes[*i].name.clone());
    let mut described: Vec<Described<'_>> =
        nodes.into_iter().map(|node| Described { node, size: 1, parents: Vec::new(), children: Vec::new() }).collect();
    let mut sets: Vec<[TreeSet; 2]> = described.iter().map(|_| Default::default()).collect();
    for at in order {
        for parent in described[at].node.parents.iter().map(|p| place[p]).collect::<Vec<_>>() {
            sets[at][0].insert(parent, |a, b| compare(&described, a, b));
            sets[parent][1].insert(at, |a, b| compare(&described, a, b));
            described[at].parents = sets[at][0].items();
            let size = described[at].size;
            grow(&mut described, parent, size);
        }
    }
    for (node, [_, children]) in described.iter_mut().zip(&sets) {
        node.children = children.items();
    }
    described
}

fn grow(nodes: &mut [Described<'_>], at: usize, by: usize) {
    nodes[at].size += by;
    for parent in nodes[at].parents.clone() {
        grow(nodes, parent, by);
    }
}

fn names(nodes: &[Described<'_>], of: &[usize]) -> String {
    if of.is_empty() {
        return "none".to_owned();
    }
    of.iter().map(|i| &*nodes[*i].node.name).collect::<Vec<_>>().join(", ")
}

/// A set of names as Java prints it.
fn set(names: &[Arc<str>]) -> String {
    format!("[{}]", hash_order(names.to_vec(), Arc::clone).join(", "))
}

fn write_node(text: &mut String, nodes: &[Described<'_>], at: usize) {
    let Described { node, parents, children, .. } = &nodes[at];
    let name = &node.name;
    let head = match &node.role {
        Role::Source { pattern: Some(pattern), .. } => format!("Source: {name} (topics: {})", pattern.text()),
        Role::Source { topics, .. } => format!("Source: {name} (topics: {})", set(topics)),
        Role::Processor { stores } => format!("Processor: {name} (stores: {})", set(stores)),
        Role::GlobalSource { topic } => format!("Source: {name} (topics: [{topic}])"),
        Role::GlobalTable { store } => format!("Processor: {name} (stores: [{store}])"),
        Role::Sink { topic: SinkTopic::External(topic) | SinkTopic::Internal(topic) } => {
            format!("Sink: {name} (topic: {topic})")
        }
        Role::Sink { topic: SinkTopic::Dynamic(extractor) } => format!("Sink: {name} (extractor class: {extractor})"),
    };
    let _ = writeln!(text, "    {head}");
    if !matches!(node.role, Role::Sink { .. }) {
        let _ = writeln!(text, "      --> {}", names(nodes, children));
    }
    if !matches!(node.role, Role::Source { .. } | Role::GlobalSource { .. }) {
        let _ = writeln!(text, "      <-- {}", names(nodes, parents));
    }
}
