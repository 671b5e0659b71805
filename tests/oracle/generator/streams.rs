//! Operators of streams that neither group nor join.

use crate::{
    lineage::Lineages,
    scene::{Handle, Key, Scene, Shape, Value},
    sources::versions,
};
use serde_json::{Value as Json, json};

/// What becomes of a value, as text.
pub fn expression(scene: &mut Scene) -> Json {
    if scene.throws && scene.random.percent(40) {
        return json!([scene.random.pick(&["throw_if:3", "throw_if:b", "throw_if:a,2"]), "str"]);
    }
    let all = [
        json!("str"),
        json!("upper"),
        json!("append:!"),
        json!("prepend:p"),
        json!("add:1"),
        json!("len"),
        json!("kv"),
        json!("const:z"),
        json!("null_if:3"),
        json!("null_if:b"),
        json!("prefix:1"),
        json!("k.str"),
        json!("field:,:1"),
        json!("null_to:n"),
        json!("null"),
        json!(["field:,:0", "append:?"]),
        json!(["null_if:2", "kv"]),
        json!("lower"),
        json!(["prepend:ä", "prefix:2"]),
    ];
    scene.random.pick(&all)
}

/// The same where keys may be windows.
pub fn expression_of(scene: &mut Scene, key: Key) -> Json {
    match key {
        Key::Time(_) | Key::Session if scene.random.percent(25) => {
            scene.random.pick(&["k.inner", "k.start", "k.end", "k.str", "kv"]).into()
        }
        _ => expression(scene),
    }
}

/// A key: plain text.
pub fn key(scene: &mut Scene, from: Key) -> Json {
    if from == Key::Text {
        let all = ["prefix:1", "k.prefix:1", "k.append:x", "const:all", "str", "field:,:0", "k.null_if:b", "null_if:2"];
        return scene.random.pick(&all).into();
    }
    if from == Key::Long {
        return scene.random.pick(&["k.str", "k.prefix:1", "k.append:x", "k.add:1", "const:all", "str"]).into();
    }
    scene.random.pick(&["k.inner", "k.str", "k.start", "k.inner"]).into()
}

pub fn predicate(scene: &mut Scene) -> &'static str {
    if scene.throws && scene.random.percent(40) {
        return "throw_if:2";
    }
    let all = ["not_null", "ne:1", "ne:b", "len_gt:1", "gt:2", "even", "contains:a", "starts:b", "k.eq:a", "k.ne:b"];
    let rare = ["is_null", "true", "false", "k.not_null", "k.is_null", "k.len_gt:1"];
    if scene.random.percent(12) { scene.random.pick(&rare) } else { scene.random.pick(&all) }
}

fn grown(scene: &mut Scene, op: &str, fields: Json, key: Key, value: Value) {
    let id = scene.node(op, fields);
    scene.add(Handle::new(&id, Shape::Stream, key, value));
}

/// An operator without a store.
pub fn stateless(scene: &mut Scene, from: &Handle) {
    let id = &from.id;
    let op = scene.random.pick(&[
        "filter",
        "filter_not",
        "map",
        "flat_map",
        "map_values",
        "map_values",
        "flat_map_values",
        "select_key",
        "peek",
        "split",
        "merge",
        "to",
    ]);
    match op {
        "filter" | "filter_not" => {
            let pred = predicate(scene);
            grown(scene, op, json!({"from": id, "pred": pred}), from.key, from.value);
        }
        "map" => {
            let (key, value) = (key(scene, from.key), expression_of(scene, from.key));
            grown(scene, op, json!({"from": id, "key": key, "value": value}), Key::Text, Value::Text);
        }
        "flat_map" => {
            let flat = scene.random.pick(&["split:,", "dup:2", "none"]);
            let key = key(scene, from.key);
            let mut fields = json!({"from": id, "flat": flat, "key": key});
            if scene.random.percent(30) {
                fields["value"] = expression_of(scene, from.key);
            }
            grown(scene, op, fields, Key::Text, Value::Text);
        }
        "map_values" => {
            let (value, kind) = if scene.random.percent(15) {
                ("to_long".into(), Value::Long)
            } else {
                (expression_of(scene, from.key), Value::Text)
            };
            grown(scene, op, json!({"from": id, "value": value}), from.key, kind);
        }
        "flat_map_values" => {
            // "dup" of a null gives nulls, which the types refuse here.
            grown(scene, op, json!({"from": id, "flat": "split:,"}), from.key, Value::Text);
        }
        "select_key" => {
            let key = key(scene, from.key);
            grown(scene, op, json!({"from": id, "key": key}), Key::Text, from.value);
        }
        "peek" => grown(scene, op, json!({"from": id}), from.key, from.value),
        "split" => split(scene, from),
        "merge" => {
            let (key, value) = (from.key, from.value);
            let fits = |h: &Handle, known: &Lineages| {
                h.shape == Shape::Stream && h.key == key && h.value == value && known.may_meet(id, &h.id, false)
            };
            let Some(other) = scene.choose_known(fits) else { return };
            grown(scene, op, json!({"left": id, "right": other.id}), key, value);
        }
        _ => {
            let topic = scene.fresh("side");
            // Null values have no topic: the run ends there.
            let dynamic = from.raw && from.value == Value::Text && !scene.has_pattern();
            let to = if dynamic && scene.random.percent(20) {
                json!({"from": id, "topic_expr": "prepend:out-"})
            } else {
                json!({"from": id, "topic": topic})
            };
            scene.node("to", to);
        }
    }
}

fn split(scene: &mut Scene, from: &Handle) {
    let name = scene.fresh("split-");
    let mut branches = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..scene.random.between(1, 3) {
        let (id, pred) = (scene.fresh("branch"), predicate(scene));
        let mut branch = json!({"as": id, "pred": pred});
        if scene.random.percent(30) {
            branch["name"] = scene.fresh("way-").into();
        }
        branches.push(branch);
        ids.push(id);
    }
    let mut fields = json!({"from": from.id, "name": name, "branches": branches});
    if scene.random.percent(50) {
        let id = scene.fresh("branch");
        fields["default"] = json!({"as": id});
        ids.push(id);
    }
    scene.node("split", fields);
    for id in ids {
        scene.add(Handle::new(&id, Shape::Stream, from.key, from.value));
    }
}

pub fn repartition(scene: &mut Scene, from: &Handle) {
    grown(scene, "repartition", json!({"from": from.id}), from.key, from.value);
}

/// Through a topic of the outside and back.
pub fn through(scene: &mut Scene, from: &Handle) {
    if from.key != Key::Text || from.value == Value::Count {
        return repartition(scene, from);
    }
    let topic = scene.fresh("through");
    scene.node("to", json!({"from": from.id, "topic": topic}));
    let mut fields = json!({"topic": topic});
    if from.value == Value::Long {
        fields["value_type"] = "long".into();
    }
    grown(scene, "stream", fields, Key::Text, from.value);
}

pub fn to_table(scene: &mut Scene, from: &Handle) {
    // Counts have no serde of the oracle's that a versioned store could be asked for.
    let versioned = from.key == Key::Text && from.value == Value::Text && scene.random.percent(15);
    let mut fields = json!({"from": from.id});
    if versioned {
        fields["store"] = versions(scene);
    } else if let Some(store) = scene.store(None, false) {
        fields["store"] = store;
    }
    scene.readable(&fields, from.key);
    let id = scene.node("to_table", fields);
    scene.add(Handle { versioned, ..Handle::new(&id, Shape::Table, from.key, from.value) });
}

pub fn processor(scene: &mut Scene, from: &Handle) {
    // Processors are for plain keys and values.
    if from.key != Key::Text || from.value == Value::Count {
        return stateless(scene, from);
    }
    let timed = ["punctuate_count", "ttl", "meta"];
    let all = ["dedup", "punctuate_count", "header_add", "shift_ts", "fan_out", "last_seen"];
    let name = if scene.solo && scene.random.percent(60) { scene.random.pick(&timed) } else { scene.random.pick(&all) };
    // Which of two schedules that are due at the same time comes first is up to the shape of a heap.
    if ["punctuate_count", "ttl"].contains(&name) && std::mem::replace(&mut scene.punctuates, true) {
        return stateless(scene, from);
    }
    let mut fields = json!({"from": from.id, "processor": name});
    if ["dedup", "punctuate_count", "ttl", "last_seen"].contains(&name) {
        let store = scene.fresh("held-");
        fields["store_name"] = store.clone().into();
        if scene.random.percent(40) {
            fields["store_type"] = "in_memory".into();
        }
        if scene.random.percent(8) {
            fields["logging"] = false.into();
        }
        scene.stores.push((store, false));
    }
    let every = scene.random.pick(&[3, 10, 25]);
    let value = match name {
        "punctuate_count" => {
            fields["every_ms"] = every.into();
            let stream = scene.solo && scene.random.percent(70);
            fields["time"] = if stream { "stream" } else { "wall" }.into();
            fields["clear"] = scene.random.percent(40).into();
            Value::Long
        }
        "ttl" => {
            fields["every_ms"] = every.into();
            fields["ttl_ms"] = scene.random.pick(&[5, 20]).into();
            from.value
        }
        // Kafka Streams' headers are shared: what one branch adds, those after it see.
        "header_add" if !from.raw || from.used => return stateless(scene, from),
        "header_add" => {
            scene.close(&from.id);
            fields["header"] = scene.random.pick(&["h", "added"]).into();
            fields["header_value"] = "x".into();
            from.value
        }
        "shift_ts" => {
            fields["shift_ms"] = scene.random.pick(&[1, 7, 100, -1]).into();
            from.value
        }
        "meta" | "fan_out" | "last_seen" => Value::Text,
        _ => from.value,
    };
    let op = if name == "last_seen" { "process_values" } else { "process" };
    grown(scene, op, fields, Key::Text, value);
}
