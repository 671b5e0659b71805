//! A real data set on a real broker: every departure of New York's airports in January 2013.

use super::{LIMIT, broker::Broker, replica::Launch};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
};

const DATA: &[u8] = include_bytes!("../../topologies/data/flights-2013-01.jsonl.gz");
const HOUR_MS: i64 = 3_600_000;

/// Departures and minutes of delay by airport and hour.
type Windows = BTreeMap<(String, i64), (i64, i64)>;

fn lines() -> impl Iterator<Item = (String, Value)> {
    BufReader::new(GzDecoder::new(DATA)).lines().map(|line| {
        let line = line.expect("the extract is whole");
        let flight = serde_json::from_str(&line).expect("the extract is JSON");
        (line, flight)
    })
}

fn recount() -> Windows {
    let mut windows = Windows::new();
    for (_, flight) in lines() {
        let origin = flight["origin"].as_str().expect("text").to_owned();
        let window = windows.entry((origin, flight["dep"].as_i64().expect("a time") / HOUR_MS * HOUR_MS)).or_default();
        window.0 += 1;
        window.1 += flight["dep_delay"].as_i64().expect("a number");
    }
    windows
}

/// Output rows in the recount's form: the mean times the departures is a whole number of minutes again.
fn found(rows: BTreeMap<Vec<u8>, Vec<u8>>) -> Windows {
    let window = |(key, value): (Vec<u8>, Vec<u8>)| {
        let (origin, start) = key.split_at(key.len() - 8);
        let value: Value = serde_json::from_slice(&value).expect("JSON");
        let departures = value["departures"].as_i64().expect("a number");
        let minutes = value["mean_delay_minutes"].as_f64().expect("a number") * departures as f64;
        assert!((minutes - minutes.round()).abs() < 1e-6, "{value}");
        (
            (String::from_utf8(origin.to_vec()).expect("text"), super::number(start)),
            (departures, minutes.round() as i64),
        )
    };
    rows.into_iter().map(window).collect()
}

/// The topics' names are the topology's own, and one partition keeps the order of the schedule: no more than a day of
/// disorder.
#[test]
fn every_hour_of_the_flights_equals_the_recount() {
    let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
    broker.create_topic("flights", 1);
    broker.create_topic("departures", 1);
    let records = lines().map(|(line, flight)| {
        let airline = flight["carrier"].as_str().expect("text").to_owned();
        (0, airline, line, flight["sched_dep"].as_i64().expect("a time"))
    });
    broker.write("flights", records, None);
    Launch::new("flights", "flights", &broker.address, directory.path()).flag("--until-end").run(0, LIMIT);
    let (found, expected) = (found(broker.fold("departures")), recount());
    let differ = expected.iter().filter(|(window, sums)| found.get(*window) != Some(sums)).count();
    let departures: i64 = found.values().map(|(departures, _)| departures).sum();
    println!("{departures} departures, {} windows, {differ} of {} differ", found.len(), expected.len());
    assert_eq!((departures, expected.len()), (26_483, 1_763));
    assert_eq!(found, expected);
}

/// Topics that a worker makes keep records of 2013 for good.
#[test]
fn created_topics_keep_old_records() {
    let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
    let launch = Launch::new("flights", "created", &broker.address, directory.path())
        .set("input.topic", "created-in")
        .set("output.topic", "created-out");
    launch.flag("--create-topics").flag("--until-end").run(0, LIMIT);
    for topic in ["created-in", "created-out", "created-by-airport-repartition"] {
        assert_eq!(broker.topic_setting(topic, "retention.ms"), "-1", "{topic}");
    }
}
