//! Kafka Streams' own results, scenario by scenario: the text of the topology, every record it writes to any topic, what
//! its stores hold, and how many records it drops.

mod build;
mod cogroups;
mod expr;
mod groups;
mod joins;
mod processors;
mod rows;
mod streams;
mod tables;
mod value;
mod windows;

use bytes::Bytes;
use millstream::{
    fault::Result,
    operator::{ErrorSettings, OnError},
    record::{Headers, RawRecord},
    state::StoreKind,
    testing::{DriverOptions, TestDriver},
    topology::Topology,
    worker::{Guarantee, Settings},
};
use rows::Rows;
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

/// Where other scenarios than the project's lie: `scenarios/GROUP/NAME.json`, `expected/GROUP/NAME.expected.json`.
fn elsewhere() -> Option<PathBuf> {
    std::env::var_os("MILLSTREAM_SCENARIOS").map(PathBuf::from)
}

fn directory() -> PathBuf {
    elsewhere().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle"))
}

/// Fails unless all is right; the project's own scenarios are many.
fn judge(right: usize, wrong: &[String]) {
    println!("{right} passed, {} failed", wrong.len());
    assert!(wrong.is_empty(), "{right} right, {} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(right > 100 || elsewhere().is_some(), "only {right} scenarios");
}

/// Scenarios with what is expected of them.
fn scenarios() -> Vec<(String, Json, Json)> {
    let read = |path: PathBuf| -> Json {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let mut found = Vec::new();
    for group in fs::read_dir(directory().join("scenarios")).expect("scenarios") {
        let group = group.expect("a group").path();
        for file in fs::read_dir(&group).expect("a group of scenarios") {
            let path = file.expect("a scenario").path();
            let (group, name) = (group.file_name().expect("a name"), path.file_stem().expect("a name"));
            let name = format!("{}/{}", group.to_string_lossy(), name.to_string_lossy());
            let expected = read(directory().join(format!("expected/{name}.expected.json")));
            found.push((name, read(path), expected));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// The text without the name of a topic extractor: Kafka Streams prints the object, this the closure's type.
fn described(topology: &Topology) -> String {
    let known = |line: &str| match line.split_once("(extractor class: ") {
        Some((head, _)) => format!("{head}(extractor class: topic_expr)\n"),
        None => format!("{line}\n"),
    };
    let text = topology.describe();
    let ends = if text.ends_with('\n') { "" } else { "\n" };
    let text: String = text.lines().map(known).collect();
    text.strip_suffix(ends).unwrap_or(&text).to_owned()
}

#[test]
fn describe_is_that_of_kafka_streams() {
    let (mut wrong, mut right) = (Vec::new(), 0);
    for (name, scenario, expected) in scenarios() {
        let Ok(built) = uncaught(|| build::topology(&scenario)) else {
            wrong.push(format!("{name}: panicked"));
            continue;
        };
        match (built, expected["describe"].as_str()) {
            (Ok(topology), Some(text)) if described(&topology) == text => right += 1,
            (Err(_), None) => right += 1,
            (Ok(topology), text) => {
                wrong.push(format!("{name}:\n{}expected\n{}", described(&topology), text.unwrap_or("an error")))
            }
            (Err(fault), Some(_)) => wrong.push(format!("{name}: {fault}")),
        }
    }
    judge(right, &wrong);
}

fn hex(bytes: Option<&Bytes>) -> Json {
    bytes.map_or(Json::Null, |b| b.iter().map(|b| format!("{b:02x}")).collect::<String>().into())
}

fn bytes(step: &Json, part: &str) -> Option<Bytes> {
    if let Some(hex) = step.get(format!("{part}_hex")).and_then(Json::as_str) {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
        return Some((0..hex.len()).step_by(2).map(byte).collect());
    }
    if let Some(n) = step.get(format!("{part}_long")).and_then(Json::as_i64) {
        return Some(n.to_be_bytes().to_vec().into());
    }
    step.get(part).and_then(Json::as_str).map(|text| text.as_bytes().to_vec().into())
}

fn headers(step: &Json) -> Headers {
    let pairs = step.get("headers").and_then(Json::as_array).cloned().unwrap_or_default();
    let header = |pair: Json| {
        let value = pair[1].as_str().map(|v| Bytes::from(v.to_owned()));
        (pair[0].as_str().expect("a header name").to_owned(), value)
    };
    pairs.into_iter().map(header).collect()
}

/// What came of a scenario.
struct Ran {
    driver: TestDriver,
    /// What was written, by topic, in the oracle's form.
    written: BTreeMap<String, Vec<Json>>,
    /// What stores were asked for, by step.
    reads: Vec<(usize, Rows)>,
    end: Result<()>,
}

/// When the process dies: before which steps, or while they are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crashes {
    Even = 0,
    Odd = 1,
    /// Not before a step, but while it is under way.
    Amid = 2,
}

/// Nothing is logged of some stores, and schedules of the wall clock start with the process.
fn outlives_a_process(scenario: &Json) -> bool {
    let lost = |node: &Json| {
        let unlogged = node.get("logging").or_else(|| node["store"].get("logging"));
        unlogged == Some(&Json::Bool(false)) || node["time"] == "wall"
    };
    !scenario["topology"].as_array().expect("nodes").iter().any(lost)
}

/// Runs the steps.
fn run(topology: Topology, scenario: &Json, guarantee: Guarantee, crashes: Option<Crashes>) -> Ran {
    let id = scenario["config"].get("application.id").and_then(Json::as_str).unwrap_or("app");
    let defaults = DriverOptions::default();
    let options = DriverOptions {
        // Kafka Streams logs every write.
        settings: Settings {
            guarantee,
            changelog_deduplicate: deduplicates(guarantee),
            // Half of the crashes find an empty disk, the others one that is up to date.
            persist_interval_ms: if crashes == Some(Crashes::Odd) { 0 } else { defaults.settings.persist_interval_ms },
            errors: errors(scenario),
            ..defaults.settings.clone()
        },
        application_id: id.into(),
        topics: dynamic_topics(scenario),
        start_ms: scenario.get("start_wall_ms").and_then(Json::as_i64).unwrap_or(0),
        ..defaults
    };
    let mut driver = TestDriver::with(topology, options).expect("a driver");
    let mut written: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    let (mut end, mut reads) = (Ok(()), Vec::new());
    let mut piped: BTreeMap<String, usize> = BTreeMap::new();
    for (at, step) in scenario["steps"].as_array().expect("steps").iter().enumerate() {
        if crashes.is_some_and(|crashes| at % 2 == crashes as usize) {
            driver.crash().unwrap_or_else(|fault| panic!("step {at}: no way up from a crash: {fault}"));
        }
        end = if let Some(topic) = step.get("pipe").and_then(Json::as_str) {
            let timestamp = step["ts"].as_i64().expect("a timestamp");
            let (key, value) = (bytes(step, "key"), bytes(step, "value"));
            *piped.entry(topic.to_owned()).or_default() += 1;
            let record = RawRecord { offset: 0, timestamp, key, value, headers: headers(step) };
            match crashes {
                Some(Crashes::Amid) => driver.pipe_raw_and_crash(topic, record, at % 6 + 1),
                _ => driver.pipe_raw(topic, record),
            }
        } else if let Some(ms) = step.get("advance_ms").and_then(Json::as_u64) {
            driver.advance(Duration::from_millis(ms))
        } else {
            let (name, key) = (step["read_store"].as_str().expect("a store"), step.get("key").and_then(Json::as_str));
            let held = match (driver.store(name), key) {
                (None, _) => rows::global(&mut driver, name, key),
                (Some(store), Some(key)) if matches!(store.spec().kind, StoreKind::Versioned { .. }) => {
                    rows::version(store, key, step.get("as_of").and_then(Json::as_i64))
                }
                (Some(store), _) => rows::held(store, key),
            };
            reads.push((at, held));
            Ok(())
        };
        for topic in driver.topics() {
            let own = piped.remove(&*topic).unwrap_or(0);
            for record in driver.read_raw(&topic).expect("a topic").into_iter().skip(own) {
                let headers: Vec<Json> = record.headers.iter().map(|(n, v)| json!([n, hex(v)])).collect();
                written.entry(topic.to_string()).or_default().push(json!({
                    "step": at,
                    "key": hex(record.key.as_ref()),
                    "value": hex(record.value.as_ref()),
                    "ts": record.timestamp,
                    "headers": headers,
                }));
            }
        }
        if end.is_err() {
            break;
        }
    }
    Ran { driver, written, reads, end }
}

/// The handlers that a scenario configures.
fn errors(scenario: &Json) -> ErrorSettings {
    let text = |name: &str| scenario["config"].get(name).and_then(Json::as_str).unwrap_or_default();
    let response = |name: &str| if text(name).contains("Continue") { OnError::Continue } else { OnError::Fail };
    let topic = Some(text("errors.dead.letter.queue.topic.name")).filter(|topic| !topic.is_empty());
    ErrorSettings {
        deserialization: response("deserialization.exception.handler"),
        processing: response("processing.exception.handler"),
        dead_letter_topic: topic.map(Into::into),
        ..ErrorSettings::default()
    }
}

/// Topics that records are sent to by their contents, or that are read by pattern.
fn dynamic_topics(scenario: &Json) -> Vec<String> {
    let any = |field: &str| scenario["topology"].as_array().expect("nodes").iter().any(|n| n.get(field).is_some());
    if any("pattern") {
        let piped = scenario["steps"].as_array().expect("steps").iter().filter_map(|step| step["pipe"].as_str());
        return piped.map(str::to_owned).collect();
    }
    if !any("topic_expr") {
        return Vec::new();
    }
    let values = scenario["steps"].as_array().expect("steps").iter().filter_map(|step| step["value"].as_str());
    values.map(|value| format!("out-{value}")).collect()
}

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

#[test]
fn records_and_rows_are_those_of_kafka_streams_at_least_once() {
    compare(Guarantee::AtLeastOnce, None, &[]);
}

#[test]
fn records_and_rows_are_those_of_kafka_streams_exactly_once() {
    // It writes offsets, and the oracle's at-least-once run has no markers that take one.
    compare(Guarantee::ExactlyOnceV2, None, &["processor-punctuate/meta-behind-repartition"]);
}

#[test]
fn crashes_of_a_process_leave_no_trace_at_least_once() {
    for crashes in [Crashes::Even, Crashes::Odd] {
        compare(Guarantee::AtLeastOnce, Some(crashes), &[]);
    }
}

#[test]
fn crashes_of_a_process_leave_no_trace_exactly_once() {
    for crashes in [Crashes::Even, Crashes::Odd, Crashes::Amid] {
        compare(Guarantee::ExactlyOnceV2, Some(crashes), &["processor-punctuate/meta-behind-repartition"]);
    }
}

#[test]
fn a_store_that_is_not_logged_shows_that_crashes_lose_what_is_not_restored() {
    if elsewhere().is_some() {
        return;
    }
    let (_, scenario, expected) =
        scenarios().into_iter().find(|(name, ..)| name == "aggregate/logging-disabled").expect("the scenario");
    let run = |crashes| {
        let topology = build::topology(&scenario).expect("a sound topology");
        differences(topology, &scenario, &expected, Guarantee::ExactlyOnceV2, crashes)
    };
    assert_eq!(run(None), Vec::<String>::new());
    assert!(!run(Some(Crashes::Even)).is_empty());
}

/// Exactly once runs with one changelog record for each row and commit, the other with one for each write.
fn deduplicates(guarantee: Guarantee) -> bool {
    guarantee == Guarantee::ExactlyOnceV2
}

/// The last record of each key and step, in the order of both.
fn last_of_each_key(records: Vec<Json>) -> Vec<Json> {
    let place = |r: &Json| (r["step"].as_u64(), r["key"].to_string());
    let last: BTreeMap<_, Json> = records.into_iter().map(|r| (place(&r), r)).collect();
    last.into_values().collect()
}

fn compare(guarantee: Guarantee, crashes: Option<Crashes>, but: &[&str]) {
    // What functions of scenarios throw is expected, and nobody wants to read where.
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload().downcast_ref::<String>().is_none_or(|text| text != expr::BOOM) {
            eprintln!("{panic}");
        }
    }));
    let (mut wrong, mut right) = (Vec::new(), 0);
    for (name, scenario, expected) in scenarios() {
        let Ok(Ok(topology)) = uncaught(|| build::topology(&scenario)) else { continue };
        let skipped = crashes.is_some() && !outlives_a_process(&scenario);
        if (topology.external_sources().is_empty() && dynamic_topics(&scenario).is_empty())
            || but.contains(&&*name)
            || skipped
        {
            continue;
        }
        let differences = uncaught(|| differences(topology, &scenario, &expected, guarantee, crashes))
            .unwrap_or_else(|()| vec!["  panicked".into()]);
        if differences.is_empty() {
            right += 1;
        } else {
            wrong.push(format!("{name}\n{}", differences.join("\n")));
        }
    }
    judge(right, &wrong);
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
/// What its own exceptions say is its own English. What suppress held back has lost both here, where they would be gone
/// with the process anyway.
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
        if dead(want) && suppresses && got["key"].is_null() && got["value"].is_null() {
            (want["key"], want["value"]) = (Json::Null, Json::Null);
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

/// A panic in one scenario leaves the others their turn.
fn uncaught<T>(run: impl FnOnce() -> T) -> Result<T, ()> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(drop)
}

/// Runs a scenario and says where it ends up elsewhere than Kafka Streams.
fn differences(
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
    if reads != wanted {
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
        // With its cache on, Kafka Streams lists what the cache holds though it has expired.
        let listed = held == wanted || (cached && held.iter().all(|row| wanted.contains(row)));
        if !listed {
            differences.push(format!("  store {name} holds {held:?}, wanted {wanted:?}"));
        }
    }
    differences
}
