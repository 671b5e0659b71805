//! Rows of stores, as the oracle lists them and as millstream holds them: bytes on both sides.

use bytes::Bytes;
use millstream::{record::Timestamp, state::Store};
use serde_json::Value as Json;
use std::{collections::BTreeSet, ops::ControlFlow};

/// Row id, value and, where the store shows it, the time of a row.
pub type Rows = Vec<(Vec<u8>, Vec<u8>, Option<Timestamp>)>;

fn bytes(value: &Json) -> Vec<u8> {
    match value {
        Json::Number(n) => n.as_i64().expect("a long").to_be_bytes().to_vec(),
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
    let wanted = key.map(|key| Bytes::from(key.to_owned()));
    rows.retain(|(id, ..)| wanted.as_ref().is_none_or(|key| id[..] == key[..]));
    rows
}
