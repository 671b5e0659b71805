//! Grouped tables.

use crate::{
    build::{Build, Handle, field},
    expr,
    tables::Table,
    value::{Cell, Kind, Val},
    windows::{grouped, initial},
};
use millstream::topology::{KGroupedTable, KTable};
use serde_json::Value as Json;
use std::{any::Any, rc::Rc};

/// Rows of a table in groups.
struct TableGroup {
    h: KGroupedTable<Val, Val>,
    kt: Kind,
    vt: Kind,
}

/// `group_by` of a table.
pub fn group_by<K: Cell, V: Cell>(h: &KTable<K, V>, node: &Json, kt: &Kind, vt: &Kind) -> Rc<dyn Handle> {
    let expression = |name: &str, default: &str| node.get(name).cloned().unwrap_or_else(|| default.into());
    let (key, value) = (expression("key", "k.id"), expression("value", "id"));
    let (kt, vt) = (expr::kind(&key, kt, vt), expr::kind(&value, kt, vt));
    let how = grouped(node, Some(kt.serde()), Some(vt.serde()));
    let select = move |k: &K, v: &V| {
        let (k, v) = (Some(k.val()), Some(v.val()));
        (expr::eval(&key, &k, &v), expr::eval(&value, &k, &v))
    };
    Rc::new(TableGroup { h: h.group_by_with(select, how), kt, vt })
}

impl Handle for TableGroup {
    fn any(&self) -> &dyn Any {
        self
    }

    fn apply(&self, node: &Json, build: &Build) -> Vec<(String, Rc<dyn Handle>)> {
        let id = field(node, "id").expect("an id").to_owned();
        let h = match field(node, "name") {
            Some(name) => self.h.named(name),
            None => self.h.clone(),
        };
        let (store, kt) = (node.get("store"), self.kt.clone());
        let text = |name: &str| field(node, name).expect("an adder and a subtractor").to_owned();
        let made: Rc<dyn Handle> = match field(node, "op").expect("an op") {
            "count" => {
                let h = h.count_with(build.materialized(store, &kt, &Kind::Long));
                Rc::new(Table { h, kt, vt: Kind::Long })
            }
            "reduce" => {
                let (adder, subtractor) = (text("adder"), text("subtractor"));
                let h = h.reduce_with(
                    move |a, b| expr::reduce(&adder, Some(a), Some(b.clone())),
                    move |a, b| expr::reduce(&subtractor, Some(a), Some(b.clone())),
                    build.materialized(store, &kt, &self.vt),
                );
                Rc::new(Table { h, kt, vt: self.vt.clone() })
            }
            "aggregate" => {
                let (adder, subtractor) = (text("adder"), text("subtractor"));
                let vt = Kind::named(field(node, "value_type"));
                let init = initial(node);
                let h = h.aggregate_with(
                    move || init.clone(),
                    move |k, v, g| expr::aggregate(&adder, &Some(k.clone()), &Some(v.clone()), Some(g)),
                    move |k, v, g| expr::aggregate(&subtractor, &Some(k.clone()), &Some(v.clone()), Some(g)),
                    build.materialized(store, &kt, &vt),
                );
                Rc::new(Table { h, kt, vt })
            }
            other => panic!("a grouped table has no {other}"),
        };
        vec![(id, made)]
    }
}
