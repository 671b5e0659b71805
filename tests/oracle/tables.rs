//! Steps on tables.

use crate::{
    build::{Build, Handle, field},
    expr, groups, joins,
    streams::{select_key, stream},
    value::{Cell, Kind},
};
use millstream::topology::KTable;
use serde_json::Value as Json;
use std::{any::Any, rc::Rc};

pub struct Table<K, V> {
    pub h: KTable<K, V>,
    pub kt: Kind,
    pub vt: Kind,
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
                    None => with_serde(h.map_values_with_key(map), &vt),
                };
                Rc::new(Table { h, kt, vt })
            }
            "to_stream" => match node.get("key") {
                Some(key) => select_key(&h.to_stream(), key.clone(), &kt, &vt),
                None => stream(h.to_stream(), &kt, &vt),
            },
            "suppress" => {
                let h = match K::suppressed(node) {
                    Some(how) => h.suppress(how),
                    None => build.refuse(h),
                };
                Rc::new(Table { h, kt, vt })
            }
            "group_by" => groups::group_by(&h, node, &kt, &vt),
            "join" | "left_join" | "outer_join" => joins::table_join(&h, node, build, &kt),
            "fk_join" | "fk_left_join" => joins::foreign_key_join(&h, node, build, &kt),
            other => panic!("a table has no {other}"),
        };
        vec![(id, made)]
    }
}

/// A table whose values get the serde of their kind, as Kafka Streams' default serde does it.
pub fn with_serde<K: Cell, V: Cell>(h: KTable<K, V>, vt: &Kind) -> KTable<K, V> {
    V::serde(vt).into_iter().fold(h, |h, serde| h.with_value_serde(serde))
}
