//! Groups of grouped streams.

use crate::{
    build::{Build, Handle, field, own},
    expr,
    tables::Table,
    value::{Cell, Kind, Val},
    windows::{AnyWindows, Group, initial, merger},
};
use millstream::{
    record::Windowed,
    topology::{CogroupedKStream, KGroupedStream, SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream},
};
use serde_json::Value as Json;
use std::{any::Any, rc::Rc};

struct Cogroup {
    h: CogroupedKStream<Val, Val>,
    kt: Kind,
}

fn add<V: Cell>(
    so_far: Option<CogroupedKStream<Val, Val>>,
    group: &KGroupedStream<Val, V>,
    agg: &str,
) -> CogroupedKStream<Val, Val> {
    let agg = agg.to_owned();
    let aggregate = move |k: &Val, v: Option<&V>, g: Val| expr::aggregate(&agg, &Some(k.clone()), &own(v), g.present());
    match so_far {
        None => group.cogroup(aggregate),
        Some(cogrouped) => cogrouped.cogroup(group, aggregate),
    }
}

/// The cogroup of a node's inputs.
pub fn cogroup(node: &Json, build: &Build) -> Rc<dyn Handle> {
    let (mut made, mut kind) = (None, None);
    for input in node["inputs"].as_array().expect("inputs") {
        let from = build.handles[field(input, "from").expect("an input")].clone();
        let agg = field(input, "agg").expect("an aggregator");
        let h = if let Some(group) = from.any().downcast_ref::<Group<Val, Val>>() {
            kind.get_or_insert(group.kt.clone());
            add(made, &group.h, agg)
        } else {
            let group: &Group<Val, i64> = from.any().downcast_ref().expect("plain keys and values");
            kind.get_or_insert(group.kt.clone());
            add(made, &group.h, agg)
        };
        made = Some(h);
    }
    Rc::new(Cogroup { h: made.expect("an input"), kt: kind.expect("an input") })
}

impl Handle for Cogroup {
    fn any(&self) -> &dyn Any {
        self
    }

    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let h = field(node, "name").map_or(self.h.clone(), |name| self.h.named(name));
        let made: Rc<dyn Handle> = if field(node, "op") == Some("window") {
            let windows = AnyWindows::of(node);
            let (kt, windowed) = (self.kt.clone(), windows.kind(&self.kt));
            let h = match windows {
                AnyWindows::Time(windows) => InWindows::Sized(h.windowed_by(windows)),
                AnyWindows::Sliding(windows) => InWindows::Sized(h.windowed_by(windows)),
                AnyWindows::Unlimited(windows) => InWindows::Sized(h.windowed_by(windows)),
                AnyWindows::Session(windows) => InWindows::Session(h.windowed_by(windows)),
            };
            Rc::new(WindowedCogroup { h, kt, windowed })
        } else {
            let (vt, init) = (Kind::named(field(node, "value_type")), initial(node));
            let store = build.materialized(node.get("store"), &self.kt, &vt);
            Rc::new(Table { h: h.aggregate_with(move || init.clone(), store), kt: self.kt.clone(), vt })
        };
        vec![(id, made)]
    }
}

enum InWindows {
    Sized(TimeWindowedCogroupedKStream<Val, Val>),
    Session(SessionWindowedCogroupedKStream<Val, Val>),
}

struct WindowedCogroup {
    h: InWindows,
    kt: Kind,
    windowed: Kind,
}

impl Handle for WindowedCogroup {
    fn any(&self) -> &dyn Any {
        self
    }

    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let (vt, init) = (Kind::named(field(node, "value_type")), initial(node));
        let store = build.materialized(node.get("store"), &self.kt, &vt);
        let init = move || init.clone();
        let name = field(node, "name");
        let h = match &self.h {
            InWindows::Sized(h) => match name {
                Some(name) => h.named(name).aggregate_with(init, store),
                None => h.aggregate_with(init, store),
            },
            InWindows::Session(h) => match name {
                Some(name) => h.named(name).aggregate_with(init, merger(node), store),
                None => h.aggregate_with(init, merger(node), store),
            },
        };
        vec![(id, Rc::new(Table::<Windowed<Val>, Val> { h, kt: self.windowed.clone(), vt }))]
    }
}
