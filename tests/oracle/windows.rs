//! Groups, windows and aggregates.

use crate::{
    build::{Build, Handle, field, millis, own},
    expr,
    tables::Table,
    value::{Cell, Kind, Val},
};
use millstream::{
    codec::Serde,
    operator::{EmitStrategy, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows},
    record::Windowed,
    topology::{Grouped, KGroupedStream, SessionWindowedKStream, TimeWindowedKStream},
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

/// Windows as a scenario gives them.
pub enum AnyWindows {
    Time(TimeWindows),
    Sliding(SlidingWindows),
    Session(SessionWindows),
    Unlimited(UnlimitedWindows),
}

impl AnyWindows {
    pub fn of(node: &Json) -> Self {
        let given = |name: &str| millis(node, name).unwrap_or_default();
        let grace = given("grace_ms");
        match field(node, "type").expect("a type of windows") {
            "sliding" => Self::Sliding(SlidingWindows::of_time_difference_and_grace(given("diff_ms"), grace)),
            "session" => Self::Session(SessionWindows::of_inactivity_gap_and_grace(given("gap_ms"), grace)),
            "unlimited" => {
                let start = node.get("start_ms").and_then(Json::as_i64).unwrap_or(0);
                Self::Unlimited(UnlimitedWindows::of().start_on(start))
            }
            _ => {
                let windows = TimeWindows::of_size_and_grace(given("size_ms"), grace);
                Self::Time(millis(node, "advance_ms").map_or(windows, |advance| windows.advance_by(advance)))
            }
        }
    }

    /// The kind of a windowed key.
    pub fn kind(&self, key: &Kind) -> Kind {
        let key = Box::new(key.clone());
        match self {
            Self::Time(windows) => Kind::Windowed(key, windows.size_ms()),
            Self::Sliding(windows) => Kind::Windowed(key, windows.difference_ms()),
            Self::Unlimited(_) => Kind::Windowed(key, i64::MAX),
            Self::Session(_) => Kind::Session(key),
        }
    }
}

pub fn initial(node: &Json) -> Val {
    let long = field(node, "value_type") == Some("long");
    let init = field(node, "init").unwrap_or(if long { "0" } else { "" });
    if long { Val::Long(init.parse().expect("a number")) } else { Val::Text(init.into()) }
}

macro_rules! aggregates {
    ($self:ident, $node:ident, $build:ident, $h:ident, $key:ty, $kt:expr $(, $merger:expr)?) => {{
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
                    move |k, v, g: Val| expr::aggregate(&agg, &Some(k.val()), &own(v), g.present()),
                    $($merger,)?
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
            let windows = AnyWindows::of(node);
            let (kt, vt, windowed) = (self.kt.clone(), self.vt.clone(), windows.kind(&self.kt));
            let sized = |h: TimeWindowedKStream<Val, V>| {
                Rc::new(Windowing {
                    h: h.emit_strategy(emit),
                    kt: kt.clone(),
                    vt: vt.clone(),
                    windowed: windowed.clone(),
                })
            };
            match windows {
                AnyWindows::Time(windows) => sized(h.windowed_by(windows)),
                AnyWindows::Sliding(windows) => sized(h.windowed_by(windows)),
                AnyWindows::Unlimited(windows) => sized(h.windowed_by(windows)),
                AnyWindows::Session(windows) => {
                    Rc::new(Sessions { h: h.windowed_by(windows).emit_strategy(emit), kt, vt, windowed })
                }
            }
        } else {
            aggregates!(self, node, build, h, K, self.kt.clone())
        };
        vec![(id, made)]
    }
}

/// Records grouped by key and window.
struct Windowing<V> {
    h: TimeWindowedKStream<Val, V>,
    kt: Kind,
    vt: Kind,
    windowed: Kind,
}

impl<V: Cell> Handle for Windowing<V> {
    fn any(&self) -> &dyn Any {
        self
    }

    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let h = field(node, "name").map_or(self.h.clone(), |name| self.h.named(name));
        vec![(id, aggregates!(self, node, build, h, Windowed<Val>, self.windowed.clone()))]
    }
}

/// Records grouped by key and session.
struct Sessions<V> {
    h: SessionWindowedKStream<Val, V>,
    kt: Kind,
    vt: Kind,
    windowed: Kind,
}

/// The merger of a node.
pub fn merger(node: &Json) -> impl Fn(&Val, Val, Val) -> Val + use<> {
    let name = field(node, "merger").unwrap_or("concat").to_owned();
    move |_, a, b| expr::merge(&name, &a.present(), &b.present()).unwrap_or(Val::Nothing)
}

impl<V: Cell> Handle for Sessions<V> {
    fn any(&self) -> &dyn Any {
        self
    }

    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let h = field(node, "name").map_or(self.h.clone(), |name| self.h.named(name));
        vec![(id, aggregates!(self, node, build, h, Windowed<Val>, self.windowed.clone(), merger(node)))]
    }
}
