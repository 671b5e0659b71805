//! Rules of Kafka Streams through the whole worker, and the check that each rule is tested or listed in the README.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compatibility;
mod joins;
mod processors;
mod rows;
mod stores;
mod suppress;
mod tables;
mod times;
mod topic_stores;

use millstream::{
    codec::{Serde, serdes},
    record::Timestamp,
    testing::{DriverOptions, TestDriver},
    topology::StreamsBuilder,
    worker::Settings,
};
use std::time::Duration;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A driver of a sound topology.
fn driver(builder: &StreamsBuilder) -> TestDriver {
    TestDriver::new(builder.build().unwrap()).unwrap()
}

/// A driver that commits only when it is asked to, or after 100 ms of the wall clock.
fn slow_driver(builder: &StreamsBuilder) -> TestDriver {
    let settings = Settings { commit_interval_ms: 100, ..DriverOptions::default().settings };
    TestDriver::with(builder.build().unwrap(), DriverOptions { settings, ..DriverOptions::default() }).unwrap()
}

/// Pipes a text; `-` stands for null.
fn pipe(driver: &mut TestDriver, topic: &str, key: &str, value: &str, at: Timestamp) {
    try_pipe(driver, topic, key, value, at).unwrap();
}

fn try_pipe(
    driver: &mut TestDriver,
    topic: &str,
    key: &str,
    value: &str,
    at: Timestamp,
) -> millstream::fault::Result<()> {
    let text = serdes::string();
    let part = |text: &str| (text != "-").then(|| text.to_owned());
    driver.pipe(topic, &text, &text, part(key).as_ref(), part(value).as_ref(), at)
}

/// What was written to a topic: key=value@time, `-` for null.
fn read<V: ToString + 'static>(driver: &mut TestDriver, topic: &str, values: &Serde<V>) -> Vec<String> {
    let records = driver.read(topic, &serdes::string(), values).unwrap();
    let text = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
    let shown = |r: millstream::testing::TestRecord<String, V>| {
        format!("{}={}@{}", text(r.key), text(r.value.map(|v| v.to_string())), r.timestamp)
    };
    records.into_iter().map(shown).collect()
}

fn texts(driver: &mut TestDriver, topic: &str) -> Vec<String> {
    read(driver, topic, &serdes::string())
}

fn numbers(driver: &mut TestDriver, topic: &str) -> Vec<String> {
    read(driver, topic, &serdes::i64())
}
