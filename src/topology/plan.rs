//! The plan: what the DSL calls wrote down, as data. Node names and the order of writing follow Kafka Streams.

use super::{SourceRows, assemble::Factory, global::ReadGlobal, pattern::Pattern, table_link::TableLink};
use crate::{
    codec::Face,
    fault::{Fault, Result},
    operator::ErrorHandlers,
    sink::SinkSuppliers,
    state::StoreSpec,
};
use std::{
    any::{Any, TypeId},
    cell::RefCell,
    collections::BTreeSet,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
};

/// Place of a node in [`Plan::nodes`].
pub(crate) type NodeIx = usize;

/// Serdes of a store, for processors.
pub(crate) type StoreTypes = Arc<dyn Any + Send + Sync>;

/// The plan as the handles of the DSL share it.
pub(crate) type SharedPlan = Rc<RefCell<Plan>>;

/// Where a partition without a committed offset is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// From its first record.
    Earliest,
    /// From its end.
    Latest,
    /// Not at all: the worker stops with an error.
    None,
}

/// A source node.
#[derive(Clone)]
pub(crate) struct SourcePlan {
    pub name: Arc<str>,
    /// Topics without the application's id.
    pub topics: Vec<Arc<str>>,
    /// In place of topics: whatever topics it matches when the application starts.
    pub pattern: Option<Pattern>,
    /// True when the topic is a repartition topic.
    pub internal: bool,
    pub reset: Option<OffsetReset>,
    /// Types of key and value, so that sources of one topic are merged only when they agree.
    pub types: (TypeId, TypeId),
    pub factory: Factory,
}

/// A store that a processor brings along; left out when its table turns out not to need it.
#[derive(Clone)]
pub(crate) struct StoreDecl {
    pub spec: StoreSpec,
    /// For processors that connect to it too.
    pub types: Option<StoreTypes>,
    /// For queries from outside.
    pub face: Option<Face>,
    pub table: Option<Arc<TableLink>>,
}

/// A processor node.
#[derive(Clone)]
pub(crate) struct ProcessorPlan {
    pub name: Arc<str>,
    /// Stores of its own.
    pub stores: Vec<StoreDecl>,
    /// Stores of others that it reads or writes.
    pub connected: Vec<Arc<str>>,
    pub factory: Factory,
}

/// Where a sink writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SinkTopic {
    /// A topic of the user's.
    External(Arc<str>),
    /// A repartition topic, without the application's id.
    Internal(Arc<str>),
    /// By a function of the record; the text is for `describe()`.
    Dynamic(Arc<str>),
}

/// A sink node.
#[derive(Clone)]
pub(crate) struct SinkPlan {
    pub name: Arc<str>,
    pub topic: SinkTopic,
    pub factory: Factory,
}

/// A repartition topic with the nodes around it.
#[derive(Clone)]
pub(crate) struct RepartitionPlan {
    pub topic: Arc<str>,
    /// Count that the user asked for.
    pub partitions: Option<i32>,
    /// Lets through what has a key, where a record may have none.
    pub filter: Option<ProcessorPlan>,
    pub sink: SinkPlan,
    pub source: SourcePlan,
    /// False for one that the topology asks for, which is never merged with others.
    pub mergeable: bool,
    /// Set in compile: records without a key end at the filter, unless a left join downstream wants them (D-75).
    pub drop_null_keys: Arc<AtomicBool>,
}

/// A global table, which takes no part in any task.
#[derive(Clone)]
pub(crate) struct GlobalPlan {
    /// Names of its two nodes.
    pub source: Arc<str>,
    pub processor: Arc<str>,
    pub topic: Arc<str>,
    pub store: Arc<str>,
    /// For processors, which all may read it.
    pub types: Option<StoreTypes>,
    pub face: Option<Face>,
    pub read: ReadGlobal,
}

/// A join of two streams, whose windows are nodes of their own.
#[derive(Clone)]
pub(crate) struct StreamJoinPlan {
    /// Node that keeps the left stream's records.
    pub this_window: Arc<str>,
    /// Node that keeps the right stream's records.
    pub other_window: NodeIx,
    /// The join's nodes with the names of their parents.
    pub parts: Vec<(ProcessorPlan, Vec<Arc<str>>)>,
    /// What takes the place of all of them and of the right window when both streams are one.
    pub self_join: ProcessorPlan,
}

/// What a logical node writes into the topology.
#[derive(Clone)]
pub(crate) enum Logical {
    Source(SourcePlan),
    /// With what makes rows of the topic's records, for a restore from there.
    TableSource(SourcePlan, ProcessorPlan, SourceRows),
    /// A store that only its topic fills, and that is always restored from there.
    TopicStore(SourcePlan, ProcessorPlan, SourceRows),
    Processor(ProcessorPlan),
    /// Several processors of one call, each with the names of its parents. The last one is what children see.
    Processors(Vec<(ProcessorPlan, Vec<Arc<str>>)>),
    StreamJoin(StreamJoinPlan),
    Global(GlobalPlan),
    Sink(SinkPlan),
    Repartition(RepartitionPlan),
}

/// What the records of a node may have new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    pub key: bool,
    pub value: bool,
    /// They come from several streams.
    pub merged: bool,
}

impl Changes {
    /// By the prefix of the node's generated name. What processors change is not looked at, as in Kafka Streams.
    pub fn of(prefix: &str) -> Self {
        let is = |operators: &[&str]| operators.iter().any(|o| prefix.strip_prefix("KSTREAM-") == Some(o));
        Self {
            key: is(&["KEY-SELECT-", "MAP-", "FLATMAP-"]),
            value: is(&["MAPVALUES-", "FLATMAPVALUES-"]),
            merged: is(&["MERGE-"]),
        }
    }
}

/// One call of the DSL.
#[derive(Clone)]
pub(crate) struct LogicalNode {
    /// The name under which children know it.
    pub name: Arc<str>,
    /// Order of writing.
    pub priority: usize,
    pub parents: Vec<NodeIx>,
    pub children: Vec<NodeIx>,
    /// A left join that takes records without a key.
    pub takes_null_keys: bool,
    /// How long after their end the windows of a windowed aggregate take records, in milliseconds.
    pub grace_ms: Option<i64>,
    /// What its records may have new; [`Optimization::MergeRepartitionTopics`](super::Optimization) looks at it.
    pub changes: Changes,
    pub what: Logical,
}

/// Everything the DSL calls wrote down.
#[derive(Default)]
pub(crate) struct Plan {
    pub nodes: Vec<LogicalNode>,
    /// Sources in order of creation.
    pub roots: Vec<NodeIx>,
    /// Stores of the Processor API, in order of creation.
    pub stores: Vec<(StoreSpec, StoreTypes, Face)>,
    /// Source nodes whose topics must have equal partition counts.
    pub copartitioned: Vec<BTreeSet<Arc<str>>>,
    /// What was wrong in DSL calls; the first one fails the build.
    pub errors: Vec<Fault>,
    /// Names that the user chose.
    pub given: BTreeSet<Arc<str>>,
    /// Topics that operators write without a sink.
    pub told: BTreeSet<Arc<str>>,
    /// Handlers of failed records.
    pub handlers: ErrorHandlers,
    /// Sinks beyond Kafka by the names of their nodes.
    pub sinks: SinkSuppliers,
    index: usize,
    priority: usize,
}

impl Plan {
    /// The next generated name.
    pub fn generate(&mut self, prefix: &str) -> Arc<str> {
        let name = format!("{prefix}{:010}", self.index);
        self.index += 1;
        name.into()
    }

    /// The given name, else a generated one. A given name burns a number too, so that naming one node renames no other.
    pub fn name(&mut self, given: Option<&str>, prefix: &str) -> Arc<str> {
        let generated = self.generate(prefix);
        match given {
            Some(name) => {
                self.check_name(name);
                self.give(name);
                name.into()
            }
            None => generated,
        }
    }

    /// The given name with a suffix, else a generated one.
    pub fn name_suffixed(&mut self, given: Option<&str>, suffix: &str, prefix: &str) -> Arc<str> {
        match given {
            Some(name) => self.name(Some(&format!("{name}{suffix}")), prefix),
            None => self.generate(prefix),
        }
    }

    /// The next generated store name.
    pub fn generate_store(&mut self, prefix: &str) -> Arc<str> {
        self.generate(&format!("{prefix}STATE-STORE-"))
    }

    /// Writes an error down, for [`StreamsBuilder::build`](super::StreamsBuilder::build) to give.
    pub fn error(&mut self, fault: Fault) {
        self.errors.push(fault);
    }

    /// Notes a name that the user chose.
    pub fn give(&mut self, name: &str) {
        self.given.insert(name.into());
    }

    /// Refuses a name that a topic or a node can't have.
    pub fn check_name(&mut self, name: &str) {
        if let Err(fault) = check_name(name) {
            self.error(fault);
        }
    }

    /// Adds a node below `parents`; none for a source.
    pub fn add(&mut self, parents: &[NodeIx], name: Arc<str>, what: Logical) -> NodeIx {
        let node = self.nodes.len();
        self.nodes.push(LogicalNode {
            name,
            priority: 0,
            parents: Vec::new(),
            children: Vec::new(),
            takes_null_keys: false,
            grace_ms: None,
            changes: Changes::default(),
            what,
        });
        if parents.is_empty() {
            self.roots.push(node);
            self.touch(node);
        }
        for parent in parents {
            self.connect(*parent, node);
        }
        node
    }

    /// Makes `child` a child of `parent`. Done again it only moves the child's turn of being written to the end.
    pub fn connect(&mut self, parent: NodeIx, child: NodeIx) {
        if !self.nodes[parent].children.contains(&child) {
            self.nodes[parent].children.push(child);
        }
        if !self.nodes[child].parents.contains(&parent) {
            self.nodes[child].parents.push(parent);
        }
        self.touch(child);
    }

    fn touch(&mut self, node: NodeIx) {
        self.nodes[node].priority = self.priority;
        self.priority += 1;
    }
}

/// Kafka's rule for names of topics, nodes and stores.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let wrong = if name.is_empty() {
        "is empty"
    } else if name == "." || name == ".." {
        "stands for a directory"
    } else if name.len() > 249 {
        "is longer than 249 characters"
    } else if !name.chars().all(fine) {
        "has a character other than a-z, A-Z, 0-9, '.', '_' and '-'"
    } else {
        return Ok(());
    };
    Err(Fault::stop(format!("name `{name}` {wrong}")).hint("choose another one"))
}
