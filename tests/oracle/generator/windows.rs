//! Groups, windows and aggregates.

use crate::{
    scene::{Handle, Key, Scene, Shape, Value},
    sources::versions,
    streams::key,
};
use serde_json::{Value as Json, json};

const AGGREGATORS: &[&str] = &["list", "klist", "sum", "last", "keep", "null_on:c", "null_on:2", "count"];

/// Windows, how long they live, and the kind of the keys in them.
struct Windows {
    fields: Json,
    lifetime: Option<i64>,
    key: Key,
}

fn windows(scene: &mut Scene) -> Windows {
    let random = &mut scene.random;
    let kind = random.pick(&[
        "session",
        "session",
        "sliding",
        "sliding",
        "hopping",
        "hopping",
        "tumbling",
        "tumbling",
        "unlimited",
    ]);
    let mut fields = json!({"type": kind});
    if kind == "unlimited" {
        if random.percent(50) {
            fields["start_ms"] = random.between(0, 40).into();
        }
        return Windows { fields, lifetime: None, key: Key::Time(i64::MAX) };
    }
    let grace = random.pick(&[None, Some(0), Some(3), Some(5), Some(10), Some(50)]);
    if let Some(grace) = grace {
        fields["grace_ms"] = grace.into();
    }
    let (size, key) = match kind {
        "session" => {
            let gap = random.pick(&[1, 2, 5, 10, 30]);
            fields["gap_ms"] = gap.into();
            (gap, Key::Session)
        }
        "sliding" => {
            // A difference of 0 is taken, and then fails at the first record.
            let difference = random.pick(&[1, 2, 5, 10, 20]);
            fields["diff_ms"] = difference.into();
            (2 * difference, Key::Time(difference))
        }
        _ => {
            let size = random.pick(&[5, 10, 12]);
            fields["size_ms"] = size.into();
            if kind == "hopping" {
                fields["advance_ms"] = random.between(1, size).into();
            }
            (size, Key::Time(size))
        }
    };
    Windows { fields, lifetime: Some(size + grace.unwrap_or(0)), key }
}

fn windowed(scene: &mut Scene, group: &str, mut windows: Windows, emits: bool) -> (String, Windows) {
    windows.fields["from"] = group.into();
    // Windows that never close can't be emitted when they do.
    if emits && windows.lifetime.is_some() && scene.random.percent(35) {
        windows.fields["emit"] = "close".into();
    }
    let id = scene.node("window", windows.fields.clone());
    (id, windows)
}

fn group(scene: &mut Scene, from: &Handle) -> String {
    if from.key == Key::Text && scene.random.percent(75) {
        return scene.node("group_by_key", json!({"from": from.id}));
    }
    let select = key(scene, from.key);
    scene.node("group_by", json!({"from": from.id, "key": select}))
}

/// With its cache on, Kafka Streams stumbles (NullPointerException) over a sliding window that an aggregator deleted.
fn fails_on_nulls(scene: &Scene, windows: &Windows) -> bool {
    scene.cached() && windows.fields["type"] == "sliding"
}

/// An aggregator. The last value is one of the aggregate's type only where that is text.
fn aggregator(scene: &mut Scene, from: Value, never_null: bool) -> &'static str {
    match scene.random.pick(AGGREGATORS) {
        agg if never_null && agg.starts_with("null") => "list",
        "last" if from != Value::Text => "list",
        agg => agg,
    }
}

/// Long sums and counts, or text.
fn kind(scene: &mut Scene, fields: &mut Json, numeric: bool) -> Value {
    if numeric && scene.random.percent(40) {
        fields["value_type"] = "long".into();
        return Value::Long;
    }
    Value::Text
}

pub fn aggregate(scene: &mut Scene, from: &Handle) {
    let group = group(scene, from);
    let (mut base, mut found) = (group.clone(), None);
    if scene.random.percent(70) {
        let windows = windows(scene);
        let (id, windows) = windowed(scene, &group, windows, true);
        (base, found) = (id, Some(windows));
    }
    // The interpreter has no reducers of counts.
    let all = ["count", "aggregate", "reduce"];
    let op = scene.random.pick(if from.value == Value::Count { &all[..2] } else { &all });
    let mut fields = json!({"from": base});
    let value = match op {
        "count" => Value::Count,
        "reduce" => {
            let all = ["concat", "last", "first", "null_on:c", "concat_minus", "max", "min", "sum"];
            // What throws or makes text of it can't be kept as a number.
            let numbers = ["last", "first", "max", "min", "sum"];
            let text = from.value == Value::Text;
            let reducer = if text { scene.random.pick(&all) } else { scene.random.pick(&numbers) };
            let fails = reducer == "null_on:c" && found.as_ref().is_some_and(|w| fails_on_nulls(scene, w));
            let throws = text && scene.throws && scene.random.percent(30);
            fields["reducer"] = if throws {
                "throw_on:b"
            } else if fails {
                "concat"
            } else {
                reducer
            }
            .into();
            from.value
        }
        _ => {
            let fails = found.as_ref().is_some_and(|w| fails_on_nulls(scene, w));
            let agg = aggregator(scene, from.value, fails);
            fields["agg"] = if scene.throws && scene.random.percent(30) { "throw_on:b" } else { agg }.into();
            let numeric = ["sum", "count", "keep"].contains(&fields["agg"].as_str().expect("a text"));
            kind(scene, &mut fields, numeric)
        }
    };
    finish(scene, op, fields, found, value);
}

fn finish<'a>(
    scene: &'a mut Scene,
    op: &str,
    mut fields: Json,
    windows: Option<Windows>,
    value: Value,
) -> &'a mut Handle {
    let session = windows.as_ref().is_some_and(|w| w.key == Key::Session);
    if session && op == "aggregate" && (value == Value::Long || scene.random.percent(50)) {
        // A sum that starts at null is a text.
        let mergers = if value == Value::Long { &["sum"][..] } else { &["concat", "sum", "null"] };
        fields["merger"] = scene.random.pick(mergers).into();
    }
    let holds = scene.cached();
    let versioned = windows.is_none() && op != "count" && value == Value::Text && scene.random.percent(8);
    // The oracle knows no retention of windows that never end, and none of stores without windows.
    let lifetime = windows.as_ref().map(|w| w.lifetime.unwrap_or(i64::MAX / 2));
    let mut store = if versioned { Some(versions(scene)) } else { scene.store(lifetime, false) };
    // What has expired but can still be merged or reached is found as long as the cache has room for it: it has to stay.
    if holds && windows.as_ref().is_some_and(|w| ["session", "sliding"].map(Json::from).contains(&w.fields["type"])) {
        store.get_or_insert_with(|| json!({}))["retention_ms"] = 1_000_000.into();
    }
    if let Some(mut store) = store {
        if windows.as_ref().is_some_and(|w| w.lifetime.is_none()) {
            store.as_object_mut().expect("options").remove("retention_ms");
        }
        fields["store"] = store;
    }
    if windows.is_none() {
        scene.readable(&fields, Key::Text);
    }
    let uncached = fields["store"]["caching"].as_bool();
    let id = scene.node(op, fields);
    let key = windows.as_ref().map_or(Key::Text, |w| w.key);
    let closes = windows.is_some_and(|w| w.lifetime.is_some());
    // With its cache on, Kafka Streams finds windows that have expired as long as the cache has room for them.
    let unread = closes && holds && uncached != Some(false);
    scene.add(Handle { closes, versioned, unread, ..Handle::new(&id, Shape::Table, key, value) });
    scene.handles.last_mut().expect("the table")
}

pub fn cogroup(scene: &mut Scene, from: &Handle) {
    let windows = scene.random.percent(70).then(|| windows(scene));
    let fails = windows.as_ref().is_some_and(|w| fails_on_nulls(scene, w));
    let mut inputs = Vec::new();
    let mut from = from.clone();
    let mut numeric = true;
    let mut groups: Vec<String> = Vec::new();
    for _ in 0..scene.random.weighted(&[(20, 1), (60, 2), (20, 3)]) {
        let group = group(scene, &from);
        if groups.iter().all(|other| scene.lineages.may_meet(other, &group, true)) {
            let agg = aggregator(scene, from.value, fails);
            numeric &= ["sum", "count", "keep"].contains(&agg);
            inputs.push(json!({"from": group, "agg": agg}));
            groups.push(group);
        }
        let fits = |h: &Handle| h.shape == Shape::Stream && h.value != Value::Count;
        from = scene.choose(fits).unwrap_or(from);
    }
    let cogroup = scene.node("cogroup", json!({"inputs": inputs}));
    let (mut base, mut found) = (cogroup.clone(), None);
    if let Some(windows) = windows {
        let (id, windows) = windowed(scene, &cogroup, windows, false);
        (base, found) = (id, Some(windows));
    }
    let mut fields = json!({"from": base});
    let value = kind(scene, &mut fields, numeric);
    let windowed = found.is_some();
    finish(scene, "aggregate", fields, found, value).unread = windowed;
}
