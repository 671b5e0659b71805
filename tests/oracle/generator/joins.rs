//! Joins of all kinds.

use crate::{
    lineage::Lineages,
    scene::{Handle, Key, Scene, Shape, Value},
    streams::stateless,
};
use serde_json::{Value as Json, json};

fn joined(scene: &mut Scene, left: &Handle, right: &Handle) -> Json {
    let mut fields = json!({"left": left.id, "right": right.id});
    if scene.random.percent(40) {
        let all = ["pair", "pair_key", "left", "right", "null", "sum"];
        fields["joiner"] = scene.random.pick(&all).into();
    }
    if scene.throws && scene.random.percent(20) {
        fields["joiner"] = "throw_if_left:a".into();
    }
    fields
}

/// Two streams.
pub fn streams(scene: &mut Scene, left: &Handle) {
    // Joins of what joins made have results without end.
    if scene.nodes.iter().filter(|node| node.get("before_ms").is_some()).count() == 2 {
        return stateless(scene, left);
    }
    let fits = |h: &Handle, known: &Lineages| {
        h.shape == Shape::Stream && h.key == left.key && known.may_meet(&left.id, &h.id, true)
    };
    let Some(right) = scene.choose_known(fits) else { return };
    let mut fields = joined(scene, left, &right);
    let random = &mut scene.random;
    // Kafka Streams can't list join stores of windows of size 0.
    let (before, after) = match random.between(0, 9) {
        0 => (random.between(0, 10), 0),
        1 => (0, random.between(1, 10)),
        2 => (-random.between(1, 4), random.between(5, 12)),
        3 => (random.between(5, 12), -random.between(1, 4)),
        _ => (random.between(1, 20), random.between(0, 20)),
    };
    fields["before_ms"] = before.max(i64::from(after == 0)).into();
    if after != before {
        fields["after_ms"] = after.into();
    }
    if random.percent(60) {
        fields["grace_ms"] = random.pick(&[0, 1, 5, 20, 200]).into();
    }
    if random.percent(8) {
        fields["logging"] = false.into();
    }
    if random.percent(20) {
        fields["store_name"] = scene.fresh("joins-").into();
    }
    let op = scene.random.pick(&["join", "left_join", "outer_join"]);
    let id = scene.node(op, fields);
    scene.add(Handle::new(&id, Shape::Stream, left.key, Value::Text));
}

/// A stream and a table, or a global one.
pub fn with_table(scene: &mut Scene, left: &Handle) {
    let fits = |h: &Handle, known: &Lineages| {
        let table = h.shape == Shape::Table && h.key == left.key && !h.unread && known.may_meet(&left.id, &h.id, true);
        h.shape == Shape::Global || table
    };
    let Some(right) = scene.choose_known(fits) else { return stateless(scene, left) };
    let mut fields = joined(scene, left, &right);
    if right.shape == Shape::Global {
        let all = match (right.key, left.key) {
            (Key::Long, _) => vec![json!("to_long"), json!(["field:,:1", "to_long"])],
            (_, Key::Text | Key::Long) => {
                vec![json!("k.str"), json!("k.prefix:1"), json!("field:,:0"), json!("null_if:2")]
            }
            _ => vec![json!("k.inner")],
        };
        fields["key"] = scene.random.pick(&all);
    } else if scene.random.percent(if right.versioned { 60 } else { 2 }) {
        fields["grace_ms"] = scene.random.pick(&[0, 5, 10]).into();
    }
    let op = scene.random.pick(&["join", "left_join"]);
    let id = scene.node(op, fields);
    scene.add(Handle::new(&id, Shape::Stream, left.key, Value::Text));
}

/// Two tables.
pub fn tables(scene: &mut Scene, left: &Handle) {
    if left.unread {
        return;
    }
    let fits = |h: &Handle, known: &Lineages| {
        h.shape == Shape::Table && h.key == left.key && !h.unread && known.may_meet(&left.id, &h.id, true)
    };
    let Some(right) = scene.choose_known(fits) else { return };
    let mut fields = joined(scene, left, &right);
    if scene.random.percent(40) {
        fields["store"] = scene.store(None, true).expect("a store");
    }
    let op = scene.random.pick(&["join", "left_join", "outer_join"]);
    scene.readable(&fields, left.key);
    let id = scene.node(op, fields);
    scene.add(Handle { closes: left.closes, ..Handle::new(&id, Shape::Table, left.key, Value::Text) });
}

/// Two tables, by a foreign key.
pub fn by_foreign_key(scene: &mut Scene, left: &Handle) {
    if left.key != Key::Text {
        return tables(scene, left);
    }
    let fits = |h: &Handle, known: &Lineages| {
        h.shape == Shape::Table && h.key == Key::Text && known.may_meet_by_foreign_key(&left.id, &h.id)
    };
    let Some(right) = scene.choose_known(fits) else { return tables(scene, left) };
    let mut fields = joined(scene, left, &right);
    let all = [
        json!("str"),
        json!("prefix:1"),
        json!("field:,:0"),
        json!(["prefix:1", "null_if:b"]),
        json!("k.prefix:1"),
        json!("const:a"),
        json!("k.null_if:b"),
    ];
    fields["fk"] = scene.random.pick(&all);
    if scene.random.percent(50) {
        fields["store"] = scene.store(None, true).expect("a store");
    }
    let op = scene.random.pick(&["fk_join", "fk_left_join"]);
    scene.readable(&fields, Key::Text);
    let id = scene.node(op, fields);
    scene.add(Handle::new(&id, Shape::Table, Key::Text, Value::Text));
}
