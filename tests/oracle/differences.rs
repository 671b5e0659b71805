//! Where a scenario ends up elsewhere than in Kafka Streams.

use crate::{
    build,
    rows::{self, Rows},
    run::{Crashes, Ran, hex, run},
};
use bytes::Bytes;
use millstream::{state::StoreKind, topology::Topology, worker::Guarantee};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

fn expected_outputs(expected: &Json) -> BTreeMap<String, Vec<Json>> {
    let record = |r: &Json| {
        let header = |h: &Json| json!([h[0], h[2]]);
        let headers: Vec<Json> = r["headers"].as_array().into_iter().flatten().map(header).collect();
        json!({
            "step": r["step"],
            "key": r["key_hex"],
            "value": r["value_hex"],
            "ts": r["ts"],
            "headers": headers,
        })
    };
    let topics = expected["outputs"].as_object().expect("outputs");
    topics.iter().map(|(t, rs)| (t.clone(), rs.as_array().into_iter().flatten().map(record).collect())).collect()
}

/// Records in a form that can be compared. A buffer's changelog leaves the time to the producer, and that of suppress is
/// written in the order of a hash set.
fn comparable(records: Option<&Vec<Json>>, wanted: Option<&Vec<Json>>) -> Option<Vec<Json>> {
    let mut records = records?.clone();
    for header in records.iter_mut().filter_map(|r| r["headers"].as_array_mut()).flatten() {
        // Java's classes and stack traces are not ours.
        if ["__streams.errors.exception", "__streams.errors.stacktrace"].iter().any(|name| header[0] == *name) {
            header[1] = Json::Null;
        }
    }
    let untimed = |wanted: &&Vec<Json>| !wanted.is_empty() && wanted.iter().all(|r| r["ts"].is_null());
    if let Some(wanted) = wanted.filter(untimed) {
        records.iter_mut().for_each(|r| r["ts"] = Json::Null);
        let tombstone = |r: &Json| r["value"].is_null();
        if wanted.iter().any(|r| r["headers"] == json!([["v", "03"]])) || wanted.iter().all(tombstone) {
            records.sort_by_key(|r| (r["step"].as_u64(), r.to_string()));
        }
    }
    Some(records)
}

/// Keys and times that a versioned store is asked for: those piped, and those on changelogs.
fn seen(scenario: &Json, written: &BTreeMap<String, Vec<Json>>) -> (BTreeSet<String>, BTreeSet<i64>) {
    let (mut keys, mut times) = (BTreeSet::new(), BTreeSet::new());
    for step in scenario["steps"].as_array().into_iter().flatten() {
        keys.extend(step["key"].as_str().map(str::to_owned));
        times.extend(step["ts"].as_i64());
    }
    for record in written.iter().filter(|(t, _)| t.ends_with("-changelog")).flat_map(|(_, records)| records) {
        let hex = record["key"].as_str().unwrap_or_default();
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
        keys.extend(String::from_utf8(bytes.collect()).ok());
        times.extend(record["ts"].as_i64());
    }
    (keys, times)
}

fn read(entry: &Json, scenario: &Json, expected: &Json) -> (usize, Rows) {
    let step = entry["step"].as_u64().and_then(|step| usize::try_from(step).ok()).expect("a step");
    let store = scenario["steps"][step]["read_store"].as_str().expect("a store");
    (step, rows::expected(&entry["entries"], holds_sessions(expected, store)))
}

fn holds_sessions(expected: &Json, store: &str) -> bool {
    expected["store_types"][store] == "session"
}

/// Exactly once runs with one changelog record for each row and commit, the other with one for each write.
pub fn deduplicates(guarantee: Guarantee) -> bool {
    guarantee == Guarantee::ExactlyOnceV2
}

/// The last record of each key and step, in the order of both.
fn last_of_each_key(records: Vec<Json>) -> Vec<Json> {
    let place = |r: &Json| (r["step"].as_u64(), r["key"].to_string());
    let last: BTreeMap<_, Json> = records.into_iter().map(|r| (place(&r), r)).collect();
    last.into_values().collect()
}

/// A buffer's value, or a dead letter, without the offset of its record: in a topic that the application writes itself it
/// counts the markers of transactions, which the oracle's at-least-once run doesn't write.
fn without_offset(topic: &str, record: &mut Json, own: &BTreeSet<String>) {
    let headers = record["headers"].as_array_mut().into_iter().flatten();
    let (mut is_own, mut offset) = (false, None);
    for header in headers {
        is_own |= header[0] == "__streams.errors.topic" && header[1].as_str().is_some_and(|topic| own.contains(topic));
        offset = if header[0] == "__streams.errors.offset" { Some(header) } else { offset };
    }
    offset.into_iter().filter(|_| is_own).for_each(|header| header[1] = Json::Null);
    let buffered = record["headers"].as_array().is_some_and(|headers| headers.contains(&json!(["v", "03"])));
    let buffered = buffered || topic.ends_with("-Buffer-changelog");
    if let Some(value) = record["value"].as_str().filter(|value| buffered && value.len() > 32) {
        record["value"] = format!("{}{}", &value[..16], &value[32..]).into();
    }
}

/// Kafka Streams forgets key and value of an input record as soon as a sink has written something that was made of it
/// without a node in between that makes a record anew: its dead letter is empty then. Here a dead letter always has both.
/// What its own exceptions say is its own English. Behind suppress Kafka Streams names what suppress holds, key and value of
/// another record than the one it says; here they are the record's, or empty where it would be gone with the process.
fn with_what_was_lost(scenario: &Json, got: &[Json], want: &mut [Json]) {
    let suppresses = scenario["topology"].as_array().into_iter().flatten().any(|node| node["op"] == "suppress");
    let dead = |record: &Json| {
        let headers = record["headers"].as_array();
        headers.is_some_and(|headers| headers.iter().any(|header| header[0] == "__streams.errors.message"))
    };
    let own = hex(Some(&Bytes::from_static(b"org.apache.kafka.streams.errors.StreamsException")));
    for (got, want) in got.iter().zip(want) {
        if dead(want) && want["key"].is_null() && want["value"].is_null() {
            (want["key"], want["value"]) = (got["key"].clone(), got["value"].clone());
        }
        let unnamed = got["key"].is_null() && got["value"].is_null();
        if dead(want) && suppresses && (unnamed || build::is_cached(scenario)) {
            (want["key"], want["value"]) = (got["key"].clone(), got["value"].clone());
        }
        let exception = |h: &Json| h[0] == "__streams.errors.exception" && h[1] == own;
        let headers = want["headers"].as_array().cloned().unwrap_or_default();
        if headers.iter().any(exception) {
            for (at, header) in headers.iter().enumerate() {
                if header[0] == "__streams.errors.message" {
                    want["headers"][at] = got["headers"][at].clone();
                }
            }
        }
    }
}

/// Runs a scenario and says where it ends up elsewhere than Kafka Streams.
pub fn differences(
    topology: Topology,
    scenario: &Json,
    expected: &Json,
    guarantee: Guarantee,
    crashes: Option<Crashes>,
) -> Vec<String> {
    let Ran { mut driver, written, reads, end } = run(topology, scenario, guarantee, crashes);
    let dropped = driver.dropped();
    let seen = seen(scenario, &written);
    let mut differences = Vec::new();
    let wanted = expected_outputs(expected);
    let own: BTreeSet<String> =
        wanted.keys().filter_map(|topic| hex(Some(&Bytes::from(topic.clone()))).as_str().map(str::to_owned)).collect();
    let cached = build::is_cached(scenario);
    let sessions = expected["store_types"].as_object().into_iter().flatten().any(|(_, kind)| kind == "session");
    // Kafka Streams' test driver counts offsets through all topics of a pattern, a broker by topic.
    let by_pattern = scenario["topology"].as_array().into_iter().flatten().any(|node| node.get("pattern").is_some());
    // Sub-topologies are tasks of their own: what the others do in the step in which one fails is not said by anything. Nor
    // is whether records of other internal topics come before the one that fails.
    let internal = |topic: &String| topic.ends_with("-topic") || topic.ends_with("-repartition");
    let several = expected["describe"].as_str().is_some_and(|text| text.contains("Sub-topology: 1"))
        || wanted.keys().filter(|topic| internal(topic)).count() > 1;
    let ends_at = expected["error"].get("step").filter(|_| several);
    for topic in written.keys().chain(wanted.keys()) {
        let (mut got, mut want) = (written.get(topic).cloned(), wanted.get(topic).cloned());
        if deduplicates(guarantee) && topic.ends_with("-changelog") {
            (got, want) = (got.map(last_of_each_key), want.map(last_of_each_key));
        }
        if guarantee == Guarantee::ExactlyOnceV2 || by_pattern {
            got.iter_mut().chain(&mut want).flatten().for_each(|record| without_offset(topic, record, &own));
        }
        if let Some(at) = ends_at {
            got.iter_mut().chain(&mut want).for_each(|records| records.retain(|record| record["step"] != *at));
        }
        if let (Some(got), Some(want)) = (&got, &mut want) {
            with_what_was_lost(scenario, got, want);
        }
        // A late record may merge a session that has expired in the store below the cache. Its deletion is always told
        // here; Kafka Streams does so only where the cache is flushed early enough (README, P-62).
        if cached && sessions {
            let wanted = want.clone().unwrap_or_default();
            let told = |r: &Json| {
                wanted.iter().any(|w| w["value"].is_null() && w["key"] == r["key"] && w["step"] == r["step"])
            };
            got.iter_mut().for_each(|got| got.retain(|record| !record["value"].is_null() || told(record)));
        }
        let some = |records: &Option<Vec<Json>>| records.as_ref().is_some_and(|records| !records.is_empty());
        if !some(&got) && !some(&want) {
            continue;
        }
        if comparable(got.as_ref(), want.as_ref()) != comparable(want.as_ref(), want.as_ref()) {
            let list = |records: Option<Vec<Json>>| {
                records.into_iter().flatten().map(|r| format!("\n    {r}")).collect::<String>()
            };
            differences.push(format!("  {topic}: got{}\n  wanted{}", list(got), list(want)));
        }
    }
    differences.dedup();
    if end.is_err() == expected["error"].is_null() {
        differences.push(format!("  ended with {end:?}, wanted {}", expected["error"]));
    }
    if expected["error"].is_null() && Some(dropped) != expected["dropped"].as_u64() {
        differences.push(format!("  dropped {dropped}, wanted {}", expected["dropped"]));
    }
    let wanted: Vec<(usize, Rows)> =
        expected["reads"].as_array().into_iter().flatten().map(|entry| read(entry, scenario, expected)).collect();
    // With its cache on, Kafka Streams lists what the cache holds though it has expired.
    let lists = |held: &Rows, wanted: &Rows| held == wanted || cached && held.iter().all(|row| wanted.contains(row));
    let listed = |(held, wanted): (&(usize, Rows), &(usize, Rows))| held.0 == wanted.0 && lists(&held.1, &wanted.1);
    if reads.len() != wanted.len() || !reads.iter().zip(&wanted).all(listed) {
        differences.push(format!("  read {reads:?}, wanted {wanted:?}"));
    }
    for (name, entries) in expected["stores"].as_object().into_iter().flatten() {
        let held = match driver.store(name) {
            None => rows::global(&mut driver, name, None),
            Some(store) if matches!(store.spec().kind, StoreKind::Versioned { .. }) => {
                rows::versions(store, &seen.0, &seen.1)
            }
            Some(store) => rows::held(store, None),
        };
        let wanted = rows::expected(entries, holds_sessions(expected, name));
        // Whether a key's windows are sessions is only in the types.
        let wanted = match rows::by_window(entries) && held != wanted {
            true => rows::expected_by_session(entries),
            false => wanted,
        };
        if !lists(&held, &wanted) {
            differences.push(format!("  store {name} holds {held:?}, wanted {wanted:?}"));
        }
    }
    differences
}
