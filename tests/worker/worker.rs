//! The worker's binary on a real broker: kills, aborted input, lost disks, a clean stop, a broker that restarts.
//!
//! The tests share one broker, but for those that restart it.

#![expect(clippy::disallowed_methods, reason = "processes, clocks and waiting are what is tested")]

mod answers;
mod asking;
mod broker;
mod dead_letters;
mod disk;
mod flights;
mod floors;
mod globals;
mod interop;
mod invoices;
mod join;
mod old_time;
mod operations;
mod outbox;
mod parts;
mod postgres;
mod purge;
mod queries;
mod redis;
mod replica;
mod rescale;
mod sensors;
mod slow_restore;
mod stores;
mod teams;
mod until_end;

use broker::Broker;
use replica::{Launch, Replica};
use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 8;
const WINDOW_MS: i64 = 60_000;
/// Event time of 2025: behind the wall clock, so the changelog's retention matters.
const BASE_MS: i64 = 1_760_000_040_000;
const LIMIT: Duration = Duration::from_secs(180);

/// The records `from..to` of a fixed input: partition, key, value, event time.
fn input(from: i64, to: i64) -> impl Iterator<Item = (i32, String, String, i64)> {
    (from..to).map(|i| {
        let key = (i.wrapping_mul(7_919)) % 5_000;
        let late = if i % 20 == 0 { i % 5_000 } else { 0 };
        ((key % i64::from(PARTITIONS)) as i32, format!("user-{key:05}"), format!("{i}"), BASE_MS + i - late)
    })
}

/// Counts by key and window, without the product's code.
fn recount(records: impl Iterator<Item = (i32, String, String, i64)>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut counts: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for (_, key, _, timestamp) in records {
        let mut row = key.into_bytes();
        row.extend((timestamp - timestamp.rem_euclid(WINDOW_MS)).to_be_bytes());
        *counts.entry(row).or_default() += 1;
    }
    counts.into_iter().map(|(row, count)| (row, count.to_be_bytes().to_vec())).collect()
}

/// The changelog's rows (key, window start, sequence number) as output rows (key, window start).
fn as_output(changelog: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    changelog.into_iter().map(|(mut key, value)| (key.drain(..key.len() - 4).collect(), value)).collect()
}

/// Key, window start, count found, count expected of every row that differs.
fn differences(
    found: &BTreeMap<Vec<u8>, Vec<u8>>,
    expected: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Vec<(String, i64, i64, i64)> {
    let mut rows: Vec<&Vec<u8>> = expected.keys().chain(found.keys()).collect();
    rows.sort();
    rows.dedup();
    rows.into_iter()
        .filter(|row| found.get(*row) != expected.get(*row))
        .map(|row| {
            let (key, start) = row.split_at(row.len() - 8);
            let of = |rows: &BTreeMap<Vec<u8>, Vec<u8>>| rows.get(row).map_or(0, |v| number(v));
            (String::from_utf8_lossy(key).into_owned(), number(start), of(found), of(expected))
        })
        .collect()
}

fn number(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().expect("8 bytes"))
}

fn check_rows(what: &str, found: &BTreeMap<Vec<u8>, Vec<u8>>, expected: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let wrong = differences(found, expected);
    let first: Vec<_> = wrong.iter().take(10).collect();
    assert!(
        wrong.is_empty(),
        "{what}: {} of {} windows differ (key, start, found, expected): {first:?}",
        wrong.len(),
        expected.len()
    );
}

/// `bench-window-count` as application `name`, with topics of its own.
struct Scene {
    broker: Arc<Broker>,
    name: &'static str,
    launch: Launch,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new(name: &'static str) -> Self {
        Self::on(Broker::shared(), name)
    }

    fn on(broker: Arc<Broker>, name: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let launch = Launch::new("bench-window-count", name, &broker.address, directory.path())
            .set("windowstore.changelog.additional.retention.ms", "864000000000");
        let mut scene = Self { broker, name, launch, _directory: directory };
        scene.broker.create_topic(&scene.input(), PARTITIONS);
        scene.broker.create_topic(&scene.output(), PARTITIONS);
        scene.launch = scene.launch.clone().set("input.topic", &scene.input()).set("output.topic", &scene.output());
        scene
    }

    fn input(&self) -> String {
        format!("{}-in", self.name)
    }

    fn output(&self) -> String {
        format!("{}-out", self.name)
    }

    fn changelog(&self) -> String {
        format!("{}-counts-changelog", self.name)
    }

    fn write(&self, from: i64, to: i64) {
        self.broker.write(&self.input(), input(from, to), None);
    }

    /// Works off what is left and compares output and changelog with the recount of the records below `to`.
    fn check(&self, to: i64) {
        self.launch.clone().flag("--until-end").run(9, LIMIT);
        self.compare(to);
    }

    /// Compares output and changelog as they are with the recount of the records below `to`.
    fn compare(&self, to: i64) {
        let expected = recount(input(0, to));
        let output = self.broker.fold(&self.output());
        check_rows("output", &output, &expected);
        let changelog = as_output(self.broker.fold(&self.changelog()));
        check_rows("changelog", &changelog, &expected);
    }

    /// Waits until a read_committed reader sees so many records counted.
    fn wait_for_count(&self, records: i64, replicas: &mut [Replica]) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let counted: i64 = self.broker.fold_visible(&self.output()).values().map(|v| number(v)).sum();
            if counted >= records {
                return;
            }
            for replica in replicas.iter_mut() {
                assert!(replica.alive(), "a replica ended:\n{}", replica.log());
            }
            assert!(Instant::now() < deadline, "{counted} of {records} counted:\n{}", replicas[0].log());
            // Each look reads the whole topic.
            thread::park_timeout(Duration::from_millis(200));
        }
    }
}

#[test]
fn until_end_counts_everything_and_goes_on_where_it_stopped() {
    let scene = Scene::new("until-end");
    scene.write(0, 40_000);
    scene.check(40_000);
    scene.write(40_000, 60_000);
    scene.check(60_000);
    std::fs::remove_dir_all(scene.launch.home(9)).expect("the state was there");
    scene.write(60_000, 80_000);
    scene.check(80_000);
}

#[test]
fn aborted_input_is_not_counted() {
    let scene = Scene::new("aborted");
    scene.broker.write(&scene.input(), input(0, 20_000), Some(true));
    scene.broker.write(&scene.input(), input(0, 5_000), Some(false));
    scene.broker.write(&scene.input(), input(20_000, 30_000), Some(true));
    scene.broker.write(&scene.input(), input(7_000, 9_000), Some(false));
    scene.check(30_000);
}

#[test]
fn ten_kills_among_three_replicas_change_no_window() {
    const EVENTS: i64 = 300_000;
    let scene = Scene::new("ten-kills");
    let mut replicas: Vec<Replica> = (0..3).map(|n| scene.launch.start(n)).collect();
    let mut written = 0;
    for kill in 0..10 {
        scene.write(written, written + EVENTS / 10);
        written += EVENTS / 10;
        // The pause between two kills is the load's rhythm, not a wait for a condition.
        thread::park_timeout(Duration::from_secs(2));
        let victim = [1, 0, 2, 2, 1, 0, 1, 2, 0, 1][kill];
        replicas[victim].kill();
        replicas[victim] = scene.launch.start(victim);
    }
    // The last one of the three takes over everything, and keeps it on its disk.
    while let Some(mut replica) = replicas.pop() {
        if replicas.is_empty() {
            scene.wait_for_count(EVENTS, std::slice::from_mut(&mut replica));
        }
        replica.signal("TERM");
        let status = replica.wait(Duration::from_secs(60));
        assert!(status.success(), "{status}; its log:\n{}", replica.log());
    }
    scene.compare(EVENTS);
    stores::check_stores(&scene, 0);
    scene.check(EVENTS);
}

#[test]
fn a_zombie_writes_nothing() {
    let scene = Scene::new("zombie");
    scene.write(0, 50_000);
    let mut replicas = vec![scene.launch.start(0)];
    scene.wait_for_count(100, &mut replicas);
    replicas[0].signal("STOP");
    replicas.push(scene.launch.start(1));
    scene.write(50_000, 100_000);
    scene.wait_for_count(100_000, &mut replicas);
    replicas[0].signal("CONT");
    scene.write(100_000, 120_000);
    thread::park_timeout(Duration::from_secs(5));
    for replica in &mut replicas {
        replica.signal("TERM");
    }
    for replica in &mut replicas {
        replica.wait(Duration::from_secs(60));
    }
    scene.check(120_000);
}

#[test]
fn two_broker_restarts_change_no_window() {
    let scene = Scene::on(Arc::new(Broker::start()), "restarts");
    let mut replicas = vec![scene.launch.start(0)];
    for round in 0..3 {
        scene.write(round * 40_000, (round + 1) * 40_000);
        // In the middle of the work.
        scene.wait_for_count(round * 40_000 + 1_000, &mut replicas);
        match round {
            0 => scene.broker.restart(),
            1 => scene.broker.crash(),
            _ => scene.wait_for_count(120_000, &mut replicas),
        }
    }
    replicas[0].signal("TERM");
    replicas[0].wait(Duration::from_secs(60));
    scene.check(120_000);
}

#[test]
fn at_least_once_skips_nothing_over_a_kill() {
    let mut scene = Scene::new("at-least-once");
    scene.launch = scene.launch.set("processing.guarantee", "at_least_once").set("commit.interval.ms", "500");
    let mut replica = scene.launch.start(0);
    scene.write(0, 30_000);
    scene.wait_for_count(1_000, std::slice::from_mut(&mut replica));
    scene.write(30_000, 60_000);
    replica.kill();
    scene.launch.clone().flag("--until-end").run(0, LIMIT);
    let expected = recount(input(0, 60_000));
    let output = scene.broker.fold(&scene.output());
    for (row, expected) in &expected {
        let found = output.get(row).map_or(0, |v| number(v));
        assert!(found >= number(expected), "a window lost records: {found} of {}", number(expected));
    }
    assert_eq!(output.len(), expected.len());
}

#[test]
fn a_missing_input_topic_is_one_clear_error() {
    let broker = Broker::shared();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let launch = Launch::new("bench-window-count", "missing", &broker.address, directory.path());
    let mut replica = launch.set("input.topic", "nowhere").set("output.topic", "out").start(0);
    let status = replica.wait(Duration::from_secs(60));
    assert!(!status.success());
    assert!(replica.log().contains("nowhere"), "{}", replica.log());
}
