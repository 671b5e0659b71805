//! Rows of stores, as the oracle lists them and as millstream holds them: bytes on both sides.

use bytes::Bytes;
use millstream::{
    record::Timestamp,
    state::{Store, StoreKind, split_join_value},
};
use serde_json::Value as Json;
use std::{collections::BTreeSet, ops::ControlFlow};

/// Row id, value and, where the store shows it, the time of a row.
pub type Rows = Vec<(Vec<u8>, Vec<u8>, Option<Timestamp>)>;

fn bytes(value: &Json) -> Vec<u8> {
    match value {
        Json::Number(n) => n.as_i64().expect("a long").to_be_bytes().to_vec(),
        Json::Object(key) if key.contains_key("side") => {
            let side = u8::from(key["side"] == "left");
            [bytes(&key["ts"]), vec![side], bytes(&key["key"])].concat()
        }
        Json::Object(value) if value.contains_key("left") => {
            let left = !value["left"].is_null();
            [vec![u8::from(left)], bytes(&value[if left { "left" } else { "right" }])].concat()
        }
        Json::Object(key) => [bytes(&key["key"]), bytes(&key["start"])].concat(),
        text => text.as_str().expect("a text").as_bytes().to_vec(),
    }
}

/// Entries of an expectation, sorted.
pub fn expected(entries: &Json) -> Rows {
    let row = |entry: &Json| {
        let key = bytes(&entry["key"]);
        let id = entry.get("start").map_or(key.clone(), |start| [bytes(start), key].concat());
        (id, bytes(&entry["value"]), entry.get("ts").and_then(Json::as_i64))
    };
    let mut rows: Rows = entries.as_array().into_iter().flatten().map(row).collect();
    rows.sort();
    rows
}

/// The row of one key of a versioned store, as of a time.
pub fn version(store: &mut Store, key: &str, as_of: Option<Timestamp>) -> Rows {
    let found = store.get_version(key.as_bytes(), as_of).expect("a store that can be read");
    found.into_iter().map(|v| (key.as_bytes().to_vec(), v.value.to_vec(), Some(v.timestamp))).collect()
}

/// The versions that a versioned store gives when it is asked for each key at each time.
pub fn versions(store: &mut Store, keys: &BTreeSet<String>, times: &BTreeSet<Timestamp>) -> Rows {
    let mut rows = Rows::new();
    for key in keys {
        for time in times.range(0..) {
            rows.extend(version(store, key, Some(*time)));
        }
    }
    rows.sort();
    rows.dedup();
    rows
}

/// Rows of a store, all or those of one key. A store for processors shows no times.
pub fn held(store: &mut Store, key: Option<&str>) -> Rows {
    let timestamped = store.spec().timestamped;
    let mut rows = Vec::new();
    let mut visit = |id: &[u8], row: millstream::state::Row| {
        rows.push((id.to_vec(), row.value.to_vec(), timestamped.then_some(row.timestamp)));
        ControlFlow::Continue(())
    };
    store.scan(&[], None, false, &mut visit).expect("a store that can be read");
    join_rows(store, &mut rows);
    let wanted = key.map(|key| Bytes::from(key.to_owned()));
    rows.retain(|(id, ..)| wanted.as_ref().is_none_or(|key| id[..] == key[..]));
    rows
}

/// Rows of a join's stores, as Kafka Streams lists them: without those that have expired, and a list by its elements.
fn join_rows(store: &Store, rows: &mut Rows) {
    let spec = store.spec();
    if let (StoreKind::Segmented(segmented), true) = (spec.kind, spec.kind.is_join()) {
        let expired = store.stream_time() - segmented.retention_ms;
        rows.retain_mut(|(id, value, _)| {
            let (key, start, _) = segmented.split(id).expect("a row of a join");
            *id = [&start.to_be_bytes(), key].concat();
            let found = split_join_value(&Bytes::copy_from_slice(value));
            *value = found.as_deref().unwrap_or_default().to_vec();
            start > expired && found.is_some()
        });
        rows.sort();
    }
    if spec.name.contains("OUTERSHARED") || spec.name.ends_with("-shared-join-store") {
        let lists = std::mem::take(rows);
        for (id, list, at) in lists {
            let mut rest = &list[5..];
            while let Some((length, tail)) = rest.split_first_chunk::<4>() {
                let (element, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
                rows.push((id.clone(), element.to_vec(), at));
                rest = tail;
            }
        }
        rows.sort();
    }
}
