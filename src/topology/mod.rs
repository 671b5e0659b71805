//! The typed DSL, the plan it makes, and how a plan is checked, named, described and turned into running graphs.

mod assemble;
mod branch;
mod builder;
mod cogroup;
mod cogroup_windowed;
mod describe;
mod explicit;
mod foreign_key;
mod global;
mod graph;
mod grouped;
mod grouped_table;
mod java;
mod join;
mod optimize;
mod options;
mod pattern;
mod physical;
mod plan;
mod process;
mod process_values;
mod repartition;
mod resolve;
mod resolved;
mod retry;
mod serdes;
mod session;
mod source_rows;
mod store_builder;
mod stored;
mod stream;
mod stream_join;
mod suppress;
mod table;
mod table_join;
mod table_link;
mod table_transform;
mod to_sink;
mod to_table;
mod topic_stores;
mod windowed;
mod windowing;

pub use branch::{BranchedKStream, Branches};
pub use builder::{StreamsBuilder, Topics};
pub use cogroup::CogroupedKStream;
pub use cogroup_windowed::{SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream};
pub use global::{GlobalKTable, GlobalTable};
pub use graph::{FlushPoint, Graph, SourceEntry};
pub use grouped::KGroupedStream;
pub use grouped_table::KGroupedTable;
pub use optimize::Optimization;
pub use options::{
    BufferConfig, Consumed, Eager, Grouped, Joined, Materialized, Produced, Repartitioned, Retry, StreamJoined, Strict,
    Suppressed, TableJoined,
};
pub use plan::OffsetReset;
pub use resolve::CHANGELOG_MARGIN_MS;
pub use resolved::{InternalTopic, Resolved, ResolvedSub, StorePlan};
pub use session::SessionWindowedKStream;
pub use source_rows::{SourceRow, SourceRows};
pub use store_builder::StoreBuilder;
pub use stream::KStream;
pub use table::KTable;
pub use windowed::TimeWindowedKStream;
pub use windowing::Windows;

pub use crate::operator::{
    EmitStrategy, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, JoinWindows, Processor, ProcessorContext,
    Punctuation, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows, ValueTransformer,
};

use crate::{codec::Face, fault::Result, sink::SinkSuppliers};
use pattern::Pattern;
use physical::{Physical, Role};
use plan::{Plan, SinkTopic};
use std::{collections::BTreeMap, sync::Arc};

/// A checked topology: what [`StreamsBuilder::build`] returns. Shared by all threads.
pub struct Topology {
    physical: Physical,
}

impl Topology {
    fn compile(plan: &Plan, optimizations: &[Optimization]) -> Result<Self> {
        Ok(Self { physical: Physical::compile(plan, optimizations)? })
    }

    /// Builds the running graph of a sub-topology.
    ///
    /// # Errors
    /// When there is no such sub-topology, or a node can't be made.
    pub fn graph(&self, sub_topology: u32, resolved: &Resolved) -> Result<Graph> {
        self.graph_guarded(sub_topology, resolved, false)
    }

    /// As [`Topology::graph`]; `guarded` sends the failures of processors to a handler, one by one. They are so in any
    /// case where the topology has a handler of its own.
    ///
    /// # Errors
    /// As [`Topology::graph`].
    pub fn graph_guarded(&self, sub_topology: u32, resolved: &Resolved, guarded: bool) -> Result<Graph> {
        let guarded = guarded || self.physical.handlers.processing.is_some();
        graph::build(&self.physical, sub_topology, resolved, guarded)
    }

    /// Topics of others that it reads by name; their partition counts must be known for [`Topology::resolve`].
    pub fn external_sources(&self) -> Vec<Arc<str>> {
        let mut found = Vec::new();
        for node in &self.physical.nodes {
            if let Role::Source { topics, internal: false, .. } = &node.role {
                found.extend(topics.iter().cloned());
            }
        }
        found
    }

    /// Those of the topics `there` that its patterns take in (D-1), but for the brokers' own and the application's internal
    /// ones. They are fixed by [`Topology::resolve`], which must know their partition counts.
    pub fn pattern_sources<'a>(
        &self,
        application_id: &str,
        there: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> Vec<Arc<str>> {
        let patterns: Vec<&Pattern> = self.physical.patterns().map(|(_, pattern)| pattern).collect();
        let mut found: Vec<_> = there
            .into_iter()
            .filter(|topic| !pattern::is_internal(topic, application_id) && patterns.iter().any(|p| p.matches(topic)))
            .cloned()
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// Topics of global tables, which every process reads whole; their partition counts must be known too.
    pub fn global_topics(&self) -> Vec<Arc<str>> {
        self.physical.globals.iter().map(|global| global.topic.clone()).collect()
    }

    /// Topics of others that it writes by a fixed name.
    pub fn external_sinks(&self) -> Vec<Arc<str>> {
        let mut found: Vec<Arc<str>> = Vec::new();
        for node in &self.physical.nodes {
            if let Role::Sink { topic: SinkTopic::External(topic) } = &node.role
                && !found.contains(topic)
            {
                found.push(topic.clone());
            }
        }
        found.extend(self.physical.told.iter().cloned());
        found
    }

    /// Where the topics it reads start when nothing is committed, as far as the topology says it.
    pub fn offset_resets(&self, resolved: &Resolved) -> BTreeMap<Arc<str>, OffsetReset> {
        let mut found = BTreeMap::new();
        for node in &self.physical.nodes {
            if let Role::Source { topics, reset: Some(reset), .. } = &node.role {
                let topics = resolved.patterns.get(&node.name).unwrap_or(topics);
                found.extend(topics.iter().map(|t| (t.clone(), *reset)));
            }
        }
        found
    }

    /// Ties the topology to an application and to real partition counts.
    ///
    /// # Errors
    /// When a source topic is missing, a pattern takes in none or one that another takes in too, or topics that are read together have unequal partition counts.
    pub fn resolve(&self, application_id: &str, counts: &BTreeMap<Arc<str>, i32>) -> Result<Resolved> {
        resolve::resolve(&self.physical, application_id, counts)
    }

    /// Refuses generated names of stores, changelog and repartition topics (R-94). Such a name has a number that changes
    /// when operators are added before it, and the state under the old name is lost. A worker asks for this where
    /// `ensure.explicit.internal.resource.naming` is set.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// let words = builder.stream::<String, String>("words").group_by_key();
    /// words.count_with(Materialized::as_store("counts"));
    /// builder.build().unwrap().require_explicit_names().unwrap();
    /// words.count();
    /// assert!(builder.build().unwrap().require_explicit_names().is_err());
    /// ```
    ///
    /// # Errors
    /// When there are any; all are named.
    pub fn require_explicit_names(&self) -> Result<()> {
        self.physical.unnamed.refuse()
    }

    /// How the rows of a store look to queries from outside; `None` where its serdes are not known.
    pub fn face(&self, store: &str) -> Option<&Face> {
        self.physical.faces.get(store)
    }

    /// Its sinks beyond Kafka, by name. Each stream thread opens its own.
    pub fn sinks(&self) -> SinkSuppliers {
        self.physical.sinks.clone()
    }

    /// Kafka Streams' text of it (R-90).
    pub fn describe(&self) -> String {
        describe::describe(&self.physical)
    }
}

#[cfg(test)]
mod tests;
