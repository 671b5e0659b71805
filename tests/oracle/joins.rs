//! Joins.

use crate::{
    build::{Build, Handle, field, own},
    expr,
    streams::stream,
    tables::Table,
    value::{Cell, Kind, Val},
};
use millstream::topology::{Joined, KStream, KTable};
use serde_json::Value as Json;
use std::rc::Rc;

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
    let result = if left {
        let join = move |k: Option<&K>, l: &V, r: Option<&VT>| expr::join(&joiner, &own(k), &Some(l.val()), &own(r));
        h.left_join_with(table, join, joined)
    } else {
        let join = move |k: Option<&K>, l: &V, r: &VT| expr::join(&joiner, &own(k), &Some(l.val()), &Some(r.val()));
        h.join_with(table, join, joined)
    };
    stream(result, kt, &Kind::Text)
}
