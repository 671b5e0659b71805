//! From a scenario's nodes to a topology.

use crate::{
    cogroups, expr,
    joins::Global,
    streams::Stream,
    tables::Table,
    value::{Cell, Kind, Val},
};
use millstream::{
    fault::Result,
    topology::{Consumed, Materialized, Optimization, StreamsBuilder, Topology},
};
use serde_json::Value as Json;
use std::{any::Any, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

/// What a node of a scenario is, with the operators that it takes.
pub trait Handle {
    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)>;
    fn any(&self) -> &dyn Any;
}

/// A topology in the making.
pub struct Build {
    pub builder: StreamsBuilder,
    pub handles: BTreeMap<String, Rc<dyn Handle>>,
    /// Offsets as a processor sees them, where they are not the topic's own.
    pub offsets: Arc<BTreeMap<(String, i64), i64>>,
    cached: bool,
}

pub fn field<'a>(node: &'a Json, name: &str) -> Option<&'a str> {
    node.get(name).and_then(Json::as_str)
}

pub fn own<T: Cell>(value: Option<&T>) -> Option<Val> {
    value.map(Cell::val)
}

pub fn millis(node: &Json, name: &str) -> Option<Duration> {
    node.get(name).and_then(Json::as_u64).map(Duration::from_millis)
}

/// The topology of a scenario, or what is wrong with it.
pub fn topology(scenario: &Json) -> Result<Topology> {
    let wanted = scenario["config"].get("topology.optimization").and_then(Json::as_str).unwrap_or("none");
    let optimizations: Vec<Optimization> =
        wanted.split(',').flat_map(|name| optimization(name.trim())).copied().collect();
    build(scenario).build_optimized(&optimizations)
}

fn optimization(name: &str) -> &'static [Optimization] {
    match name {
        "all" => Optimization::ALL,
        "reuse.ktable.source.topics" => &[Optimization::ReuseKtableSourceTopics],
        "merge.repartition.topics" => &[Optimization::MergeRepartitionTopics],
        "single.store.self.join" => &[Optimization::SingleStoreSelfJoin],
        _ => &[],
    }
}

/// True when the scenario's record cache has a size.
pub fn is_cached(scenario: &Json) -> bool {
    scenario["config"].get("statestore.cache.max.bytes").and_then(Json::as_str).is_some_and(|bytes| bytes != "0")
}

fn build(scenario: &Json) -> StreamsBuilder {
    let mut build = Build {
        builder: StreamsBuilder::new(),
        handles: BTreeMap::new(),
        offsets: Arc::new(pattern_offsets(scenario)),
        cached: is_cached(scenario),
    };
    for node in scenario["topology"].as_array().expect("a list of nodes") {
        let made = build.node(node);
        build.handles.extend(made);
    }
    build.builder
}

/// A broker counts offsets by topic. Kafka Streams' test driver, which the oracle is, counts them through all topics of a
/// pattern: by topic and offset, what it says instead.
fn pattern_offsets(scenario: &Json) -> BTreeMap<(String, i64), i64> {
    let mut offsets = BTreeMap::new();
    for pattern in scenario["topology"].as_array().expect("nodes").iter().filter_map(|node| field(node, "pattern")) {
        let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).expect("a pattern");
        let piped = scenario["steps"].as_array().expect("steps").iter().filter_map(|step| field(step, "pipe"));
        let (mut own, mut all) = (BTreeMap::<&str, i64>::new(), 0);
        for topic in piped.filter(|topic| pattern.is_match(topic)) {
            let own = own.entry(topic).or_default();
            offsets.insert((topic.to_owned(), *own), all);
            *own += 1;
            all += 1;
        }
    }
    offsets
}

impl Build {
    fn node(&self, node: &Json) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let (kt, vt) = (Kind::named(field(node, "key_type")), Kind::named(field(node, "value_type")));
        match field(node, "op").expect("an op") {
            "stream" => {
                let h = match node.get("topics") {
                    None if node.get("pattern").is_some() => {
                        let pattern = field(node, "pattern").expect("a pattern");
                        self.builder.stream_pattern_with(pattern, consumed(node, &kt, &vt))
                    }
                    Some(topics) => {
                        let topics: Vec<_> =
                            topics.as_array().expect("topics").iter().filter_map(Json::as_str).collect();
                        self.builder.stream_with(topics, consumed(node, &kt, &vt))
                    }
                    None => self.builder.stream_with(field(node, "topic").expect("a topic"), consumed(node, &kt, &vt)),
                };
                vec![(id, Rc::new(Stream { h, kt, vt }))]
            }
            "global_table" => {
                let store = self.materialized::<Val, Val>(node.get("store"), &kt, &vt);
                let topic = field(node, "topic").expect("a topic");
                vec![(id, Rc::new(Global(self.builder.global_table_with(topic, consumed(node, &kt, &vt), store))))]
            }
            "table" => {
                let store = self.materialized::<Val, Val>(node.get("store"), &kt, &vt);
                let h =
                    self.builder.table_with(field(node, "topic").expect("a topic"), consumed(node, &kt, &vt), store);
                vec![(id, Rc::new(Table { h, kt, vt }))]
            }
            "cogroup" => vec![(id, cogroups::cogroup(node, self))],
            _ => {
                let from = field(node, "from").or_else(|| field(node, "left")).expect("an input");
                self.handles[from].clone().apply(node, self)
            }
        }
    }

    /// Makes the build fail, as Kafka Streams does where the types refuse a node here.
    pub fn refuse<T>(&self, instead: T) -> T {
        drop(self.builder.stream::<String, String>(""));
        instead
    }

    pub fn materialized<K: Cell, V: Cell>(&self, store: Option<&Json>, kt: &Kind, vt: &Kind) -> Materialized<K, V> {
        let history = store.and_then(|s| millis(s.get("versioned")?, "history_ms"));
        let mut m = match (store.and_then(|s| field(s, "name")), history) {
            (Some(name), Some(history)) => Materialized::as_versioned(name, history),
            (Some(name), None) => Materialized::as_store(name),
            (None, _) => Materialized::default(),
        };
        if let Some(serde) = K::serde(kt) {
            m = m.with_key_serde(serde);
        }
        if let Some(serde) = V::serde(vt) {
            m = m.with_value_serde(serde);
        }
        let get = |name: &str| store.and_then(|s| s.get(name));
        if !self.cached || get("caching") == Some(&Json::Bool(false)) {
            m = m.with_caching_disabled();
        }
        if get("logging") == Some(&Json::Bool(false)) {
            m = m.with_logging_disabled();
        }
        if get("type").and_then(Json::as_str) == Some("in_memory") {
            m = m.in_memory();
        }
        match get("retention_ms").and_then(Json::as_u64) {
            Some(ms) => m.with_retention(Duration::from_millis(ms)),
            None => m,
        }
    }
}

fn consumed(node: &Json, kt: &Kind, vt: &Kind) -> Consumed<Val, Val> {
    let mut consumed = Consumed::with(kt.serde(), vt.serde());
    if let Some(name) = field(node, "name") {
        consumed = consumed.name(name);
    }
    match field(node, "extractor") {
        None | Some("fail") => consumed,
        Some("skip") => consumed.skip_on_invalid_timestamp(),
        Some("partition_time") => consumed.partition_time_on_invalid_timestamp(),
        Some(other) => {
            let expression = Json::String(other.replacen("value:", "field:", 1));
            consumed.timestamp_extractor(move |_, value, _, _| {
                let found = expr::eval(&expression, &None, &value.cloned());
                found.and_then(|v| v.text().parse().ok()).unwrap_or(-1)
            })
        }
    }
}
