//! Worker processes on a real broker: exactly once under SIGKILL, and clear errors.

#![allow(clippy::disallowed_methods, reason = "processes, clocks and threads are what is tested")]

mod support;

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};
use support::{Broker, Worker, flush, send};

const PARTITIONS: i32 = 8;
const MINUTE: i64 = 60_000;
/// Event time of 2013: brokers would delete it at once where retention counts by wall clock.
const START: i64 = 1_357_000_000_000;

type Windows = BTreeMap<(String, i64), i64>;

/// Event number `n`: partition, key, time. Time never runs backwards in a partition.
fn event(n: i64) -> (i32, String, i64) {
    let key = (n * 7_919) % 1_000;
    (i32::try_from(key % i64::from(PARTITIONS)).expect("small"), format!("key-{key}"), START + n * 5)
}

fn recount(events: i64) -> Windows {
    let mut windows = Windows::new();
    for n in 0..events {
        let (_, key, time) = event(n);
        *windows.entry((key, time - time % MINUTE)).or_default() += 1;
    }
    windows
}

/// The last count of each window.
fn counted(broker: &Broker) -> Windows {
    let mut windows = Windows::new();
    for (key, value, _) in broker.read("bench-window-count", PARTITIONS) {
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

fn assert_same(expected: &Windows, found: &Windows) {
    let wrong = differences(expected, found);
    assert!(
        wrong.is_empty(),
        "{} of {} windows differ, such as {:?}",
        wrong.len(),
        expected.len(),
        &wrong[..wrong.len().min(5)]
    );
}

#[test]
fn until_end_counts_what_is_there() {
    until_end("exactly_once_v2");
}

#[test]
fn until_end_at_least_once() {
    until_end("at_least_once");
}

fn until_end(guarantee: &str) {
    const EVENTS: i64 = 50_000;
    let broker = Broker::start("log.retention.check.interval.ms=1000");
    let dir = tempfile::tempdir().expect("a directory");
    broker.create_topic("bench-in", PARTITIONS);
    broker.create_topic("bench-window-count", PARTITIONS);
    let producer = broker.producer();
    for n in 0..EVENTS {
        let (partition, key, time) = event(n);
        send(&producer, "bench-in", partition, &key, "v", time);
    }
    flush(&producer);
    let guarantee = format!("processing.guarantee={guarantee}");
    let args = ["bench-window-count", "--until-end", "--set", &guarantee, "--set", "commit.interval.ms=100"];
    let mut worker = Worker::start(&broker, dir.path(), "w", &args);
    let status = worker.wait(Duration::from_secs(60));
    assert!(status.success(), "{status}: {}", worker.log());
    assert_same(&recount(EVENTS), &counted(&broker));
}

#[test]
fn exactly_once_under_sigkill() {
    const EVENTS: i64 = 200_000;
    const KILLS: usize = 8;
    let broker = Broker::start("log.retention.check.interval.ms=1000");
    let dir = tempfile::tempdir().expect("a directory");
    broker.create_topic("bench-in", PARTITIONS);
    broker.create_topic("bench-window-count", PARTITIONS);
    let names = ["a", "b", "c"];
    let args = ["bench-window-count", "--set", "session.timeout.ms=6000"];
    let start = |name: &str| Worker::start(&broker, dir.path(), name, &args);
    let mut workers: Vec<Worker> = names.iter().map(|n| start(n)).collect();
    let producer = broker.producer();
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            for n in 0..EVENTS {
                let (partition, key, time) = event(n);
                send(&producer, "bench-in", partition, &key, "v", time);
                if n % 1_000 == 0 {
                    let due = Duration::from_millis(u64::try_from(n / 10).expect("positive"));
                    thread::sleep(due.saturating_sub(begun.elapsed()));
                }
            }
            flush(&producer);
        });
        for round in 0..KILLS {
            thread::sleep(Duration::from_secs(2));
            let victim = (round * 5 + 1) % names.len();
            // The directory is locked until the old process is dead.
            workers.remove(victim).kill();
            if round % 3 == 2 {
                // A new disk: state comes back from the changelog, and the process gets another id.
                std::fs::remove_dir_all(dir.path().join(names[victim])).expect("removed");
            }
            workers.insert(victim, start(names[victim]));
        }
    });
    for worker in workers {
        let log = worker.log();
        let status = worker.stop();
        assert!(status.success(), "{status}: {log}");
    }
    let mut last = Worker::start(&broker, dir.path(), "a", &["bench-window-count", "--until-end"]);
    let status = last.wait(Duration::from_secs(120));
    assert!(status.success(), "{status}: {}", last.log());
    assert_same(&recount(EVENTS), &counted(&broker));
}

#[test]
fn what_is_missing_is_said() {
    let broker = Broker::start("");
    let dir = tempfile::tempdir().expect("a directory");
    let mut worker = Worker::start(&broker, dir.path(), "w", &["bench-window-count"]);
    assert!(!worker.wait(Duration::from_secs(30)).success());
    assert!(worker.log().contains("topics do not exist: bench-in"), "{}", worker.log());
}

#[test]
fn two_processes_with_one_id_are_told() {
    let broker = Broker::start("");
    let dir = tempfile::tempdir().expect("a directory");
    broker.create_topic("bench-in", PARTITIONS);
    broker.create_topic("bench-window-count", PARTITIONS);
    let args = ["bench-window-count", "--set", "process.id=same", "--set", "client.id=same"];
    let mut workers = [Worker::start(&broker, dir.path(), "a", &args), Worker::start(&broker, dir.path(), "b", &args)];
    let producer = broker.producer();
    let begun = Instant::now();
    for n in 0.. {
        let (partition, key, time) = event(n);
        send(&producer, "bench-in", partition, &key, "v", time);
        thread::sleep(Duration::from_millis(2));
        if let Some(ended) = workers.iter_mut().find_map(|w| w.ended().then_some(w)) {
            assert!(!ended.wait(Duration::ZERO).success());
            assert!(
                ended.log().contains("another process uses the transactional id `bench-window-count-same-0`"),
                "{}",
                ended.log()
            );
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "neither ended: {}", workers[0].log());
    }
}
