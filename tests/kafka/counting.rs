//! Windows counted by `bench-window-count`, and their recount without the product's code.

use crate::support::{Broker, Worker, flush, send};
use rdkafka::producer::BaseProducer;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::Path,
    thread,
    time::{Duration, Instant},
};

pub const PARTITIONS: i32 = 8;
const MINUTE: i64 = 60_000;
/// Event time of 2013: brokers would delete it at once where retention counts by wall clock.
const START: i64 = 1_357_000_000_000;

/// Counts by key and start of window.
pub type Windows = BTreeMap<(String, i64), i64>;

/// Event number `n`: partition, key, time. Time never runs backwards in a partition.
pub fn event(n: i64) -> (i32, String, i64) {
    let key = (n * 7_919) % 1_000;
    (i32::try_from(key % i64::from(PARTITIONS)).expect("small"), format!("key-{key}"), START + n * 5)
}

/// The windows of these events.
pub fn recount(events: impl IntoIterator<Item = i64>) -> Windows {
    let mut windows = Windows::new();
    for n in events {
        let (_, key, time) = event(n);
        *windows.entry((key, time - time % MINUTE)).or_default() += 1;
    }
    windows
}

/// The last committed count of each window.
pub fn counted(broker: &Broker, topic: &str, partitions: i32) -> Windows {
    let mut windows = Windows::new();
    for (key, value, _) in broker.read(topic, partitions) {
        let (key, value) = (key.expect("a key"), value.expect("a count"));
        let (key, start) = key.split_at(key.len() - 8);
        let start = i64::from_be_bytes(start.try_into().expect("8 bytes"));
        let count = i64::from_be_bytes(value.try_into().expect("8 bytes"));
        windows.insert((String::from_utf8(key.to_vec()).expect("text"), start), count);
    }
    windows
}

fn differences(expected: &Windows, found: &Windows) -> Vec<String> {
    let missing = expected
        .iter()
        .filter(|(k, v)| found.get(k) != Some(v))
        .map(|(k, v)| format!("{k:?}: expected {v}, found {:?}", found.get(k)));
    let extra = found.keys().filter(|k| !expected.contains_key(*k)).map(|k| format!("{k:?}: not expected"));
    missing.chain(extra).collect()
}

/// Fails with the windows that differ.
pub fn assert_same(expected: &Windows, found: &Windows) {
    let wrong = differences(expected, found);
    assert!(
        wrong.is_empty(),
        "{} of {} windows differ, such as {:?}",
        wrong.len(),
        expected.len(),
        &wrong[..wrong.len().min(5)]
    );
}

/// Sends these events; `per_ms` paces them.
pub fn feed(producer: &BaseProducer, topic: &str, events: Range<i64>, per_ms: Option<i64>) {
    let (begun, first) = (Instant::now(), events.start);
    for n in events {
        let (partition, key, time) = event(n);
        send(producer, topic, partition, &key, "v", time);
        if let Some(per_ms) = per_ms.filter(|_| n % 1_000 == 0) {
            let due = Duration::from_millis(u64::try_from((n - first) / per_ms).expect("positive"));
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    flush(producer);
}

/// `bench-window-count` as an application of its own on topics of its own.
pub struct Job<'a> {
    broker: &'a Broker,
    pub app: String,
    pub input: String,
    pub output: String,
}

impl<'a> Job<'a> {
    /// With its topics, of [`PARTITIONS`] partitions.
    pub fn new(broker: &'a Broker, app: &str) -> Self {
        let job = Self { broker, app: app.to_owned(), input: format!("{app}-in"), output: format!("{app}-out") };
        broker.create_topic(&job.input, PARTITIONS);
        broker.create_topic(&job.output, PARTITIONS);
        job
    }

    /// Starts a worker of it.
    pub fn start(&self, dir: &Path, name: &str, args: &[&str]) -> Worker {
        let own = [
            format!("application.id={}", self.app),
            format!("input.topic={}", self.input),
            format!("output.topic={}", self.output),
        ];
        let mut all = vec!["bench-window-count"];
        all.extend(own.iter().flat_map(|s| ["--set", s.as_str()]));
        all.extend(args);
        Worker::start(self.broker, dir, name, &all)
    }

    /// Runs a worker of it until all that is there is committed.
    pub fn run(&self, dir: &Path, name: &str, args: &[&str]) {
        let mut all = vec!["--until-end"];
        all.extend(args);
        self.start(dir, name, &all).finish();
    }

    /// Records whose offsets the group has committed.
    pub fn done(&self) -> i64 {
        self.broker.committed(&self.app, &self.input, PARTITIONS).iter().map(|o| (*o).max(0)).sum()
    }
}
