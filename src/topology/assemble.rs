//! From untyped plan nodes to typed running ones: built from sinks to sources, each edge downcast once.

use crate::{
    fault::{Fault, Result},
    operator::{
        Children, Edge, Node, Process, Source, TimeSlot,
        errors::{Guard, guard},
        sink::Topic,
    },
    record::StoreIx,
    topology::{FlushPoint, Resolved, plan::StoreTypes},
};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

/// Makes the running node of a plan node; written where the node's types were known.
pub(crate) type Factory = Arc<dyn Fn(&mut Assembly<'_>) -> Result<Built> + Send + Sync>;

/// A running node before its types are forgotten.
pub(crate) struct Built {
    /// What the task calls.
    pub node: Rc<dyn Node>,
    /// What parents call: an [`Edge`]; `None` for a source.
    pub edge: Option<Box<dyn Any>>,
    /// What the task feeds, for a source.
    pub source: Option<Rc<dyn Source>>,
    /// Puts a guard before the edge, where failures of the node go to a handler.
    pub guard: Option<Guard>,
}

impl Built {
    /// A node with parents.
    pub fn node<K: 'static, V: 'static, N: Process<K, V> + Node + 'static>(node: N) -> Self {
        let node = Rc::new(node);
        let edge: Edge<K, V> = node.clone();
        Self { node, edge: Some(Box::new(edge)), source: None, guard: Some(guard::<K, V>) }
    }

    /// A source.
    pub fn source<N: Source + Node + 'static>(node: N) -> Self {
        let node = Rc::new(node);
        Self { node: node.clone(), edge: None, source: Some(node), guard: None }
    }
}

/// A child that was built before its parent.
pub(crate) struct BuiltChild {
    /// Its name.
    pub name: Arc<str>,
    /// Its edge.
    pub edge: Rc<dyn Any>,
}

/// What a factory may ask while its node is built.
pub(crate) struct Assembly<'a> {
    /// Name of the node.
    pub name: Arc<str>,
    /// Its index in the graph.
    pub node: usize,
    /// Its children in order of connection.
    pub children: Vec<BuiltChild>,
    /// Stores of the sub-topology by name.
    pub stores: &'a BTreeMap<Arc<str>, StoreIx>,
    /// Serdes of stores that processors may connect to.
    pub types: &'a BTreeMap<Arc<str>, StoreTypes>,
    /// Stores that only their topics fill.
    pub read_only: &'a BTreeSet<Arc<str>>,
    /// Names of the operator times so far.
    pub times: &'a mut Vec<Arc<str>>,
    /// Caches so far.
    pub flush: &'a mut Vec<FlushPoint>,
    /// Topics of the application.
    pub resolved: &'a Resolved,
}

impl Assembly<'_> {
    /// The children as what they are: takers of `K` and `V`.
    pub fn children<K: 'static, V: 'static>(&self) -> Result<Children<K, V>> {
        let typed = |child: &BuiltChild| {
            child.edge.downcast_ref::<Edge<K, V>>().cloned().ok_or_else(|| {
                Fault::stop(format!("`{}` takes other types than its parent gives", child.name))
                    .at(&*self.name)
                    .hint("read a topic with one pair of types only")
            })
        };
        Ok(Children::new(self.children.iter().map(typed).collect::<Result<_>>()?))
    }

    /// Names of the children in order of connection.
    pub fn child_names(&self) -> Vec<Arc<str>> {
        self.children.iter().map(|c| c.name.clone()).collect()
    }

    /// A store that is connected to the node.
    pub fn store(&self, name: &str) -> Result<StoreIx> {
        self.stores.get(name).copied().ok_or_else(|| {
            Fault::stop(format!("store `{name}` is not connected"))
                .at(&*self.name)
                .hint("name it where the processor is added")
        })
    }

    /// The serdes of a key-value store.
    pub fn store_types(&self, name: &str) -> Result<StoreTypes> {
        self.types.get(name).cloned().ok_or_else(|| {
            Fault::stop(format!("store `{name}` holds windows"))
                .at(&*self.name)
                .hint("connect processors to key-value stores")
        })
    }

    /// The slot of a time that is kept under `name`; equal names share one.
    pub fn time(&mut self, name: impl Into<Arc<str>>) -> TimeSlot {
        let name = name.into();
        let at = self.times.iter().position(|n| *n == name).unwrap_or_else(|| {
            self.times.push(name);
            self.times.len() - 1
        });
        TimeSlot(at)
    }

    /// Has [`Node::flush`] called for the cache of `store`.
    pub fn flush(&mut self, store: StoreIx) {
        self.flush.push(FlushPoint { node: self.node, store });
    }

    /// Full name of an internal topic.
    pub fn internal_topic(&self, name: &str) -> Arc<str> {
        format!("{}-{name}", self.resolved.application_id).into()
    }

    /// The one topic of a sink, with its partition count if the topic is known.
    pub fn fixed_topic<K, V>(&self, topic: Arc<str>) -> Topic<K, V> {
        let partitions = self.resolved.partitions.get(&topic).copied();
        Topic::Fixed { topic, partitions }
    }
}
