//! What happens to a topology: records mostly in the order of time, time that jumps, reads of stores.

use crate::scene::{Scene, Topic};
use serde_json::{Value as Json, json};

const KEYS: &[&str] = &["a", "a", "b", "b", "c", "ab"];
const PLAIN: &[&str] = &["1", "2", "3", "9", "30", "a", "b", "c"];
const PAIRS: &[&str] = &["a,1", "a,2", "b,1", "b,22", "c,3", ",4", "ab,5", "x"];

fn record(scene: &mut Scene, topic: &Topic, values: &[&str], ts: i64) -> Json {
    let random = &mut scene.random;
    let mut step = json!({"pipe": topic.name, "ts": ts});
    if topic.untimed && random.percent(10) {
        step["ts"] = (-1).into();
    }
    step["key"] = if random.percent(3) { Json::Null } else { random.pick(KEYS).into() };
    if random.percent(1) {
        step["key"] = "".into();
    }
    if topic.long_keys && !step["key"].is_null() {
        step.as_object_mut().expect("fields").remove("key");
        step["key_long"] = random.between(-1, 3).into();
    }
    if scene.corrupt && !topic.sound && random.percent(12) {
        let part = if random.percent(30) { "key_hex" } else { "value_hex" };
        step.as_object_mut().expect("fields").remove("value_long");
        step[part] = "ff".into();
    }
    if random.percent(9) {
        step["value"] = Json::Null;
    } else if topic.longs {
        step["value_long"] = random.between(-3, 40).into();
    } else {
        step["value"] = if random.percent(2) { "" } else { random.pick(values) }.into();
    }
    if random.percent(15) {
        let count = random.between(1, 2);
        let header = |_| {
            let value = random.pick(&[Some("1"), Some("2"), None]);
            json!([random.pick(&["h", "g"]), value])
        };
        step["headers"] = (0..count).map(header).collect();
    }
    step
}

/// Four to thirty steps.
pub fn steps(scene: &mut Scene) -> Vec<Json> {
    let most = if scene.random.percent(20) { 40 } else { 20 };
    let count = scene.random.between(4, most);
    let mut now = scene.random.pick(&[0, 0, 5, 20, 100, 60_000]);
    let values = if scene.random.percent(40) { PAIRS } else { PLAIN };
    let topics = scene.topics.clone();
    let mut steps = Vec::new();
    let versioned = scene.nodes.iter().any(|node| node["store"].get("versioned").is_some());
    for topic in topics.iter().filter(|topic| topic.by_pattern && topic.name.ends_with('a')) {
        let step = record(scene, topic, values, now);
        steps.push(step);
    }
    for _ in 0..count {
        let kind = scene.random.between(0, 99);
        now += match kind {
            0..60 => scene.random.pick(&[0, 0, 1, 1, 2, 3, 5, 9, 10, 11]),
            60..70 => scene.random.pick(&[15, 20, 25, 40]),
            70..74 => scene.random.pick(&[100, 1_000, 60_000, 61_000, 130_000]),
            _ => 0,
        };
        let ts = if scene.random.percent(30) {
            (now - scene.random.pick(&[1, 2, 3, 5, 6, 8, 10, 12, 15, 20, 30, 60])).max(0)
        } else {
            now
        };
        let topic = scene.random.pick(&topics);
        let mut step = record(scene, &topic, values, ts);
        // Kafka Streams forgets a deletion at the very time of a row's only version (P-39).
        while versioned && steps.iter().any(|other: &Json| other["ts"] == step["ts"]) {
            step["ts"] = (step["ts"].as_i64().expect("a time") + 1).into();
        }
        steps.push(step);
        if scene.random.percent(if scene.punctuates { 12 } else { 3 }) {
            steps.push(json!({"advance_ms": scene.random.pick(&[1, 10, 25, 100])}));
        }
        if !scene.stores.is_empty() && scene.random.percent(4) {
            let (name, versioned) = scene.random.pick(&scene.stores);
            let mut read = json!({"read_store": name});
            // A versioned store is read key by key.
            if versioned || scene.random.percent(60) {
                read["key"] = scene.random.pick(KEYS).into();
            }
            if versioned && scene.random.percent(70) {
                read["as_of"] = (now - scene.random.between(0, 30)).max(0).into();
            }
            steps.push(read);
        }
    }
    steps
}
