//! A topology tied to an application id and to the partition counts of real topics.

use super::{CHANGELOG_MARGIN_MS, GlobalTable, SourceRows};
use crate::{
    fault::{Fault, Result},
    state::{GlobalStore, StoreSpec},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A topic that the application owns and the driver creates or checks before it joins the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalTopic {
    /// Full name.
    pub name: Arc<str>,
    /// Partition count.
    pub partitions: i32,
    /// Topic settings: Kafka Streams' defaults (Q-21..Q-26) under the store's own.
    pub config: BTreeMap<String, String>,
    /// True for a repartition topic: purged, and always read from its start when nothing is committed.
    pub repartition: bool,
}

/// A store of a sub-topology with its changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePlan {
    /// The store; its place in the vector is its [`StoreIx`](crate::record::StoreIx).
    pub spec: StoreSpec,
    /// Full name of the topic that restores it: its changelog, or the source topic in its place; `None` when there is
    /// neither.
    pub changelog: Option<Arc<str>>,
    /// How rows are made of the records of a source topic that is the changelog too. Nothing is written to it, and only
    /// what lies below the committed offset is the store's.
    pub source: Option<SourceRows>,
}

/// One sub-topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSub {
    /// Its number.
    pub id: u32,
    /// Number of tasks: the partition count of its source topics, which is equal for all of them; 0 for a global table.
    pub partitions: i32,
    /// Full names of its source topics, in plan order.
    pub sources: Vec<Arc<str>>,
    /// Its stores in [`StoreIx`](crate::record::StoreIx) order.
    pub stores: Vec<StorePlan>,
}

/// All that the worker knows about topics. Made by `Topology::resolve(application_id, partition counts)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The application's id: the group, and the prefix of internal topics.
    pub application_id: Arc<str>,
    /// Sub-topologies by number.
    pub sub_topologies: Vec<ResolvedSub>,
    /// Topics to create or check: repartition topics, then changelogs.
    pub internal: Vec<InternalTopic>,
    /// By source that reads by pattern: the topics that were there, sorted.
    pub patterns: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Partition count of every topic that is read or written: sources, fixed sinks, internal ones.
    pub partitions: BTreeMap<Arc<str>, i32>,
    /// Global tables. Whoever ties the topology to topics owns their rows: a process does it once.
    pub globals: Vec<GlobalTable>,
}

impl Resolved {
    /// The same for a process that starts again: its global tables are empty.
    pub fn restarted(&self) -> Self {
        Self { globals: self.globals.iter().map(GlobalTable::emptied).collect(), ..self.clone() }
    }

    /// The rows of a global table.
    pub(crate) fn global_store(&self, name: &str) -> Result<Arc<GlobalStore>> {
        let found = self.globals.iter().find(|table| &**table.store.name() == name);
        found.map(|table| table.store.clone()).ok_or_else(|| Fault::stop(format!("there is no global table `{name}`")))
    }

    /// Sets `windowstore.changelog.additional.retention.ms`: what changelogs of window stores keep, by the broker's
    /// clock, over the retention of their store. A store's own `retention.ms` wins.
    pub fn set_changelog_margin(&mut self, margin_ms: i64) {
        for plan in self.sub_topologies.iter().flat_map(|sub| &sub.stores) {
            let (Some(name), Some(_)) = (&plan.changelog, plan.spec.retention_ms()) else { continue };
            if plan.spec.changelog_config.contains_key("retention.ms") {
                continue;
            }
            for topic in self.internal.iter_mut().filter(|t| t.name == *name) {
                if let Some(retention) = topic.config.get_mut("retention.ms")
                    && let Ok(ms) = retention.parse::<i64>()
                {
                    *retention = (ms - CHANGELOG_MARGIN_MS).saturating_add(margin_ms).to_string();
                }
            }
        }
    }

    /// Topics that stores are restored from: changelogs, and source topics in their place.
    pub fn changelogs(&self) -> Vec<Arc<str>> {
        let stores = self.sub_topologies.iter().flat_map(|sub| &sub.stores);
        let topics: BTreeSet<_> = stores.filter_map(|store| store.changelog.clone()).collect();
        topics.into_iter().collect()
    }

    /// Source topics that are changelogs too.
    pub fn reused_sources(&self) -> Vec<Arc<str>> {
        let stores = self.sub_topologies.iter().flat_map(|sub| &sub.stores);
        stores.filter(|store| store.source.is_some()).filter_map(|store| store.changelog.clone()).collect()
    }

    /// The topics the group subscribes to, sorted.
    pub fn subscription(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<_> = self.sub_topologies.iter().flat_map(|s| s.sources.iter().cloned()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// Partitions of all topics the group subscribes to.
    pub fn source_partitions(&self) -> usize {
        let count = |topic: &Arc<str>| self.partitions.get(topic).copied().unwrap_or(1);
        self.subscription().iter().map(|topic| usize::try_from(count(topic)).unwrap_or(1)).sum()
    }
}

#[cfg(test)]
mod tests {
    use crate::{operator::TimeWindows, topology::StreamsBuilder};
    use std::{collections::BTreeMap, time::Duration};

    /// Without the margin a broker deletes changelog records of old event time, and a restore finds nothing.
    #[test]
    fn q23_the_margin_of_the_settings_reaches_the_changelog() {
        let builder = StreamsBuilder::new();
        let windows = TimeWindows::of_size_with_no_grace(Duration::from_millis(1_000));
        builder.stream::<String, String>("in").group_by_key().windowed_by(windows).count();
        let topology = builder.build().unwrap();
        let mut resolved = topology.resolve("app", &BTreeMap::from([("in".into(), 1)])).unwrap();
        assert_eq!(resolved.internal[0].config["retention.ms"], "86401000");
        resolved.set_changelog_margin(864_000_000_000);
        assert_eq!(resolved.internal[0].config["retention.ms"], "864000001000");
    }
}
