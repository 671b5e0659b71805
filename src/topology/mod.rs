//! The typed DSL, the plan it makes, and how a plan is checked, named, described and turned into running graphs.

mod graph;
mod resolved;

pub use graph::{FlushPoint, Graph, SourceEntry};
pub use resolved::{InternalTopic, Resolved, ResolvedSub, StorePlan};

/// A checked topology: what `StreamsBuilder::build` returns. Shared by all threads.
pub struct Topology {
    _x: (),
}

#[allow(unused_variables, reason = "signatures first")]
impl Topology {
    /// Builds the running graph of a sub-topology.
    pub fn graph(&self, sub_topology: u32, resolved: &Resolved) -> crate::fault::Result<Graph> {
        todo!()
    }

    /// Topics of others that it reads; their partition counts must be known for [`Topology::resolve`].
    pub fn external_sources(&self) -> Vec<std::sync::Arc<str>> {
        todo!()
    }

    /// Topics of others that it writes by a fixed name.
    pub fn external_sinks(&self) -> Vec<std::sync::Arc<str>> {
        todo!()
    }

    /// Ties the topology to an application and to real partition counts.
    pub fn resolve(
        &self,
        application_id: &str,
        counts: &std::collections::BTreeMap<std::sync::Arc<str>, i32>,
    ) -> crate::fault::Result<Resolved> {
        todo!()
    }

    /// Kafka Streams' text of it.
    pub fn describe(&self) -> String {
        todo!()
    }
}
