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
    // With all of them a source topic is its table's changelog, and the oracle lists no records of one.
    let tables = scene.nodes.iter().any(|node| node["op"] == "table");
    if scene.random.percent(8) {
        let wanted = ["merge.repartition.topics", "single.store.self.join", "all", "all"];
        let wanted = if tables { &wanted[..2] } else { &wanted };
        scene.config.insert("topology.optimization".into(), scene.random.pick(wanted).into());
    }
}

fn topic(scene: &mut Scene, fields: &mut Json) -> (Key, Value) {
    let (longs, long_keys) = (scene.random.percent(10), scene.random.percent(6));
    let name = scene.fresh("in");
    scene.topics.push(Topic { name: name.clone(), longs, long_keys, ..Topic::default() });
    fields["topic"] = name.into();
    if long_keys {
        fields["key_type"] = "long".into();
    }
    let key = if long_keys { Key::Long } else { Key::Text };
    if longs {
        fields["value_type"] = "long".into();
        return (key, Value::Long);
    }
    if scene.random.percent(4) {
        let extractor = scene.random.pick(&["skip", "partition_time", "value:,:1"]);
        fields["extractor"] = extractor.into();
        scene.topics.last_mut().expect("the topic").untimed = extractor != "value:,:1";
    }
    (key, Value::Text)
}

fn stream(scene: &mut Scene) {
    let mut fields = json!({});
    let (key, value) = topic(scene, &mut fields);
    if scene.random.percent(8) {
        let (name, first) = (scene.fresh("in"), scene.topics.last().expect("the topic").clone());
        fields.as_object_mut().expect("fields").remove("topic");
        // The oracle counts offsets through all topics of a pattern: nothing that shows them may come up.
        let shows = scene.solo || scene.config.contains_key("errors.dead.letter.queue.topic.name");
        if shows || scene.random.percent(50) {
            fields["topics"] = json!([first.name, name]);
            scene.topics.push(Topic { name, untimed: false, ..first });
        } else {
            let named = |of: &str| format!("many-{name}-{of}");
            fields["pattern"] = format!("many-{name}-.*").into();
            // The oracle has one time of the partition for all of them, too.
            let one = Topic { by_pattern: true, untimed: false, ..first };
            *scene.topics.last_mut().expect("the topic") = Topic { name: named("a"), ..one.clone() };
            scene.topics.push(Topic { name: named("b"), ..one });
        }
    }
    let id = scene.node("stream", fields);
    scene.add(Handle { raw: true, ..Handle::new(&id, Shape::Stream, key, value) });
}

/// A store that keeps versions.
pub fn versions(scene: &mut Scene) -> Json {
    let name = scene.fresh("versions-");
    let history = scene.random.pick(&[5, 20, 100, 1000]);
    let mut store = json!({"name": name, "versioned": {"history_ms": history}});
    if scene.random.percent(30) {
        store["versioned"]["segment_ms"] = scene.random.pick(&[1, 7, 60]).into();
    }
    store
}

fn table(scene: &mut Scene) {
    let mut fields = json!({});
    let (key, value) = topic(scene, &mut fields);
    let versioned = key == Key::Text && scene.random.percent(20);
    if versioned {
        fields["store"] = versions(scene);
    } else if let Some(store) = scene.store(None, false) {
        fields["store"] = store;
    }
    scene.readable(&fields, key);
    let id = scene.node("table", fields);
    scene.add(Handle { versioned, ..Handle::new(&id, Shape::Table, key, value) });
}

fn global(scene: &mut Scene) {
    let mut fields = json!({});
    let (key, value) = topic(scene, &mut fields);
    // Kafka Streams asks no extractor for the times of a global table, and dies on a negative one. Its test driver, which the
    // oracle is, leaves out what can't be read whatever the handler says.
    let leaves_out = scene.config.contains_key("deserialization.exception.handler");
    let topic = scene.topics.last_mut().expect("the topic");
    (topic.untimed, topic.sound) = (false, !leaves_out);
    if scene.random.percent(50) {
        let name = scene.fresh("global-");
        fields["store"] = json!({"name": name});
        scene.readable(&fields, key);
    }
    let id = scene.node("global_table", fields);
    scene.add(Handle::new(&id, Shape::Global, key, value));
}
