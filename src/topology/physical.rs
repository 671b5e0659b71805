//! The nodes as they run: written in Kafka Streams' order, grouped into sub-topologies.

use super::{
    OffsetReset, Optimization, SourceRows,
    assemble::Factory,
    explicit::Unnamed,
    optimize,
    pattern::Pattern,
    plan::{
        GlobalPlan, Logical, LogicalNode, NodeIx, Plan, ProcessorPlan, SinkPlan, SinkTopic, SourcePlan, StoreTypes,
        StreamJoinPlan,
    },
    to_sink,
};
use crate::{
    codec::Face,
    fault::{Fault, Result},
    operator::ErrorHandlers,
    sink::SinkSuppliers,
    state::StoreSpec,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// What a running node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    Source {
        topics: Vec<Arc<str>>,
        /// In place of topics.
        pattern: Option<Pattern>,
        internal: bool,
        reset: Option<OffsetReset>,
    },
    Processor {
        stores: Vec<Arc<str>>,
    },
    Sink {
        topic: SinkTopic,
    },
    /// The source of a global table.
    GlobalSource {
        topic: Arc<str>,
    },
    /// Its one other node.
    GlobalTable {
        store: Arc<str>,
    },
}

/// A node to be built for each task.
#[derive(Clone)]
pub(crate) struct PhysicalNode {
    pub name: Arc<str>,
    pub role: Role,
    pub parents: Vec<Arc<str>>,
    pub factory: Factory,
    /// Number of the sub-topology.
    pub group: u32,
}

/// A repartition topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepartitionTopic {
    /// Name without the application's id.
    pub name: Arc<str>,
    /// Count that the user asked for.
    pub partitions: Option<i32>,
    /// True when it has the count of the topics that it is read together with, and not that of those upstream.
    pub follows: bool,
}

/// A compiled plan.
#[derive(Clone)]
pub(crate) struct Physical {
    /// Nodes in topological order.
    pub nodes: Vec<PhysicalNode>,
    /// Stores by name.
    pub stores: BTreeMap<Arc<str>, StoreSpec>,
    /// Serdes of the stores that processors may connect to.
    pub types: BTreeMap<Arc<str>, StoreTypes>,
    /// How the rows of stores look to queries from outside, where the serdes are known.
    pub faces: BTreeMap<Arc<str>, Face>,
    /// Stores that only their topics fill: processors read them.
    pub read_only: BTreeSet<Arc<str>>,
    /// Repartition topics in order of writing.
    pub repartitions: Vec<RepartitionTopic>,
    /// Sources whose topics must have equal partition counts (D-162).
    pub copartitioned: Vec<BTreeSet<Arc<str>>>,
    /// By store: the source topic that is its changelog too, and how its records are read.
    pub reused: BTreeMap<Arc<str>, (Arc<str>, SourceRows)>,
    /// Global tables in order of writing.
    pub globals: Vec<GlobalPlan>,
    /// Stores and topics whose names are generated.
    pub unnamed: Unnamed,
    /// Topics that operators write without a sink.
    pub told: BTreeSet<Arc<str>>,
    /// The topology's own handlers of failed records.
    pub handlers: ErrorHandlers,
    /// Sinks beyond Kafka by the names of their nodes.
    pub sinks: SinkSuppliers,
}

fn taken(what: &str, name: &str) -> Fault {
    Fault::stop(format!("{what} `{name}` is already added")).hint("give one of the two another name")
}

impl Physical {
    /// Writes the plan's nodes in order, then groups them.
    pub fn compile(plan: &Plan, optimizations: &[Optimization]) -> Result<Self> {
        let mut nodes = plan.nodes.clone();
        let roots = merge_sources(&mut nodes, &plan.roots)?;
        let renamed = match optimizations.contains(&Optimization::MergeRepartitionTopics) {
            true => optimize::merge_repartitions(&mut nodes),
            false => BTreeMap::new(),
        };
        if optimizations.contains(&Optimization::SingleStoreSelfJoin) {
            optimize::self_joins(&mut nodes);
        }
        relax_null_keys(&nodes);
        let mut physical = Self {
            nodes: Vec::new(),
            stores: plan.stores.iter().map(|(s, ..)| (s.name.clone(), s.clone())).collect(),
            types: plan.stores.iter().map(|(s, t, _)| (s.name.clone(), t.clone())).collect(),
            faces: plan.stores.iter().map(|(s, _, f)| (s.name.clone(), f.clone())).collect(),
            read_only: BTreeSet::new(),
            repartitions: Vec::new(),
            copartitioned: Vec::new(),
            reused: BTreeMap::new(),
            globals: Vec::new(),
            unnamed: Unnamed::default(),
            told: plan.told.clone(),
            handlers: plan.handlers.clone(),
            sinks: plan.sinks.clone(),
        };
        let reuse = optimizations.contains(&Optimization::ReuseKtableSourceTopics);
        for node in writing_order(&nodes, &roots) {
            let parents: Vec<_> = nodes[node].parents.iter().map(|p| nodes[*p].name.clone()).collect();
            physical.write(&nodes[node], parents)?;
            match &nodes[node].what {
                Logical::TableSource(source, processor, rows) if reuse => physical.reuse(source, processor, rows),
                Logical::TopicStore(source, processor, rows) => {
                    physical.reuse(source, processor, rows);
                    physical.read_only.extend(processor.stores.iter().map(|decl| decl.spec.name.clone()));
                }
                _ => {}
            }
        }
        physical.check_stores()?;
        physical.group();
        to_sink::check(&physical)?;
        let known = |source: &Arc<str>| renamed.get(source).unwrap_or(source).clone();
        physical.copartitioned = plan.copartitioned.iter().map(|sources| sources.iter().map(known).collect()).collect();
        physical.unnamed = Unnamed::of(plan, &physical);
        Ok(physical)
    }

    fn write(&mut self, node: &LogicalNode, parents: Vec<Arc<str>>) -> Result<()> {
        match &node.what {
            Logical::Source(source) => {
                if source.internal {
                    let topics = source.topics.iter().cloned();
                    let follow = topics.map(|name| RepartitionTopic { name, partitions: None, follows: true });
                    self.repartitions.extend(follow);
                }
                self.source(source)
            }
            Logical::TableSource(source, processor, _) | Logical::TopicStore(source, processor, _) => {
                self.source(source)?;
                self.processor(processor, vec![source.name.clone()])
            }
            Logical::Processor(processor) => self.processor(processor, parents),
            Logical::Processors(parts) | Logical::StreamJoin(StreamJoinPlan { parts, .. }) => {
                parts.iter().try_for_each(|(processor, parents)| self.processor(processor, parents.clone()))
            }
            Logical::Sink(sink) => self.sink(sink, parents),
            Logical::Global(global) => self.global(global),
            Logical::Repartition(through) => {
                let topic =
                    RepartitionTopic { name: through.topic.clone(), partitions: through.partitions, follows: false };
                if self.repartitions.iter().any(|t| t.name == topic.name) {
                    return Err(taken("repartition topic", &topic.name));
                }
                self.repartitions.push(topic);
                match &through.filter {
                    Some(filter) => {
                        self.processor(filter, parents)?;
                        self.sink(&through.sink, vec![filter.name.clone()])?;
                    }
                    None => self.sink(&through.sink, parents)?,
                }
                self.source(&through.source)
            }
        }
    }

    fn push(&mut self, name: &Arc<str>, role: Role, parents: Vec<Arc<str>>, factory: &Factory) -> Result<()> {
        if self.nodes.iter().any(|n| n.name == *name) {
            return Err(taken("node", name));
        }
        self.nodes.push(PhysicalNode { name: name.clone(), role, parents, factory: factory.clone(), group: 0 });
        Ok(())
    }

    /// Refuses a topic that another source reads.
    fn check_unread(&self, topic: &Arc<str>, source: &str, internal: bool) -> Result<()> {
        let reads = |n: &PhysicalNode| match &n.role {
            Role::Source { topics, pattern, .. } => {
                topics.contains(topic) || pattern.as_ref().is_some_and(|p| !internal && p.matches(topic))
            }
            Role::GlobalSource { topic: global } => global == topic,
            _ => false,
        };
        match self.nodes.iter().find(|n| reads(n)) {
            None => Ok(()),
            Some(other) => Err(Fault::stop(format!("topic `{topic}` is read by another source too, `{}`", other.name))
                .at(format!("source {source}"))
                .hint("read it once and use that stream or table twice")),
        }
    }

    fn source(&mut self, source: &SourcePlan) -> Result<()> {
        for topic in &source.topics {
            self.check_unread(topic, &source.name, source.internal)?;
        }
        if let Some(pattern) = &source.pattern {
            let taken = self.nodes.iter().find_map(|node| match &node.role {
                Role::Source { topics, internal: false, .. } => topics.iter().find(|topic| pattern.matches(topic)),
                Role::GlobalSource { topic } => Some(topic).filter(|topic| pattern.matches(topic)),
                _ => None,
            });
            if let Some(topic) = taken {
                return Err(Fault::stop(format!("pattern `{}` matches topic `{topic}`", pattern.text()))
                    .at(format!("source {}", source.name))
                    .hint("another source reads it by name: choose a pattern that leaves it out"));
            }
        }
        let (topics, pattern) = (source.topics.clone(), source.pattern.clone());
        let role = Role::Source { topics, pattern, internal: source.internal, reset: source.reset };
        self.push(&source.name, role, Vec::new(), &source.factory)
    }

    fn processor(&mut self, processor: &ProcessorPlan, parents: Vec<Arc<str>>) -> Result<()> {
        let mut stores = Vec::new();
        for decl in &processor.stores {
            if decl.table.as_ref().is_some_and(|table| !table.stored()) {
                continue;
            }
            let name = &decl.spec.name;
            if self.stores.insert(name.clone(), decl.spec.clone()).is_some() {
                return Err(taken("store", name));
            }
            if let Some(face) = &decl.face {
                self.faces.insert(name.clone(), face.clone());
            }
            if let Some(types) = &decl.types {
                self.types.insert(name.clone(), types.clone());
            }
            stores.push(name.clone());
        }
        // Text of the topology shows the order of connection where two names fall into one bucket of Java's hash set.
        stores.retain(|name| !processor.connected.contains(name));
        for name in &processor.connected {
            if !stores.contains(name) {
                stores.push(name.clone());
            }
        }
        self.push(&processor.name, Role::Processor { stores }, parents, &processor.factory)
    }

    /// Makes the source topic of a table the changelog of its store, if it keeps one.
    fn reuse(&mut self, source: &SourcePlan, processor: &ProcessorPlan, rows: &SourceRows) {
        for decl in &processor.stores {
            let name = &decl.spec.name;
            if let (Some(spec), [topic]) = (self.stores.get_mut(name), &source.topics[..]) {
                spec.logged = false;
                self.reused.insert(name.clone(), (topic.clone(), rows.clone()));
            }
        }
    }

    fn sink(&mut self, sink: &SinkPlan, parents: Vec<Arc<str>>) -> Result<()> {
        self.push(&sink.name, Role::Sink { topic: sink.topic.clone() }, parents, &sink.factory)
    }

    fn global(&mut self, global: &GlobalPlan) -> Result<()> {
        let GlobalPlan { source, processor, topic, store, .. } = global;
        self.check_unread(topic, source, false)?;
        if self.stores.contains_key(store) || self.globals.iter().any(|g| g.store == *store) {
            return Err(taken("store", store));
        }
        let factory: Factory = Arc::new(|_| Err(Fault::stop("a global table has no tasks")));
        self.push(source, Role::GlobalSource { topic: topic.clone() }, Vec::new(), &factory)?;
        self.push(processor, Role::GlobalTable { store: store.clone() }, vec![source.clone()], &factory)?;
        if let Some(face) = &global.face {
            self.faces.insert(store.clone(), face.clone());
        }
        if let Some(types) = &global.types {
            self.types.insert(store.clone(), types.clone());
        }
        self.globals.push(global.clone());
        Ok(())
    }

    /// Number of the sub-topology of a node.
    pub fn group_of(&self, name: &str) -> u32 {
        self.nodes.iter().find(|node| &*node.name == name).map_or(0, |node| node.group)
    }

    /// True for the group of a global table.
    pub fn is_global(&self, group: u32) -> bool {
        self.nodes.iter().any(|n| n.group == group && matches!(n.role, Role::GlobalSource { .. }))
    }

    fn check_stores(&self) -> Result<()> {
        for node in &self.nodes {
            let Role::Processor { stores } = &node.role else { continue };
            if let Some(name) = stores.iter().find(|name| !self.stores.contains_key(*name)) {
                let hint = match self.globals.iter().any(|global| global.store == *name) {
                    true => "it is a global one: leave it out here, and ask ProcessingContext::global_store for it",
                    false => "add it with StreamsBuilder::add_state_store",
                };
                return Err(Fault::stop(format!("store `{name}` is not added"))
                    .at(format!("node {}", node.name))
                    .hint(hint));
            }
        }
        Ok(())
    }

    /// Numbers the connected components over edges and shared stores, in the order of their first nodes.
    fn group(&mut self) {
        let place: BTreeMap<Arc<str>, usize> =
            self.nodes.iter().enumerate().map(|(i, n)| (n.name.clone(), i)).collect();
        let mut component: Vec<usize> = (0..self.nodes.len()).collect();
        let mut user: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let mut unite = |other: usize| {
                let (from, to) = (component[at], component[other]);
                component.iter_mut().filter(|c| **c == from).for_each(|c| *c = to);
            };
            node.parents.iter().for_each(|parent| unite(place[parent]));
            if let Role::Processor { stores } = &node.role {
                stores.iter().for_each(|store| unite(*user.entry(store.clone()).or_insert(at)));
            }
        }
        let mut numbers: Vec<usize> = Vec::new();
        for (node, component) in self.nodes.iter_mut().zip(component) {
            let number = numbers.iter().position(|c| *c == component).unwrap_or_else(|| {
                numbers.push(component);
                numbers.len() - 1
            });
            node.group = u32::try_from(number).expect("fewer sub-topologies than nodes fit in memory");
        }
    }

    /// Sources that read by pattern.
    pub fn patterns(&self) -> impl Iterator<Item = (&Arc<str>, &Pattern)> {
        self.nodes.iter().filter_map(|node| match &node.role {
            Role::Source { pattern: Some(pattern), .. } => Some((&node.name, pattern)),
            _ => None,
        })
    }

    /// The same with the topics that its patterns take in, by source.
    pub fn with_topics(&self, matched: &BTreeMap<Arc<str>, Vec<Arc<str>>>) -> Self {
        let mut with = self.clone();
        for node in &mut with.nodes {
            if let (Role::Source { topics, .. }, Some(found)) = (&mut node.role, matched.get(&node.name)) {
                topics.clone_from(found);
            }
        }
        with
    }

    /// Topics of these sources.
    pub fn topics_of(&self, sources: &BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
        let named = self.nodes.iter().filter(|n| sources.contains(&n.name));
        named
            .filter_map(|n| if let Role::Source { topics, .. } = &n.role { Some(topics.clone()) } else { None })
            .flatten()
            .collect()
    }

    /// Number of sub-topologies.
    pub fn groups(&self) -> u32 {
        self.nodes.iter().map(|n| n.group + 1).max().unwrap_or(0)
    }

    /// Names of the stores of a sub-topology in the order of its nodes: the order of [`StoreIx`](crate::record::StoreIx).
    pub fn stores_of(&self, group: u32) -> Vec<Arc<str>> {
        let mut found: Vec<Arc<str>> = Vec::new();
        for node in self.nodes.iter().filter(|n| n.group == group) {
            if let Role::Processor { stores } = &node.role {
                for store in stores {
                    if !found.contains(store) {
                        found.push(store.clone());
                    }
                }
            }
        }
        found
    }
}

/// One source for all streams of the same topics (D-6).
fn merge_sources(nodes: &mut [LogicalNode], roots: &[NodeIx]) -> Result<Vec<NodeIx>> {
    let mut readers: BTreeMap<Arc<str>, NodeIx> = BTreeMap::new();
    let mut kept = Vec::new();
    for root in roots.iter().copied() {
        let Logical::Source(source) = nodes[root].what.clone() else {
            kept.push(root);
            continue;
        };
        // A pattern stands for itself: equal ones are one source.
        let read: Vec<Arc<str>> = match &source.pattern {
            Some(pattern) => vec![format!("pattern {}", pattern.text()).into()],
            None => source.topics.clone(),
        };
        let Some(main) = read.iter().find_map(|t| readers.get(t).copied()) else {
            readers.extend(read.into_iter().map(|t| (t, root)));
            kept.push(root);
            continue;
        };
        let Logical::Source(other) = nodes[main].what.clone() else { unreachable!("readers are sources") };
        let topics = |s: &SourcePlan| s.topics.iter().cloned().collect::<BTreeSet<_>>();
        let clash = if topics(&source) != topics(&other) {
            "read overlapping but not equal topics"
        } else if source.reset != other.reset {
            "read the same topics with different offset resets"
        } else if source.types != other.types {
            "read the same topics with different types"
        } else {
            let children = std::mem::take(&mut nodes[root].children);
            for child in children {
                let parents = &mut nodes[child].parents;
                parents.iter_mut().filter(|p| **p == root).for_each(|p| *p = main);
                let mut seen = BTreeSet::new();
                parents.retain(|p| seen.insert(*p));
                if !nodes[main].children.contains(&child) {
                    nodes[main].children.push(child);
                }
            }
            continue;
        };
        return Err(Fault::stop(format!("`{}` and `{}` {clash}", other.name, source.name))
            .hint("read the topics once and use that stream twice"));
    }
    Ok(kept)
}

/// Repartition filters drop null keys unless a left join downstream takes them (D-75).
fn relax_null_keys(nodes: &[LogicalNode]) {
    // A child always has a greater index than its parents, except below a reused repartition, so go on until nothing changes.
    let mut takes: Vec<bool> = vec![false; nodes.len()];
    loop {
        let before = takes.clone();
        for at in (0..nodes.len()).rev() {
            takes[at] = nodes[at].children.iter().any(|c| nodes[*c].takes_null_keys || takes[*c]);
        }
        if takes == before {
            break;
        }
    }
    for (node, takes) in nodes.iter().zip(takes) {
        if let Logical::Repartition(through) = &node.what {
            through.drop_null_keys.store(!takes, Relaxed);
        }
    }
}

/// Nodes by priority, each after all of its parents.
fn writing_order(nodes: &[LogicalNode], roots: &[NodeIx]) -> Vec<NodeIx> {
    let mut heap: BinaryHeap<Reverse<(usize, NodeIx)>> = BinaryHeap::new();
    heap.extend(roots.iter().map(|r| Reverse((nodes[*r].priority, *r))));
    let (mut order, mut written) = (Vec::new(), vec![false; nodes.len()]);
    while let Some(Reverse((_, node))) = heap.pop() {
        if written[node] || !nodes[node].parents.iter().all(|p| written[*p]) {
            continue;
        }
        written[node] = true;
        order.push(node);
        heap.extend(nodes[node].children.iter().map(|c| Reverse((nodes[*c].priority, *c))));
    }
    order
}
