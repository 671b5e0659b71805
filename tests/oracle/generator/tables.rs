//! Operators of tables.

use crate::{
    scene::{Handle, Key, Scene, Shape, Value},
    streams::{expression_of, key, predicate},
};
use serde_json::json;

/// A table that keeps what the one before it knows of windows.
fn grown(scene: &mut Scene, op: &str, fields: serde_json::Value, from: &Handle, value: Value) {
    if op != "suppress" {
        scene.readable(&fields, from.key);
    }
    let id = scene.node(op, fields);
    let (closes, unread) = (from.closes, from.unread);
    scene.add(Handle { closes, unread, ..Handle::new(&id, Shape::Table, from.key, value) });
}

/// Kafka Streams takes a windowed cogroup for a table with versions when one lies upstream of its streams: it refuses to
/// suppress it, and filters it as one. Here it is what it is.
fn taken_for_versioned(scene: &Scene, table: &Handle) -> bool {
    table.unread && scene.nodes.iter().any(|node| node["store"].get("versioned").is_some())
}

pub fn values(scene: &mut Scene, from: &Handle) {
    let all = ["map_values", "filter", "filter_not"];
    let op = scene.random.pick(if taken_for_versioned(scene, from) { &all[..1] } else { &all });
    let mut fields = json!({"from": from.id});
    let value = if op == "map_values" {
        // Kafka Streams writes what comes out with its default serde, that of texts.
        fields["value"] = expression_of(scene, from.key);
        Value::Text
    } else {
        fields["pred"] = predicate(scene).into();
        from.value
    };
    if scene.random.percent(40) {
        fields["store"] = scene.store(None, true).expect("a store");
    }
    grown(scene, op, fields, from, value);
}

pub fn stream(scene: &mut Scene, from: &Handle) {
    let mut fields = json!({"from": from.id});
    let mut to = from.key;
    if scene.random.percent(25) {
        fields["key"] = key(scene, from.key);
        to = Key::Text;
    }
    let id = scene.node("to_stream", fields);
    scene.add(Handle::new(&id, Shape::Stream, to, from.value));
}

pub fn group(scene: &mut Scene, from: &Handle) {
    let select = key(scene, from.key);
    let mut fields = json!({"from": from.id, "key": select});
    if scene.random.percent(50) || from.value != Value::Text {
        fields["value"] = expression_of(scene, from.key);
    }
    let group = scene.node("group_by", fields);
    let op = scene.random.pick(&["count", "reduce", "aggregate"]);
    let mut fields = json!({"from": group});
    let value = match op {
        "count" => Value::Count,
        "reduce" => {
            let (adder, subtractor) =
                scene.random.pick(&[("concat", "concat_minus"), ("sum", "minus"), ("last", "first")]);
            let adder = if scene.throws && scene.random.percent(30) { "throw_on:b" } else { adder };
            (fields["adder"], fields["subtractor"]) = (adder.into(), subtractor.into());
            Value::Text
        }
        _ => {
            let pairs = [("list", "list_sub"), ("sum", "sub"), ("count", "uncount"), ("last", "keep")];
            let (adder, subtractor) = scene.random.pick(&pairs);
            (fields["adder"], fields["subtractor"]) = (adder.into(), subtractor.into());
            if ["sum", "count"].contains(&adder) && scene.random.percent(50) {
                fields["value_type"] = "long".into();
                Value::Long
            } else {
                Value::Text
            }
        }
    };
    if let Some(store) = scene.store(None, false) {
        fields["store"] = store;
    }
    scene.readable(&fields, Key::Text);
    let id = scene.node(op, fields);
    scene.add(Handle::new(&id, Shape::Table, Key::Text, value));
}

pub fn suppress(scene: &mut Scene, from: &Handle) {
    // Its buffer shows offsets.
    if taken_for_versioned(scene, from) || scene.has_pattern() {
        return values(scene, from);
    }
    let mut fields = json!({"from": from.id});
    if from.closes && scene.random.percent(60) {
        fields["until"] = "window_closes".into();
    } else {
        fields["until"] = "time_limit".into();
        fields["limit_ms"] = scene.random.pick(&[0, 1, 5, 10, 30]).into();
        if scene.random.percent(30) {
            fields["when_full"] = scene.random.pick(&["emit", "emit", "shutdown"]).into();
        }
    }
    match scene.random.between(0, 9) {
        0 | 1 => fields["max_records"] = scene.random.pick(&[1, 2, 3, 20]).into(),
        2 => fields["max_bytes"] = scene.random.pick(&[100, 200, 1_000]).into(),
        3 if fields["until"] == "time_limit" => {
            fields["max_records"] = scene.random.pick(&[2, 3]).into();
            fields["max_bytes"] = scene.random.pick(&[150, 300]).into();
        }
        _ => {}
    }
    if scene.random.percent(8) {
        fields["logging"] = false.into();
    }
    grown(scene, "suppress", fields, from, from.value);
}
