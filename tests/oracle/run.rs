//! A scenario on the test driver.

use crate::{
    differences::deduplicates,
    rows::{self, Rows},
};
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
use serde_json::{Value as Json, json};
use std::{collections::BTreeMap, time::Duration};

pub fn hex(bytes: Option<&Bytes>) -> Json {
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
pub struct Ran {
    pub driver: TestDriver,
    /// What was written, by topic, in the oracle's form.
    pub written: BTreeMap<String, Vec<Json>>,
    /// What stores were asked for, by step.
    pub reads: Vec<(usize, Rows)>,
    pub end: Result<()>,
}

/// When the process dies: before which steps, or while they are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crashes {
    Even = 0,
    Odd = 1,
    /// Not before a step, but while it is under way.
    Amid = 2,
}

/// Nothing is logged of some stores, and schedules of the wall clock start with the process.
pub fn outlives_a_process(scenario: &Json) -> bool {
    let lost = |node: &Json| {
        let unlogged = node.get("logging").or_else(|| node["store"].get("logging"));
        unlogged == Some(&Json::Bool(false)) || node["time"] == "wall"
    };
    !scenario["topology"].as_array().expect("nodes").iter().any(lost)
}

/// Runs the steps.
pub fn run(topology: Topology, scenario: &Json, guarantee: Guarantee, crashes: Option<Crashes>) -> Ran {
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
pub fn dynamic_topics(scenario: &Json) -> Vec<String> {
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
