//! A running graph: one sub-topology built for one task, on the task's thread.

use super::{
    Resolved,
    assemble::{Assembly, BuiltChild},
    physical::{Physical, PhysicalNode, Role},
};
use crate::{
    fault::{Fault, Result},
    operator::{ErrorHandlers, Node, Source},
    record::StoreIx,
    state::StoreSpec,
};
use std::{any::Any, collections::BTreeMap, rc::Rc, sync::Arc};

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
    /// The topology's own handlers of failed records.
    pub handlers: ErrorHandlers,
}

/// Builds the nodes of a sub-topology, children before parents.
pub(super) fn build(physical: &Physical, sub_topology: u32, resolved: &Resolved, guarded: bool) -> Result<Graph> {
    let mut plan: Vec<&PhysicalNode> = physical.nodes.iter().filter(|n| n.group == sub_topology).collect();
    plan.sort_by_key(|n| !n.parents.is_empty());
    if plan.is_empty() {
        return Err(Fault::stop(format!("there is no sub-topology {sub_topology}")));
    }
    let names = physical.stores_of(sub_topology);
    let ids: BTreeMap<Arc<str>, StoreIx> = names.iter().enumerate().map(|(i, n)| (n.clone(), StoreIx(i))).collect();
    let (mut times, mut flush) = (Vec::new(), Vec::new());
    let mut made: BTreeMap<Arc<str>, Made> = BTreeMap::new();
    for (at, node) in plan.iter().enumerate().rev() {
        let children = plan.iter().filter(|child| child.parents.contains(&node.name)).filter_map(|child| {
            let edge = made.get(&child.name)?.edge.clone()?;
            Some(BuiltChild { name: child.name.clone(), edge })
        });
        let mine = match &node.role {
            Role::Processor { stores } => stores.iter().filter_map(|s| Some((s.clone(), *ids.get(s)?))).collect(),
            _ => BTreeMap::new(),
        };
        let mut assembly = Assembly {
            name: node.name.clone(),
            node: at,
            children: children.collect(),
            stores: &mine,
            types: &physical.types,
            read_only: &physical.read_only,
            times: &mut times,
            flush: &mut flush,
            resolved,
        };
        let built = (node.factory)(&mut assembly)?;
        let guard = built.guard.filter(|_| guarded && matches!(node.role, Role::Processor { .. }));
        let edge = built.edge.map(|edge| match guard {
            Some(guard) => guard(edge, node.name.clone()),
            None => edge,
        });
        let edge = edge.map(Rc::from);
        made.insert(node.name.clone(), Made { node: built.node, edge, source: built.source });
    }
    flush.sort_by_key(|point| point.node);
    let mut sources = Vec::new();
    for node in &plan {
        let Role::Source { topics, internal, .. } = &node.role else { continue };
        let topics = resolved.patterns.get(&node.name).unwrap_or(topics);
        let source = made[&node.name].source.clone().expect("a source's factory makes a source");
        for topic in topics {
            let topic = if *internal { format!("{}-{topic}", resolved.application_id).into() } else { topic.clone() };
            sources.push(SourceEntry { topic, source: source.clone() });
        }
    }
    Ok(Graph {
        sources,
        nodes: plan.iter().map(|n| made[&n.name].node.clone()).collect(),
        names: plan.iter().map(|n| n.name.clone()).collect(),
        stores: names.iter().map(|n| physical.stores[n].clone()).collect(),
        flush,
        times,
        handlers: physical.handlers.clone(),
    })
}

struct Made {
    node: Rc<dyn Node>,
    edge: Option<Rc<dyn Any>>,
    source: Option<Rc<dyn Source>>,
}
