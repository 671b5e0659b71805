//! From a scenario's nodes to a topology.

use crate::{
    expr,
    processors::process,
    value::{Cell, Kind, Val},
};
use millstream::{
    operator::{EmitStrategy, TimeWindows},
    record::Windowed,
    topology::{
        Consumed, Grouped, Joined, KGroupedStream, KStream, KTable, Materialized, Produced, Repartitioned,
        StreamsBuilder, TimeWindowedKStream,
    },
};
use serde_json::Value as Json;
use std::{any::Any, collections::BTreeMap, rc::Rc, time::Duration};

/// What a node of a scenario is, with the operators that it takes.
pub trait Handle {
    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)>;
    fn any(&self) -> &dyn Any;
}

/// A topology in the making.
pub struct Build {
    pub builder: StreamsBuilder,
    handles: BTreeMap<String, Rc<dyn Handle>>,
    cached: bool,
}

pub fn field<'a>(node: &'a Json, name: &str) -> Option<&'a str> {
    node.get(name).and_then(Json::as_str)
}

fn own<T: Cell>(value: Option<&T>) -> Option<Val> {
    value.map(Cell::val)
}

fn millis(node: &Json, name: &str) -> Option<Duration> {
    node.get(name).and_then(Json::as_u64).map(Duration::from_millis)
}

/// Builds the topology of a scenario.
pub fn build(scenario: &Json) -> StreamsBuilder {
    let cache = scenario["config"].get("statestore.cache.max.bytes").and_then(Json::as_str).unwrap_or("0");
    let mut build = Build { builder: StreamsBuilder::new(), handles: BTreeMap::new(), cached: cache != "0" };
    for node in scenario["topology"].as_array().expect("a list of nodes") {
        let made = build.node(node);
        build.handles.extend(made);
    }
    build.builder
}

impl Build {
    fn node(&self, node: &Json) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let (kt, vt) = (Kind::named(field(node, "key_type")), Kind::named(field(node, "value_type")));
        match field(node, "op").expect("an op") {
            "stream" => {
                let h = match node.get("topics") {
                    Some(topics) => {
                        let topics: Vec<_> =
                            topics.as_array().expect("topics").iter().filter_map(Json::as_str).collect();
                        self.builder.stream_with(topics, consumed(node, &kt, &vt))
                    }
                    None => self.builder.stream_with(field(node, "topic").expect("a topic"), consumed(node, &kt, &vt)),
                };
                vec![(id, Rc::new(Stream { h, kt, vt }))]
            }
            "table" => {
                let store = self.materialized::<Val, Val>(node.get("store"), &kt, &vt);
                let h =
                    self.builder.table_with(field(node, "topic").expect("a topic"), consumed(node, &kt, &vt), store);
                vec![(id, Rc::new(Table { h, kt, vt }))]
            }
            _ => {
                let from = field(node, "from").or_else(|| field(node, "left")).expect("an input");
                self.handles[from].clone().apply(node, self)
            }
        }
    }

    fn materialized<K: Cell, V: Cell>(&self, store: Option<&Json>, kt: &Kind, vt: &Kind) -> Materialized<K, V> {
        let mut m = match store.and_then(|s| field(s, "name")) {
            Some(name) => Materialized::as_store(name),
            None => Materialized::default(),
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

pub struct Stream<K, V> {
    pub h: KStream<K, V>,
    pub kt: Kind,
    pub vt: Kind,
}

pub fn stream<K: Cell, V: Cell>(h: KStream<K, V>, kt: &Kind, vt: &Kind) -> Rc<dyn Handle> {
    Rc::new(Stream { h, kt: kt.clone(), vt: vt.clone() })
}

impl<K: Cell, V: Cell> Handle for Stream<K, V> {
    fn any(&self) -> &dyn Any {
        self
    }

    #[allow(clippy::too_many_lines, reason = "one arm per operator")]
    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let (kt, vt) = (&self.kt, &self.vt);
        let h = match field(node, "name") {
            Some(name) => self.h.named(name),
            None => self.h.clone(),
        };
        let expression = |name: &str, default: &str| node.get(name).cloned().unwrap_or_else(|| default.into());
        let made: Rc<dyn Handle> = match field(node, "op").expect("an op") {
            op @ ("filter" | "filter_not") => {
                let pred = field(node, "pred").expect("a predicate").to_owned();
                let test = move |k: Option<&K>, v: Option<&V>| expr::pred(&pred, &own(k), &own(v));
                stream(if op == "filter" { h.filter(test) } else { h.filter_not(test) }, kt, vt)
            }
            "map" => {
                let (key, value) = (expression("key", "k.id"), expression("value", "id"));
                let kinds = (expr::kind(&key, kt, vt), expr::kind(&value, kt, vt));
                let map = move |k: Option<&K>, v: Option<&V>| {
                    let (k, v) = (own(k), own(v));
                    (expr::eval(&key, &k, &v), expr::eval(&value, &k, &v))
                };
                stream(h.map(map), &kinds.0, &kinds.1)
            }
            "flat_map" => {
                let (key, value) = (expression("key", "k.id"), expression("value", "id"));
                let kinds = (expr::kind(&key, kt, &Kind::Text), expr::kind(&value, kt, &Kind::Text));
                let flat = field(node, "flat").expect("a flat function").to_owned();
                let map = move |k: Option<&K>, v: Option<&V>| {
                    let k = own(k);
                    let pieces = expr::flat(&flat, &own(v));
                    let pair = |p: &Option<Val>| (expr::eval(&key, &k, p), expr::eval(&value, &k, p));
                    pieces.iter().map(pair).collect::<Vec<_>>()
                };
                stream(h.flat_map(map), &kinds.0, &kinds.1)
            }
            "map_values" => {
                let value = expression("value", "id");
                let kind = expr::kind(&value, kt, vt);
                let map = move |k: Option<&K>, v: Option<&V>| expr::eval(&value, &own(k), &own(v));
                stream(h.map_values_with_key(map), kt, &kind)
            }
            "flat_map_values" => {
                let flat = field(node, "flat").expect("a flat function").to_owned();
                let map = move |v: Option<&V>| expr::flat(&flat, &own(v)).into_iter().flatten().collect::<Vec<_>>();
                stream(h.flat_map_values(map), kt, &Kind::Text)
            }
            "select_key" => select_key(&h, expression("key", "k.id"), kt, vt),
            "peek" => stream(h.peek(|_, _| {}), kt, vt),
            "split" => return split(&h, node, kt, vt),
            "merge" => {
                let other = build.handles[field(node, "right").expect("a right side")].clone();
                let other: &Stream<K, V> = other.any().downcast_ref().expect("streams of one type");
                stream(h.merge(&other.h), kt, vt)
            }
            "repartition" => {
                let mut how = Repartitioned::default();
                if let Some(serde) = K::serde(kt) {
                    how = how.key_serde(serde);
                }
                if let Some(serde) = V::serde(vt) {
                    how = how.value_serde(serde);
                }
                if let Some(n) = node.get("partitions").and_then(Json::as_i64) {
                    how = how.partitions(i32::try_from(n).expect("a small number"));
                }
                stream(h.repartition_with(how), kt, vt)
            }
            "to" => {
                let mut produced = Produced::default();
                if let Some(serde) = K::serde(kt) {
                    produced = produced.key_serde(serde);
                }
                if let Some(serde) = V::serde(vt) {
                    produced = produced.value_serde(serde);
                }
                match field(node, "topic") {
                    Some(topic) => h.to_with(topic, produced),
                    None => {
                        let topic = expression("topic_expr", "id");
                        let choose =
                            move |k: Option<&K>, v: Option<&V>| expr::text(&expr::eval(&topic, &own(k), &own(v)));
                        h.to_topic_of_with(choose, produced);
                    }
                }
                return Vec::new();
            }
            "group_by_key" => {
                let g = grouped(node, K::serde(kt), V::serde(vt));
                Rc::new(Group { h: self.h.group_by_key_with(g), kt: kt.clone(), vt: vt.clone() })
            }
            "group_by" => {
                let key = expression("key", "k.id");
                let kind = expr::kind(&key, kt, vt);
                let g = grouped(node, Some(kind.serde()), V::serde(vt));
                let select = move |k: Option<&K>, v: Option<&V>| expr::eval(&key, &own(k), &own(v));
                Rc::new(Group { h: self.h.group_by_with(select, g), kt: kind, vt: vt.clone() })
            }
            op @ ("join" | "left_join") => {
                let other = build.handles[field(node, "right").expect("a right side")].clone();
                let left = op == "left_join";
                if let Some(table) = other.any().downcast_ref::<Table<K, Val>>() {
                    join(&h, &table.h, node, kt, vt, left)
                } else {
                    let table: &Table<K, i64> = other.any().downcast_ref().expect("a table of the stream's key");
                    join(&h, &table.h, node, kt, vt, left)
                }
            }
            "process" => {
                let h: &KStream<Val, Val> = (&h as &dyn Any).downcast_ref().expect("plain keys and values");
                process(h, node, build, kt, vt)
            }
            other => panic!("a stream has no {other}"),
        };
        vec![(id, made)]
    }
}

fn select_key<K: Cell, V: Cell>(h: &KStream<K, V>, key: Json, kt: &Kind, vt: &Kind) -> Rc<dyn Handle> {
    let kind = expr::kind(&key, kt, vt);
    stream(h.select_key(move |k, v| expr::eval(&key, &own(k), &own(v))), &kind, vt)
}

fn split<K: Cell, V: Cell>(h: &KStream<K, V>, node: &Json, kt: &Kind, vt: &Kind) -> Vec<(String, Rc<dyn Handle>)> {
    let mut split = h.split();
    let mut ids = Vec::new();
    let prefix = field(node, "name").unwrap_or("KSTREAM-BRANCH-0000000001");
    let mut id_of = |branch: &Json, default: &str| {
        let name = format!("{prefix}{}", field(branch, "name").unwrap_or(default));
        ids.push((field(branch, "as").expect("an id").to_owned(), name));
    };
    for (at, branch) in node["branches"].as_array().expect("branches").iter().enumerate() {
        id_of(branch, &(at + 1).to_string());
        let pred = field(branch, "pred").expect("a predicate").to_owned();
        let test = move |k: Option<&K>, v: Option<&V>| expr::pred(&pred, &own(k), &own(v));
        split = match field(branch, "name") {
            Some(name) => split.branch_as(name, test),
            None => split.branch(test),
        };
    }
    let branches = match node.get("default") {
        Some(default) => {
            id_of(default, "0");
            match field(default, "name") {
                Some(name) => split.default_branch_as(name),
                None => split.default_branch(),
            }
        }
        None => split.no_default_branch(),
    };
    ids.into_iter().map(|(id, name)| (id, stream(branches[&name].clone(), kt, vt))).collect()
}

fn join<K: Cell, V: Cell, VT: Cell>(
    h: &KStream<K, V>,
    table: &KTable<K, VT>,
    node: &Json,
    kt: &Kind,
    vt: &Kind,
    left: bool,
) -> Rc<dyn Handle> {
    let joiner = field(node, "joiner").unwrap_or("pair").to_owned();
    let mut joined = Joined::default();
    if let Some(serde) = K::serde(kt) {
        joined = joined.key_serde(serde);
    }
    if let Some(serde) = V::serde(vt) {
        joined = joined.value_serde(serde);
    }
    let result = if left {
        let join = move |k: Option<&K>, l: &V, r: Option<&VT>| expr::join(&joiner, &own(k), &Some(l.val()), &own(r));
        h.left_join_with(table, join, joined)
    } else {
        let join = move |k: Option<&K>, l: &V, r: &VT| expr::join(&joiner, &own(k), &Some(l.val()), &Some(r.val()));
        h.join_with(table, join, joined)
    };
    stream(result, kt, &Kind::Text)
}

fn grouped<K, V>(
    node: &Json,
    key: Option<millstream::codec::Serde<K>>,
    value: Option<millstream::codec::Serde<V>>,
) -> Grouped<K, V> {
    let mut grouped = Grouped::default();
    if let Some(key) = key {
        grouped = grouped.key_serde(key);
    }
    if let Some(value) = value {
        grouped = grouped.value_serde(value);
    }
    match field(node, "name") {
        Some(name) => grouped.name(name),
        None => grouped,
    }
}

pub struct Table<K, V> {
    h: KTable<K, V>,
    kt: Kind,
    vt: Kind,
}

impl<K: Cell, V: Cell> Handle for Table<K, V> {
    fn any(&self) -> &dyn Any {
        self
    }

    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let (kt, vt) = (self.kt.clone(), self.vt.clone());
        let h = match field(node, "name") {
            Some(name) => self.h.named(name),
            None => self.h.clone(),
        };
        let store = node.get("store");
        let made: Rc<dyn Handle> = match field(node, "op").expect("an op") {
            op @ ("filter" | "filter_not") => {
                let pred = field(node, "pred").expect("a predicate").to_owned();
                let test = move |k: &K, v: &V| expr::pred(&pred, &Some(k.val()), &Some(v.val()));
                let h = match (store, op) {
                    (Some(_), "filter") => h.filter_with(test, build.materialized(store, &kt, &vt)),
                    (Some(_), _) => h.filter_not_with(test, build.materialized(store, &kt, &vt)),
                    (None, "filter") => h.filter(test),
                    (None, _) => h.filter_not(test),
                };
                Rc::new(Table { h, kt, vt })
            }
            "map_values" => {
                let value = node["value"].clone();
                let vt = expr::kind(&value, &kt, &vt);
                let map = move |k: &K, v: &V| expr::eval(&value, &Some(k.val()), &Some(v.val()));
                let h = match store {
                    Some(_) => h.map_values_stored(map, build.materialized(store, &kt, &vt)),
                    None => h.map_values_with_key(map),
                };
                Rc::new(Table { h, kt, vt })
            }
            "to_stream" => match node.get("key") {
                Some(key) => select_key(&h.to_stream(), key.clone(), &kt, &vt),
                None => stream(h.to_stream(), &kt, &vt),
            },
            other => panic!("a table has no {other}"),
        };
        vec![(id, made)]
    }
}

struct Group<K, V> {
    h: KGroupedStream<K, V>,
    kt: Kind,
    vt: Kind,
}

struct Windows<V> {
    h: TimeWindowedKStream<Val, V>,
    kt: Kind,
    vt: Kind,
}

fn windows(node: &Json) -> TimeWindows {
    let size = millis(node, "size_ms").expect("a size");
    let windows = TimeWindows::of_size_and_grace(size, millis(node, "grace_ms").unwrap_or_default());
    millis(node, "advance_ms").map_or(windows, |advance| windows.advance_by(advance))
}

fn initial(node: &Json) -> Val {
    let long = field(node, "value_type") == Some("long");
    let init = field(node, "init").unwrap_or(if long { "0" } else { "" });
    if long { Val::Long(init.parse().expect("a number")) } else { Val::Text(init.into()) }
}

macro_rules! aggregates {
    ($self:ident, $node:ident, $build:ident, $h:ident, $key:ty, $kt:expr) => {{
        let store = $node.get("store");
        let kt = $kt;
        match field($node, "op").expect("an op") {
            "count" => {
                let h = $h.count_with($build.materialized(store, &$self.kt, &Kind::Long));
                Rc::new(Table::<$key, i64> { h, kt, vt: Kind::Long }) as Rc<dyn Handle>
            }
            "reduce" => {
                let reducer = field($node, "reducer").expect("a reducer").to_owned();
                let reduce = move |a: V, b: Option<&V>| {
                    expr::reduce(&reducer, Some(a.val()), own(b))
                        .map(|v| (&v as &dyn Any).downcast_ref::<V>().expect("values of scenarios").clone())
                };
                let h = $h.reduce_with(reduce, $build.materialized(store, &$self.kt, &$self.vt));
                Rc::new(Table::<$key, V> { h, kt, vt: $self.vt.clone() })
            }
            "aggregate" => {
                let vt = Kind::named(field($node, "value_type"));
                let agg = field($node, "agg").expect("an aggregator").to_owned();
                let init = initial($node);
                let h = $h.aggregate_with(
                    move || init.clone(),
                    move |k, v, g| expr::aggregate(&agg, &Some(k.val()), &own(v), Some(g)),
                    $build.materialized(store, &$self.kt, &vt),
                );
                Rc::new(Table::<$key, Val> { h, kt, vt })
            }
            other => panic!("a grouped stream has no {other}"),
        }
    }};
}

impl<K: Cell, V: Cell> Handle for Group<K, V> {
    fn any(&self) -> &dyn Any {
        self
    }

    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let h = match field(node, "name") {
            Some(name) => self.h.named(name),
            None => self.h.clone(),
        };
        let made: Rc<dyn Handle> = if field(node, "op") == Some("window") {
            let h: &KGroupedStream<Val, V> = (&h as &dyn Any).downcast_ref().expect("plain keys");
            let emit = match field(node, "emit") {
                Some("close") => EmitStrategy::on_window_close(),
                _ => EmitStrategy::on_window_update(),
            };
            let windows = windows(node);
            let kt = Kind::Windowed(Box::new(self.kt.clone()), windows.size_ms());
            let h = h.windowed_by(windows).emit_strategy(emit);
            Rc::new(WindowGroup(Windows { h, kt: self.kt.clone(), vt: self.vt.clone() }, kt))
        } else {
            aggregates!(self, node, build, h, K, self.kt.clone())
        };
        vec![(id, made)]
    }
}

/// Windows and the kind of their windowed keys.
struct WindowGroup<V>(Windows<V>, Kind);

impl<V: Cell> Handle for WindowGroup<V> {
    fn any(&self) -> &dyn Any {
        self
    }

    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let (windows, h) = (&self.0, self.0.h.clone());
        let h = match field(node, "name") {
            Some(name) => h.named(name),
            None => h,
        };
        vec![(id, aggregates!(windows, node, build, h, Windowed<Val>, self.1.clone()))]
    }
}
