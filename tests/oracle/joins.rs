//! Joins.

use crate::{
    build::{Build, Handle, field, millis, own},
    expr,
    streams::{Stream, stream},
    tables::{Table, with_serde},
    value::{Cell, Kind, Val},
};
use millstream::{
    operator::JoinWindows,
    topology::{GlobalKTable, Joined, KStream, KTable, StreamJoined, TableJoined},
};
use serde_json::Value as Json;
use std::{any::Any, rc::Rc, time::Duration};

/// A join whose left side is a stream; the right side decides which.
pub fn stream_join<K: Cell, V: Cell>(
    h: &KStream<K, V>,
    node: &Json,
    build: &Build,
    kt: &Kind,
    vt: &Kind,
) -> Rc<dyn Handle> {
    let other = build.handles[field(node, "right").expect("a right side")].clone();
    let left = field(node, "op") == Some("left_join");
    if let Some(Global(table)) = other.any().downcast_ref() {
        return with_global(h, table, node, kt);
    }
    if let Some(other) = other.any().downcast_ref::<Stream<K, Val>>() {
        return with_stream(h, &other.h, node, kt, [vt, &other.vt]);
    }
    if let Some(other) = other.any().downcast_ref::<Stream<K, i64>>() {
        return with_stream(h, &other.h, node, kt, [vt, &other.vt]);
    }
    if let Some(table) = other.any().downcast_ref::<Table<K, Val>>() {
        with_table(h, &table.h, node, kt, vt, left)
    } else {
        let table: &Table<K, i64> = other.any().downcast_ref().expect("a table of the stream's key");
        with_table(h, &table.h, node, kt, vt, left)
    }
}

fn with_table<K: Cell, V: Cell, VT: Cell>(
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
    if let Some(grace) = millis(node, "grace_ms") {
        joined = joined.grace(grace);
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

/// A join whose left side is a table.
pub fn table_join<K: Cell, V: Cell>(h: &KTable<K, V>, node: &Json, build: &Build, kt: &Kind) -> Rc<dyn Handle> {
    let other = build.handles[field(node, "right").expect("a right side")].clone();
    if let Some(other) = other.any().downcast_ref::<Table<K, Val>>() {
        with_equal_keys(h, &other.h, node, build, kt)
    } else {
        let other: &Table<K, i64> = other.any().downcast_ref().expect("a table of the same key");
        with_equal_keys(h, &other.h, node, build, kt)
    }
}

fn with_equal_keys<K: Cell, V: Cell, VO: Cell>(
    h: &KTable<K, V>,
    other: &KTable<K, VO>,
    node: &Json,
    build: &Build,
    kt: &Kind,
) -> Rc<dyn Handle> {
    let joiner = field(node, "joiner").unwrap_or("pair").to_owned();
    let pair = move |l: Option<&V>, r: Option<&VO>| expr::join(&joiner, &None, &own(l), &own(r));
    let store = node.get("store").map(|store| build.materialized(Some(store), kt, &Kind::Text));
    let h = match (field(node, "op").expect("an op"), store) {
        ("join", None) => h.join(other, move |l, r| pair(Some(l), Some(r))),
        ("join", Some(store)) => h.join_with(other, move |l, r| pair(Some(l), Some(r)), store),
        ("left_join", None) => h.left_join(other, move |l, r| pair(Some(l), r)),
        ("left_join", Some(store)) => h.left_join_with(other, move |l, r| pair(Some(l), r), store),
        (_, None) => h.outer_join(other, pair),
        (_, Some(store)) => h.outer_join_with(other, pair, store),
    };
    Rc::new(Table { h: with_serde(h, &Kind::Text), kt: kt.clone(), vt: Kind::Text })
}

fn with_stream<K: Cell, V: Cell, VO: Cell>(
    h: &KStream<K, V>,
    other: &KStream<K, VO>,
    node: &Json,
    kt: &Kind,
    vts: [&Kind; 2],
) -> Rc<dyn Handle> {
    let ms = |name: &str| node.get(name).and_then(Json::as_i64);
    let before = ms("before_ms").expect("a window");
    let grace = millis(node, "grace_ms").unwrap_or_default();
    let windows = JoinWindows::of_time_difference_and_grace(Duration::ZERO, grace)
        .between_ms(before, ms("after_ms").unwrap_or(before));
    let mut joined = StreamJoined::default();
    joined = K::serde(kt).into_iter().fold(joined, StreamJoined::key_serde);
    joined = V::serde(vts[0]).into_iter().fold(joined, StreamJoined::value_serde);
    joined = VO::serde(vts[1]).into_iter().fold(joined, StreamJoined::other_value_serde);
    if let Some(name) = field(node, "name") {
        joined = joined.name(name);
    }
    if let Some(name) = field(node, "store_name") {
        joined = joined.store_name(name);
    }
    if node.get("logging") == Some(&Json::Bool(false)) {
        joined = joined.with_logging_disabled();
    }
    let joiner = field(node, "joiner").unwrap_or("pair").to_owned();
    let pair = move |k: Option<&K>, l: Option<&V>, r: Option<&VO>| expr::join(&joiner, &own(k), &own(l), &own(r));
    let result = match field(node, "op").expect("an op") {
        "join" => h.join_stream_with(other, move |k, l, r| pair(k, Some(l), Some(r)), windows, joined),
        "left_join" => h.left_join_stream_with(other, move |k, l, r| pair(k, Some(l), r), windows, joined),
        _ => h.outer_join_stream_with(other, pair, windows, joined),
    };
    stream(result, kt, &Kind::Text)
}

/// A join by foreign key. The right side's keys and values are plain.
pub fn foreign_key_join<K: Cell, V: Cell>(h: &KTable<K, V>, node: &Json, build: &Build, kt: &Kind) -> Rc<dyn Handle> {
    let other = build.handles[field(node, "right").expect("a right side")].clone();
    if let Some(other) = other.any().downcast_ref::<Table<Val, Val>>() {
        with_foreign_key(h, &other.h, node, build, kt)
    } else {
        let other: &Table<Val, i64> = other.any().downcast_ref().expect("a table with plain keys");
        with_foreign_key(h, &other.h, node, build, kt)
    }
}

fn with_foreign_key<K: Cell, V: Cell, VO: Cell>(
    h: &KTable<K, V>,
    other: &KTable<Val, VO>,
    node: &Json,
    build: &Build,
    kt: &Kind,
) -> Rc<dyn Handle> {
    let (expression, joiner) = (node["fk"].clone(), field(node, "joiner").unwrap_or("pair").to_owned());
    let foreign_key = move |k: &K, row: &V| expr::eval(&expression, &Some(k.val()), &Some(row.val()));
    let pair = move |l: &V, r: Option<&VO>| expr::join(&joiner, &None, &Some(l.val()), &own(r));
    let store = build.materialized(node.get("store"), kt, &Kind::Text);
    let joined = TableJoined::default();
    let h = if field(node, "op") == Some("fk_join") {
        h.foreign_key_join_with(other, foreign_key, move |l, r| pair(l, Some(r)), joined, store)
    } else {
        h.foreign_key_left_join_with(other, foreign_key, pair, joined, store)
    };
    Rc::new(Table { h: with_serde(h, &Kind::Text), kt: kt.clone(), vt: Kind::Text })
}

/// A global table.
pub struct Global(pub GlobalKTable<Val, Val>);

impl Handle for Global {
    fn any(&self) -> &dyn Any {
        self
    }

    fn apply(&self, node: &Json, _: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        panic!("a global table has no {}", node["op"])
    }
}

fn with_global<K: Cell, V: Cell>(
    h: &KStream<K, V>,
    table: &GlobalKTable<Val, Val>,
    node: &Json,
    kt: &Kind,
) -> Rc<dyn Handle> {
    let (key, joiner) = (node["key"].clone(), field(node, "joiner").unwrap_or("pair").to_owned());
    let select = move |k: Option<&K>, v: &V| expr::eval(&key, &own(k), &Some(v.val()));
    let pair = move |k: Option<&K>, l: &V, r: Option<&Val>| expr::join(&joiner, &own(k), &Some(l.val()), &own(r));
    let result = if field(node, "op") == Some("left_join") {
        h.left_join_global(table, select, pair)
    } else {
        h.join_global(table, select, move |k, l, r| pair(k, l, Some(r)))
    };
    stream(result, kt, &Kind::Text)
}
