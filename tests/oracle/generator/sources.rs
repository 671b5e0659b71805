//! Where records come from.

use crate::scene::{Handle, Key, Scene, Shape, Topic, Value};
use serde_json::{Value as Json, json};

/// One to three sources, mostly streams and tables.
pub fn sources(scene: &mut Scene) {
    if scene.solo {
        return stream(scene);
    }
    let count = scene.random.weighted(&[(40, 1), (45, 2), (15, 3)]);
    for at in 0..count {
        match scene.random.weighted(&[(60, 's'), (32, 't'), (if at == 0 { 0 } else { 10 }, 'g')]) {
            's' => stream(scene),
            't' => table(scene),
            _ => global(scene),
        }
    }
    // With it a source topic is its table's changelog, and the oracle lists no records of one.
    let tables = scene.nodes.iter().any(|node| node["op"] == "table");
    if !tables && scene.random.percent(8) {
        let all = ["all", "all", "merge.repartition.topics", "single.store.self.join"];
        scene.config.insert("topology.optimization".into(), scene.random.pick(&all).into());
    }
}

fn topic(scene: &mut Scene, fields: &mut Json) -> Value {
    let longs = scene.random.percent(10);
    let name = scene.fresh("in");
    scene.topics.push(Topic { name: name.clone(), longs, untimed: false, sound: false });
    fields["topic"] = name.into();
    if longs {
        fields["value_type"] = "long".into();
        return Value::Long;
    }
    if scene.random.percent(4) {
        let extractor = scene.random.pick(&["skip", "partition_time", "value:,:1"]);
        fields["extractor"] = extractor.into();
        scene.topics.last_mut().expect("the topic").untimed = extractor != "value:,:1";
    }
    Value::Text
}

fn stream(scene: &mut Scene) {
    let mut fields = json!({});
    let value = topic(scene, &mut fields);
    if value == Value::Text && scene.random.percent(8) {
        let (other, first) = (scene.fresh("in"), fields["topic"].clone());
        scene.topics.push(Topic { name: other.clone(), longs: false, untimed: false, sound: false });
        fields["topics"] = json!([first, other]);
        fields.as_object_mut().expect("fields").remove("topic");
    }
    let id = scene.node("stream", fields);
    scene.add(Handle { raw: true, ..Handle::new(&id, Shape::Stream, Key::Text, value) });
}

/// A store that keeps versions.
pub fn versions(scene: &mut Scene) -> Json {
    let name = scene.fresh("versions-");
    let history = scene.random.pick(&[5, 20, 100, 1000]);
    json!({"name": name, "versioned": {"history_ms": history}})
}

fn table(scene: &mut Scene) {
    let mut fields = json!({});
    let value = topic(scene, &mut fields);
    let versioned = scene.random.percent(20);
    if versioned {
        fields["store"] = versions(scene);
    } else if let Some(store) = scene.store(None, false) {
        fields["store"] = store;
    }
    scene.readable(&fields, Key::Text);
    let id = scene.node("table", fields);
    scene.add(Handle { versioned, ..Handle::new(&id, Shape::Table, Key::Text, value) });
}

fn global(scene: &mut Scene) {
    let mut fields = json!({});
    let value = topic(scene, &mut fields);
    // Kafka Streams asks no extractor for the times of a global table, and dies on a negative one. Its test driver, which the
    // oracle is, leaves out what can't be read whatever the handler says.
    let leaves_out = scene.config.contains_key("deserialization.exception.handler");
    let topic = scene.topics.last_mut().expect("the topic");
    (topic.untimed, topic.sound) = (false, !leaves_out);
    if scene.random.percent(50) {
        let name = scene.fresh("global-");
        scene.stores.push((name.clone(), false));
        fields["store"] = json!({"name": name});
    }
    let id = scene.node("global_table", fields);
    scene.add(Handle::new(&id, Shape::Global, Key::Text, value));
}
