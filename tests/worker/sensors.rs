//! `iot-sensors` with its minutes in PostgreSQL: rows that change with every reading, over a kill.

use super::{LIMIT, broker::Broker, parts::Part, replica::Launch};
use millstream::codec::partition_for;
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 4;
const SENSORS: i64 = 40;
const READINGS: i64 = 40_000;
const MINUTE_MS: i64 = 60_000;
const START_MS: i64 = 1_760_000_400_000;

/// Reading `n`: its sensor, thousandths of a degree and time. Every 50th is none that a sensor can have measured.
fn reading(n: i64) -> (String, i64, i64) {
    let millis = if n % 50 == 7 { 900_000 } else { (n * 7_919) % 40_000 - 10_000 };
    (format!("sensor-{}", n % SENSORS), millis, START_MS + n * 20)
}

/// Rows by sensor and minute: readings, least, greatest and mean, without the product's code.
fn minutes(readings: i64) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (sensor, millis, ts) in (0..readings).map(reading).filter(|(_, millis, _)| *millis < 125_000) {
        all.entry(format!("{sensor}@{}", ts - ts % MINUTE_MS)).or_default().push(millis);
    }
    let row = |(key, all): (String, Vec<i64>)| {
        let (sensor, start) = key.split_once('@').expect("a minute");
        let (least, most) = (all.iter().min().expect("one"), all.iter().max().expect("one"));
        let mean = all.iter().sum::<i64>() / all.len() as i64;
        let row = format!("{sensor}|{start}|{}|{least}|{most}|{mean}", all.len());
        (key, row)
    };
    all.into_iter().map(row).collect()
}

#[test]
fn iot_sensors_has_each_minute_in_postgres_over_two_kills() {
    let (broker, server) = (Broker::shared(), Part::postgres());
    let (input, outputs) = ("iot-sink-in", ["iot-sink-minutes", "iot-sink-alerts", "iot-sink-rejected"]);
    for topic in outputs.iter().chain([&input]) {
        broker.create_topic(topic, PARTITIONS);
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let launch = Launch::new("iot-sensors", "iot-sink", &broker.address, directory.path())
        .set("input.topic", input)
        .set("output.topic", &outputs.join(","))
        .set("errors.dead.letter.queue.topic.name", outputs[2])
        .set("windowstore.changelog.additional.retention.ms", "864000000000")
        .variable("IOT_SENSORS_POSTGRES", server.database());
    let write = |from: i64, to: i64| {
        let record = |n| {
            let (sensor, millis, ts) = reading(n);
            let value = serde_json::json!({"millis": millis, "ts": ts}).to_string();
            (partition_for(sensor.as_bytes(), PARTITIONS), sensor, value, ts)
        };
        broker.write(input, (from..to).map(record), None);
    };
    let found = || -> BTreeMap<String, String> {
        let rows = server.query("SELECT minute, sensor, start, readings, min, max, mean FROM sensor_minutes");
        rows.iter().filter_map(|row| row.split_once('|')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let wait = |what: &str, done: &mut dyn FnMut() -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !done() {
            assert!(Instant::now() < deadline, "{what}: {} rows", found().len());
            thread::park_timeout(Duration::from_millis(100));
        }
    };
    let mut replicas = [launch.start(0), launch.start(1)];
    for (round, victim) in [0, 1].into_iter().enumerate() {
        let (from, to) = (round as i64 * READINGS / 2, (round as i64 + 1) * READINGS / 2);
        write(from, from + READINGS / 4);
        let before = found().len();
        wait("minutes come", &mut || found().len() > before);
        write(from + READINGS / 4, to);
        // In the middle of it; its partitions go to the other.
        replicas[victim].kill();
        replicas[victim] = launch.start(victim);
    }
    let expected = minutes(READINGS);
    wait("all minutes are there", &mut || found() == expected);
    for replica in &mut replicas {
        assert!(replica.alive(), "a replica ended:\n{}", replica.log());
        replica.signal("TERM");
        assert!(replica.wait(LIMIT).success(), "{}", replica.log());
    }
    assert_eq!(found(), expected, "and stay");
    assert_eq!(broker.read(outputs[2]).len() as i64, READINGS / 50);
}
