//! Steps on streams.

use crate::{
    build::{Build, Handle, field, own},
    expr, joins,
    processors::{process, process_values},
    tables::Table,
    value::{Cell, Kind, Val},
    windows::{Group, grouped},
};
use millstream::topology::{KStream, Produced, Repartitioned};
use serde_json::Value as Json;
use std::{any::Any, rc::Rc};

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
                        let choose = move |k: Option<&K>, v: Option<&V>| {
                            expr::eval(&topic, &own(k), &own(v)).map_or_else(|| panic!("{}", expr::BOOM), |t| t.text())
                        };
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
            "to_table" => {
                let store = build.materialized(node.get("store"), kt, vt);
                Rc::new(Table { h: h.to_table_with(store), kt: kt.clone(), vt: vt.clone() })
            }
            "process_values" => {
                let h: &KStream<Val, Val> = (&h as &dyn Any).downcast_ref().expect("plain keys and values");
                process_values(h, node, build, kt)
            }
            "join" | "left_join" | "outer_join" => joins::stream_join(&h, node, build, kt, vt),
            "process" => {
                let h: &KStream<Val, Val> = (&h as &dyn Any).downcast_ref().expect("plain keys and values");
                process(h, node, build, kt, vt)
            }
            other => panic!("a stream has no {other}"),
        };
        vec![(id, made)]
    }
}

pub fn select_key<K: Cell, V: Cell>(h: &KStream<K, V>, key: Json, kt: &Kind, vt: &Kind) -> Rc<dyn Handle> {
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
