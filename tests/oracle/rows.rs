//! Rows of stores, as the oracle lists them and as millstream holds them: bytes on both sides.

use bytes::Bytes;
use millstream::{
    record::Timestamp,
    state::{Moments, Row, Store, StoreKind},
    testing::TestDriver,
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
        Json::Object(key) if key.contains_key("hex") => hex(&key["hex"]),
        Json::Object(value) if value.contains_key("instruction") => {
            let names = [
                "DELETE_KEY_NO_PROPAGATE",
                "DELETE_KEY_AND_PROPAGATE",
                "PROPAGATE_NULL_IF_NO_FK_VAL_AVAILABLE",
                "PROPAGATE_ONLY_IF_FK_VAL_AVAILABLE",
            ];
            let instruction = names.iter().position(|name| value["instruction"] == *name).expect("an instruction");
            let no_hash = if value["hash"].is_null() { 0x80 } else { 0 };
            let version = value["version"].as_i64().expect("a version") as u8 | no_hash;
            let head = vec![version, instruction as u8];
            [head, hex(&value["hash"]), bytes(&value["primary_key"]), vec![0; 4]].concat()
        }
        Json::Object(key) => [bytes(&key["key"]), bytes(&key["start"])].concat(),
        text => text.as_str().expect("a text").as_bytes().to_vec(),
    }
}

fn hex(text: &Json) -> Vec<u8> {
    let text = text.as_str().unwrap_or_default();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits")).collect()
}

/// Entries of an expectation, sorted. A window comes as start and key, a session as start, key and end.
pub fn expected(entries: &Json, sessions: bool) -> Rows {
    let row = |entry: &Json| {
        let part = |name: &str| entry.get(name).map(bytes).unwrap_or_default();
        let id = [part("start"), part("key"), if sessions { part("end") } else { Vec::new() }].concat();
        (id, bytes(&entry["value"]), entry.get("ts").and_then(Json::as_i64))
    };
    let mut rows: Rows = entries.as_array().into_iter().flatten().map(row).collect();
    rows.sort();
    rows
}

/// Entries of a store whose keys are sessions: key, end and start, behind the time and side of a row that has them.
pub fn expected_by_session(entries: &Json) -> Rows {
    let mut rows = expected(entries, false);
    for (row, entry) in rows.iter_mut().zip(entries.as_array().into_iter().flatten()) {
        let outer = &entry["key"];
        // A record that waits for a partner has its time and side before the key.
        let (before, key) = match outer.get("side") {
            None => (entry.get("start").map(bytes).unwrap_or_default(), outer),
            Some(side) => ([bytes(&outer["ts"]), vec![u8::from(side == "left")]].concat(), &outer["key"]),
        };
        row.0 = [before, bytes(&key["key"]), bytes(&key["end"]), bytes(&key["start"])].concat();
        (row.1, row.2) = (bytes(&entry["value"]), entry.get("ts").and_then(Json::as_i64));
    }
    rows.sort();
    rows
}

/// True when the keys of these entries are windowed.
pub fn by_window(entries: &Json) -> bool {
    let windowed = |key: &Json| key.get("end").is_some() || key["key"].get("end").is_some();
    entries.get(0).is_some_and(|entry| windowed(&entry["key"]))
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

/// Rows of a store, all or those of one key. A store for processors, or of sessions, shows no times.
pub fn held(store: &mut Store, key: Option<&str>) -> Rows {
    let (kind, shows_time) = (store.spec().kind, store.spec().timestamped);
    let shows_time = shows_time && !is_session(kind);
    let mut ids = Vec::new();
    let mut visit = |id: &[u8], _: Row| {
        ids.push(id.to_vec());
        ControlFlow::Continue(())
    };
    store.scan(&[], None, false, &mut visit).expect("a store that can be read");
    let mut rows = Vec::new();
    for id in ids {
        // Rows of a segment that have expired are scanned, and can't be had.
        let Some(row) = store.get(&id).expect("a store that can be read") else { continue };
        let shown = match kind {
            StoreKind::Segmented(segmented) => match segmented.split(&id) {
                Some((key, start, end)) if is_session(kind) => {
                    [&start.to_be_bytes()[..], key, &end.to_be_bytes()].concat()
                }
                Some((key, start, _)) => [&start.to_be_bytes()[..], key].concat(),
                None => continue,
            },
            _ => id,
        };
        rows.push((shown, row.value.to_vec(), shows_time.then_some(row.timestamp)));
    }
    join_rows(store, &mut rows);
    let wanted = key.map(|key| Bytes::from(key.to_owned()));
    rows.retain(|(id, ..)| wanted.as_ref().is_none_or(|key| id[..] == key[..]));
    rows.sort();
    rows
}

fn is_session(kind: StoreKind) -> bool {
    matches!(kind, StoreKind::Segmented(segmented) if segmented.moments == Moments::Session)
}

/// Rows of a store of unmatched records, as Kafka Streams lists them: by the elements of their lists.
fn join_rows(store: &Store, rows: &mut Rows) {
    let spec = store.spec();
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
    }
}

/// Rows of a global table, all or those of one key.
pub fn global(driver: &mut TestDriver, name: &str, key: Option<&str>) -> Rows {
    let rows = driver.rows(name).expect("a global table").into_iter();
    let wanted = |id: &[u8]| key.is_none_or(|key| key.as_bytes() == id);
    rows.filter(|(id, _)| wanted(id)).map(|(id, row)| (id.to_vec(), row.value.to_vec(), Some(row.timestamp))).collect()
}
