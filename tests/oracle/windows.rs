//! Groups, windows and aggregates.

use crate::{
    build::{Build, Handle, field, millis, own},
    expr,
    tables::Table,
    value::{Cell, Kind, Val},
};
use millstream::{
    codec::Serde,
    operator::{EmitStrategy, TimeWindows},
    record::Windowed,
    topology::{Grouped, KGroupedStream, TimeWindowedKStream},
};
use serde_json::Value as Json;
use std::{any::Any, rc::Rc};

pub fn grouped<K, V>(node: &Json, key: Option<Serde<K>>, value: Option<Serde<V>>) -> Grouped<K, V> {
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
/// Records grouped by key.
pub struct Group<K, V> {
    pub h: KGroupedStream<K, V>,
    pub kt: Kind,
    pub vt: Kind,
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

pub fn initial(node: &Json) -> Val {
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
