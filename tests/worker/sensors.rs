//! `iot-sensors` from MQTT to PostgreSQL: a row that changes with every reading, over kills on the way.

use super::{
    LIMIT,
    broker::Broker,
    parts::Part,
    replica::{Launch, Replica},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
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

/// The messages of a sensor.
fn messages(sensor: i64, from: i64, to: i64) -> Vec<String> {
    let own = (from..to).filter(|n| n % SENSORS == sensor).map(reading);
    own.map(|(_, millis, ts)| serde_json::json!({"millis": millis, "ts": ts}).to_string()).collect()
}

#[test]
fn each_reading_of_mqtt_comes_to_postgres_over_kills_of_bridge_and_workers() {
    let (broker, server, mut mosquitto) = (Broker::shared(), Part::postgres(), Part::mosquitto());
    let (input, outputs) =
        ("iot-sink-in", ["iot-sink-minutes", "iot-sink-alerts", "iot-sink-rejected", "iot-sink-late"]);
    for topic in outputs.iter().chain([&input]) {
        broker.create_topic(topic, PARTITIONS);
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let launch = Launch::new("iot-sensors", "iot-sink", &broker.address, directory.path())
        .set("input.topic", input)
        .set("output.topic", &outputs.join(","))
        .set("errors.dead.letter.queue.topic.name", outputs[2])
        .set("errors.late.topic.name", outputs[3])
        .set("windowstore.changelog.additional.retention.ms", "864000000000")
        .variable("IOT_SENSORS_POSTGRES", server.database());
    let port = mosquitto.port;
    let bridge = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
        command.arg(format!("127.0.0.1:{port}")).args(["sensors/+", input]);
        command.arg(format!("bootstrap.servers={}", broker.address));
        Replica::spawn(command, directory.path().join("bridge.log"))
    };
    let written = || broker.ranges(input).iter().map(|(_, end)| end).sum::<i64>();
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
    let publish = |mosquitto: &Part, from: i64, to: i64| {
        for sensor in 0..SENSORS {
            mosquitto.publish(&format!("sensors/sensor-{sensor}"), &messages(sensor, from, to));
        }
    };
    let (mut relay, mut replicas) = (bridge(), [launch.start(0), launch.start(1)]);
    // What comes before the first bridge has subscribed nobody keeps; from then on Mosquitto does, also with no bridge there.
    let probe = serde_json::json!({"millis": 900_000, "ts": START_MS}).to_string();
    wait("the bridge's session", &mut || {
        mosquitto.publish("sensors/probe", std::slice::from_ref(&probe));
        written() > 0
    });
    let (mut amid_work, quarter) = (0, READINGS / 4);
    for round in 0..4 {
        let (from, to) = (round * quarter, (round + 1) * quarter);
        let (before, rows) = (written(), found().len());
        thread::scope(|scope| {
            let publisher = scope.spawn(|| publish(&mosquitto, from, to));
            wait("readings", &mut || written() > before + quarter / 10);
            relay.kill();
            amid_work += i64::from(!publisher.is_finished());
        });
        if round == 2 {
            mosquitto.stop();
            mosquitto.start();
        }
        relay = bridge();
        wait("minutes come", &mut || found().len() > rows);
        // In the middle of it; its partitions go to the other.
        let victim = round as usize % 2;
        replicas[victim].kill();
        replicas[victim] = launch.start(victim);
    }
    assert!(amid_work > 0, "the bridge was never killed while readings came");
    let expected = minutes(READINGS);
    wait("all minutes are there", &mut || found() == expected);
    assert!(relay.alive(), "the bridge ended:\n{}", relay.log());
    for replica in &mut replicas {
        assert!(replica.alive(), "a replica ended:\n{}", replica.log());
        replica.signal("TERM");
        assert!(replica.wait(LIMIT).success(), "{}", replica.log());
    }
    assert_eq!(found(), expected, "and stay");
    // A reading that MQTT tells twice is rejected twice; the probe is one.
    assert_eq!(broker.read(outputs[2]).into_iter().collect::<BTreeSet<_>>().len() as i64, READINGS / 50 + 1);
}
