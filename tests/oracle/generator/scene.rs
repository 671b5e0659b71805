//! A scenario in the making: its nodes, and what more operators can stand on.

use crate::{joins, lineage::Lineages, random::Random, streams, tables, windows};
use serde_json::{Map, Value as Json, json};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Stream,
    Table,
    Global,
}

/// What the keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Text,
    Long,
    /// Windowed, with the size of the windows.
    Time(i64),
    Session,
}

/// What the values are. Counts are a type of their own in Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    Text,
    Long,
    Count,
}

/// A node that others can stand on.
#[derive(Debug, Clone)]
pub struct Handle {
    pub id: String,
    pub shape: Shape,
    pub key: Key,
    pub value: Value,
    /// Straight from a topic of the outside.
    pub raw: bool,
    /// A table whose store keeps versions.
    pub versioned: bool,
    /// A table of windows that close: their result can be held back until then.
    pub closes: bool,
    /// A table whose rows Kafka Streams can't look up: it fails at the start when a join needs them.
    pub unread: bool,
    /// Something stands on it.
    pub used: bool,
}

impl Handle {
    pub fn new(id: &str, shape: Shape, key: Key, value: Value) -> Self {
        let id = id.to_owned();
        Self { id, shape, key, value, raw: false, versioned: false, closes: false, unread: false, used: false }
    }
}

/// A topic that steps write to.
#[derive(Debug, Clone, Default)]
pub struct Topic {
    pub name: String,
    pub longs: bool,
    /// Its keys are numbers.
    pub long_keys: bool,
    /// It is read by pattern, which must find it.
    pub by_pattern: bool,
    /// Records may have a negative time.
    pub untimed: bool,
    /// Every record can be read.
    pub sound: bool,
}

pub struct Scene {
    pub random: Random,
    pub nodes: Vec<Json>,
    pub handles: Vec<Handle>,
    pub topics: Vec<Topic>,
    pub config: Map<String, Json>,
    /// Named stores of keys and values, which steps may read, and whether they keep versions.
    pub stores: Vec<(String, bool)>,
    /// One stream without internal topics. The oracle runs all sub-topologies in one task, with one stream time and one
    /// set of offsets; elsewhere each has its own, so what shows them comes only in such scenarios.
    pub solo: bool,
    /// Where records come from.
    pub lineages: Lineages,
    /// A processor has a schedule.
    pub punctuates: bool,
    /// Functions may throw.
    pub throws: bool,
    /// Some records are no texts and no numbers.
    pub corrupt: bool,
    names: usize,
}

impl Scene {
    pub fn new(mut random: Random) -> Self {
        let mut config = Map::new();
        if random.percent(20) {
            config.insert("statestore.cache.max.bytes".into(), "1000000".into());
        }
        if random.percent(3) {
            config.insert("application.id".into(), "my.app".into());
        }
        let throws = random.percent(6);
        if throws && random.percent(60) {
            let class = "org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler";
            config.insert("processing.exception.handler".into(), class.into());
            if random.percent(40) {
                config.insert("errors.dead.letter.queue.topic.name".into(), "dlq".into());
            }
        }
        let corrupt = random.percent(5);
        if corrupt && random.percent(80) {
            let class = "org.apache.kafka.streams.errors.LogAndContinueExceptionHandler";
            config.insert("deserialization.exception.handler".into(), class.into());
            if random.percent(40) {
                config.insert("errors.dead.letter.queue.topic.name".into(), "dlq".into());
            }
        }
        let solo = random.percent(15);
        let (nodes, handles, topics, stores, lineages) = Default::default();
        Self {
            random,
            nodes,
            handles,
            topics,
            config,
            stores,
            solo,
            lineages,
            punctuates: false,
            throws,
            corrupt,
            names: 0,
        }
    }

    /// True when the record cache is on.
    pub fn cached(&self) -> bool {
        self.config.contains_key("statestore.cache.max.bytes")
    }

    /// True when a stream reads by pattern.
    pub fn has_pattern(&self) -> bool {
        self.topics.iter().any(|topic| topic.by_pattern)
    }

    /// A name that there is only once.
    pub fn fresh(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// Adds a node, sometimes with a name, and says its id.
    pub fn node(&mut self, op: &str, mut fields: Json) -> String {
        let id = self.fresh("n");
        let named = self.random.percent(15) && !["split", "cogroup", "window"].contains(&op);
        if named && fields.get("name").is_none() {
            fields["name"] = self.fresh("name-").into();
        }
        fields["id"] = id.clone().into();
        fields["op"] = op.into();
        self.lineages.add(&id, &fields);
        self.nodes.push(fields);
        id
    }

    /// Lets steps read a named store. One of windows or of windowed keys has no texts to ask for.
    pub fn readable(&mut self, fields: &Json, key: Key) {
        if let Some(name) = fields["store"]["name"].as_str().filter(|_| key == Key::Text) {
            let versioned = fields["store"].get("versioned").is_some();
            self.stores.push((name.to_owned(), versioned));
        }
    }

    /// Lets nothing more stand on a node.
    pub fn close(&mut self, id: &str) {
        self.handles.retain(|h| h.id != id);
    }

    pub fn add(&mut self, handle: Handle) {
        self.handles.push(handle);
    }

    /// A handle that fits, the latest ones more often.
    pub fn choose(&mut self, fits: impl Fn(&Handle) -> bool) -> Option<Handle> {
        self.choose_known(|h, _| fits(h))
    }

    /// The same, by where its records come from.
    pub fn choose_known(&mut self, fits: impl Fn(&Handle, &Lineages) -> bool) -> Option<Handle> {
        let known = &self.lineages;
        let fitting: Vec<usize> = (0..self.handles.len()).filter(|at| fits(&self.handles[*at], known)).collect();
        let last = *fitting.last()?;
        let at = if self.random.percent(55) { last } else { self.random.pick(&fitting) };
        let chosen = self.handles[at].clone();
        self.handles[at].used = true;
        Some(chosen)
    }

    /// One more operator.
    pub fn grow(&mut self) {
        let Some(handle) = self.choose(|h| h.shape != Shape::Global) else { return };
        if self.solo {
            let step = if self.random.percent(60) { streams::processor } else { streams::stateless };
            step(self, &handle);
        } else if handle.shape == Shape::Table {
            let step = self.random.weighted(&[
                (20, tables::values as fn(&mut Self, &Handle)),
                (20, tables::group),
                (22, tables::suppress),
                (26, tables::stream),
                (28, joins::tables),
                (22, joins::by_foreign_key),
            ]);
            step(self, &handle);
        } else {
            let step = self.random.weighted(&[
                (26, streams::stateless as fn(&mut Self, &Handle)),
                (6, streams::repartition),
                (5, streams::through),
                (14, streams::processor),
                (10, streams::to_table),
                (46, windows::aggregate),
                (12, windows::cogroup),
                (26, joins::streams),
                (20, joins::with_table),
            ]);
            step(self, &handle);
        }
    }

    /// All that nothing stands on goes to a topic.
    pub fn sinks(&mut self) {
        let ends: Vec<Handle> = self.handles.iter().filter(|h| !h.used && h.shape != Shape::Global).cloned().collect();
        for end in ends {
            let mut from = end.id;
            if end.shape == Shape::Table {
                from = self.node("to_stream", json!({"from": from}));
            }
            let topic = self.fresh("out");
            self.node("to", json!({"from": from, "topic": topic}));
        }
    }

    /// How a store is kept: `None` for an operator's own way. `windows` are those of a windowed one.
    pub fn store(&mut self, lifetime: Option<i64>, must: bool) -> Option<Json> {
        if !must && self.random.percent(40) {
            return None;
        }
        let mut store = json!({});
        let random = &mut self.random;
        if random.percent(35) {
            store["type"] = "in_memory".into();
        }
        if random.percent(8) {
            store["logging"] = false.into();
        }
        if random.percent(12) {
            store["caching"] = false.into();
        }
        match lifetime {
            Some(lifetime) if random.percent(25) => {
                store["retention_ms"] = (lifetime + random.pick(&[0, 1, 7, 20, 100])).into();
            }
            _ => {}
        }
        if self.random.percent(50) {
            store["name"] = self.fresh("store-").into();
        }
        Some(store)
    }

    /// The scenario.
    pub fn finish(mut self, name: &str, steps: Vec<Json>) -> Json {
        let mut made = json!({"name": name, "note": "made at random"});
        if !self.config.is_empty() {
            made["config"] = Json::Object(self.config);
        }
        if self.random.percent(10) {
            made["start_wall_ms"] = 1_000.into();
        }
        made["topology"] = self.nodes.into();
        made["steps"] = steps.into();
        made
    }
}
