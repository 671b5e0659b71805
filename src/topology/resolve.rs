//! Partition counts: those of real topics decide those of internal ones (D-161, D-162), and all must fit together.

use super::{
    GlobalTable, InternalTopic, Resolved, ResolvedSub, StorePlan,
    pattern::is_internal,
    physical::{Physical, Role},
    plan::SinkTopic,
};
use crate::{
    fault::{Fault, Result},
    state::{StoreKind, StoreSpec},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How much longer than its store a window changelog keeps records, in milliseconds, unless
/// `windowstore.changelog.additional.retention.ms` says otherwise.
pub const CHANGELOG_MARGIN_MS: i64 = 86_400_000;

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Topic settings of a repartition topic.
fn repartition_settings() -> BTreeMap<String, String> {
    settings(&[
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.ms", "-1"),
        ("segment.bytes", "52428800"),
    ])
}

/// Topic settings of a store's changelog (Q-21..Q-25), the store's own over them.
fn changelog_settings(spec: &StoreSpec) -> BTreeMap<String, String> {
    let mut config = settings(&[("cleanup.policy", "compact"), ("message.timestamp.type", "CreateTime")]);
    if let Some(retention_ms) = spec.retention_ms() {
        // Each row of a join has a key of its own: there is nothing to compact (D-80).
        let policy = if spec.kind.is_join() { "delete" } else { "compact,delete" };
        config.insert("cleanup.policy".into(), policy.into());
        config.insert("retention.ms".into(), retention_ms.saturating_add(CHANGELOG_MARGIN_MS).to_string());
    }
    if let StoreKind::Versioned { history_ms } = spec.kind {
        let lag_ms = history_ms.saturating_add(CHANGELOG_MARGIN_MS);
        config.insert("min.compaction.lag.ms".into(), lag_ms.to_string());
    }
    config.extend(spec.changelog_config.clone());
    config
}

/// The counts of topics by their names in the topology.
struct Counts<'a> {
    physical: &'a Physical,
    known: BTreeMap<Arc<str>, i32>,
}

impl Counts<'_> {
    /// Count of a topic, once it can be known.
    fn of(&self, topic: &str) -> Option<i32> {
        self.known.get(topic).copied()
    }

    /// True when the topic's count is that of the topics it is read together with, as those of a foreign-key join.
    fn follows(&self, topic: &str) -> bool {
        self.physical.repartitions.iter().any(|t| t.follows && &*t.name == topic)
    }

    /// Greatest count of the sources of the sub-topologies that write to repartition topic `topic`. Where such a source is
    /// a repartition topic without a count, those upstream of it count; a sub-topology may also read what it writes.
    fn upstream(&self, topic: &str, passed: &mut BTreeSet<Arc<str>>) -> Option<i32> {
        let writes = |role: &Role| matches!(role, Role::Sink { topic: SinkTopic::Internal(t) } if &**t == topic);
        let groups: BTreeSet<u32> = self.physical.nodes.iter().filter(|n| writes(&n.role)).map(|n| n.group).collect();
        let mut greatest = None;
        for node in self.physical.nodes.iter().filter(|n| groups.contains(&n.group)) {
            let Role::Source { topics, .. } = &node.role else { continue };
            for topic in topics.iter().filter(|topic| !self.follows(topic)) {
                let known = self.of(topic);
                if known.is_some() || !passed.insert(topic.clone()) {
                    greatest = greatest.max(known);
                } else {
                    greatest = greatest.max(self.upstream(topic, passed));
                }
            }
        }
        greatest
    }

    /// Counts of repartition topics: the user's, else those of the topics upstream.
    fn fill(&mut self) -> Result<()> {
        let topics = &self.physical.repartitions;
        for topic in topics {
            if let Some(partitions) = topic.partitions {
                self.known.insert(topic.name.clone(), partitions);
            }
        }
        let mut found = Vec::new();
        for topic in topics.iter().filter(|t| !t.follows && self.of(&t.name).is_none()) {
            let count = self.upstream(&topic.name, &mut BTreeSet::from([topic.name.clone()])).ok_or_else(|| {
                Fault::stop("the partition count of a repartition topic depends on itself")
                    .at(format!("topic {}", topic.name))
                    .hint("give it a number of partitions (Repartitioned::partitions)")
            })?;
            found.push((topic.name.clone(), count));
        }
        self.known.extend(found);
        Ok(())
    }

    /// Makes the counts of co-partitioned topics equal where they are ours to choose.
    fn copartition(&mut self) -> Result<()> {
        for sources in &self.physical.copartitioned {
            let group = self.physical.topics_of(sources);
            let ours = |t: &Arc<str>| self.physical.repartitions.iter().find(|r| r.name == *t);
            let fixed: BTreeMap<_, _> = group
                .iter()
                .filter(|t| ours(t).is_none_or(|r| r.partitions.is_some()))
                .filter_map(|t| Some((t.clone(), self.of(t)?)))
                .collect();
            let count = match fixed.values().next() {
                Some(first) if fixed.values().all(|n| n == first) => *first,
                Some(_) => return Err(unequal(&fixed).at("a join")),
                None => group.iter().filter_map(|t| self.of(t)).max().unwrap_or(1),
            };
            for topic in group.iter().filter(|t| ours(t).is_some()) {
                self.known.insert(topic.clone(), count);
            }
        }
        Ok(())
    }
}

fn unequal(counts: &BTreeMap<Arc<str>, i32>) -> Fault {
    let list = counts.iter().map(|(t, n)| format!("`{t}` has {n}")).collect::<Vec<_>>().join(", ");
    Fault::stop(format!("topics that are read together must have equal partition counts: {list}"))
        .hint("make the counts equal, or send one side through KStream::repartition_with a number of partitions")
}

fn missing(topic: &str, source: &str) -> Fault {
    Fault::stop(format!("topic `{topic}` does not exist"))
        .at(format!("source {source}"))
        .hint("create it, or mend its name in the topology")
}

/// Ties a topology to an application and to real topics.
pub(crate) fn resolve(
    physical: &Physical,
    application_id: &str,
    external: &BTreeMap<Arc<str>, i32>,
) -> Result<Resolved> {
    super::plan::check_name(application_id).map_err(|fault| fault.at("application.id"))?;
    if physical.nodes.is_empty() {
        return Err(Fault::stop("the topology is empty").hint("read at least one topic with StreamsBuilder::stream"));
    }
    let patterns = matched(physical, application_id, external)?;
    let physical = &physical.with_topics(&patterns);
    let mut counts = Counts { physical, known: BTreeMap::new() };
    for node in &physical.nodes {
        if let Role::Source { topics, internal: false, .. } = &node.role {
            for topic in topics {
                let count =
                    external.get(topic).copied().filter(|n| *n > 0).ok_or_else(|| missing(topic, &node.name))?;
                counts.known.insert(topic.clone(), count);
            }
        }
    }
    counts.fill()?;
    counts.copartition()?;
    let full = |name: &str| -> Arc<str> { format!("{application_id}-{name}").into() };
    let mut resolved = Resolved {
        application_id: application_id.into(),
        sub_topologies: Vec::new(),
        internal: Vec::new(),
        partitions: external.clone(),
        patterns,
        globals: Vec::new(),
    };
    for global in &physical.globals {
        let count = external
            .get(&global.topic)
            .copied()
            .filter(|n| *n > 0)
            .ok_or_else(|| missing(&global.topic, &global.source))?;
        resolved.partitions.insert(global.topic.clone(), count);
        let group = physical.group_of(&global.source);
        resolved.globals.push(GlobalTable::new(global, count, group, &physical.handlers));
    }
    for topic in &physical.repartitions {
        resolved.internal.push(InternalTopic {
            name: full(&topic.name),
            partitions: counts.of(&topic.name).unwrap_or(1),
            config: repartition_settings(),
            repartition: true,
        });
    }
    for id in 0..physical.groups() {
        let sub = sub_topology(physical, &counts, id, &full)?;
        for store in &sub.stores {
            if let (Some(name), None) = (&store.changelog, &store.source) {
                resolved.internal.push(InternalTopic {
                    name: name.clone(),
                    partitions: sub.partitions,
                    config: changelog_settings(&store.spec),
                    repartition: false,
                });
            }
        }
        resolved.partitions.extend(sub.sources.iter().map(|s| (s.clone(), sub.partitions)));
        resolved.sub_topologies.push(sub);
    }
    for node in &physical.nodes {
        if let Role::Sink { topic: SinkTopic::External(topic) } = &node.role
            && let Some(count) = external.get(topic)
        {
            resolved.partitions.insert(topic.clone(), *count);
        }
    }
    resolved.partitions.extend(resolved.internal.iter().map(|t| (t.name.clone(), t.partitions)));
    Ok(resolved)
}

/// The topics of each source that reads by pattern.
fn matched(
    physical: &Physical,
    application_id: &str,
    external: &BTreeMap<Arc<str>, i32>,
) -> Result<BTreeMap<Arc<str>, Vec<Arc<str>>>> {
    let mut found: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for (source, pattern) in physical.patterns() {
        let taken_in = |t: &&Arc<str>| pattern.matches(t) && !is_internal(t, application_id);
        let topics: Vec<Arc<str>> = external.keys().filter(taken_in).cloned().collect();
        if topics.is_empty() {
            return Err(Fault::stop(format!("no topic matches the pattern `{}`", pattern.text()))
                .at(format!("source {source}"))
                .hint("create one before the application starts"));
        }
        for (other, theirs) in &found {
            if let Some(topic) = topics.iter().find(|topic| theirs.contains(topic)) {
                return Err(Fault::stop(format!("topic `{topic}` matches the patterns of two sources"))
                    .at(format!("sources {other} and {source}"))
                    .hint("choose patterns that don't overlap"));
            }
        }
        found.insert(source.clone(), topics);
    }
    Ok(found)
}

fn sub_topology(
    physical: &Physical,
    counts: &Counts<'_>,
    id: u32,
    full: &dyn Fn(&str) -> Arc<str>,
) -> Result<ResolvedSub> {
    if physical.is_global(id) {
        return Ok(ResolvedSub { id, partitions: 0, sources: Vec::new(), stores: Vec::new() });
    }
    let mut sources = Vec::new();
    let mut partitions = BTreeMap::new();
    for node in physical.nodes.iter().filter(|n| n.group == id) {
        if let Role::Source { topics, internal, .. } = &node.role {
            for topic in topics {
                let name = if *internal { full(topic) } else { topic.clone() };
                partitions.insert(topic.clone(), counts.of(topic).unwrap_or(1));
                sources.push(name);
            }
        }
    }
    let Some(count) = partitions.values().next().copied() else {
        return Err(Fault::stop("a part of the topology reads no topic").at(format!("sub-topology {id}")));
    };
    if partitions.values().any(|n| *n != count) {
        return Err(unequal(&partitions).at(format!("sub-topology {id}")));
    }
    let stores = physical.stores_of(id).into_iter().map(|name| {
        let spec = physical.stores[&name].clone();
        match physical.reused.get(&name).cloned() {
            Some((topic, rows)) => StorePlan { spec, changelog: Some(topic), source: Some(rows) },
            None => {
                let changelog = spec.logged.then(|| full(&format!("{name}-changelog")));
                StorePlan { spec, changelog, source: None }
            }
        }
    });
    Ok(ResolvedSub { id, partitions: count, sources, stores: stores.collect() })
}
