//! Repartition topics: kept small, and read from their start where nothing is committed.

use super::{BASE_MS, LIMIT, PARTITIONS, WINDOW_MS, broker::Broker, check_rows, replica::Launch};
use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const KEYS: i64 = 500;
/// A record is counted in each of the five windows that it falls in.
const HOPS: i64 = 5;

/// `bench-repartition-count` as application `name`, with topics of its own.
struct Repartitioned {
    broker: Arc<Broker>,
    name: &'static str,
    launch: Launch,
    _directory: tempfile::TempDir,
}

/// User, kind, and event time of record `i`. All lie in one minute, so that no order of partitions makes one late.
fn event(i: i64) -> (String, &'static str, i64) {
    (format!("user-{:03}", i * 7_919 % KEYS), ["buy", "look"][usize::from(i % 3 == 0)], BASE_MS + i % WINDOW_MS)
}

/// Input records: keyed by number, so that the new key lies on another partition.
fn input(from: i64, to: i64) -> impl Iterator<Item = (i32, String, String, i64)> {
    (from..to).map(|i| {
        let (user, kind, timestamp) = event(i);
        let value = format!(r#"{{"user":"{user}","kind":"{kind}","amount":1}}"#);
        ((i % i64::from(PARTITIONS)) as i32, i.to_string(), value, timestamp)
    })
}

fn recount(from: i64, to: i64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut counts: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for (user, kind, _) in (from..to).map(event) {
        for hop in 0..HOPS {
            let mut row = format!("{kind}{user}").into_bytes();
            row.extend((BASE_MS - hop * WINDOW_MS).to_be_bytes());
            *counts.entry(row).or_default() += 1;
        }
    }
    counts.into_iter().map(|(row, count)| (row, count.to_be_bytes().to_vec())).collect()
}

impl Repartitioned {
    fn new(name: &'static str) -> Self {
        let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
        let (input, output) = (format!("{name}-in"), format!("{name}-out"));
        broker.create_topic(&input, PARTITIONS);
        broker.create_topic(&output, PARTITIONS);
        let launch = Launch::new("bench-repartition-count", name, &broker.address, directory.path())
            .set("input.topic", &input)
            .set("output.topic", &output)
            .set("windowstore.changelog.additional.retention.ms", "864000000000")
            .set("repartition.purge.interval.ms", "1000");
        Self { broker, name, launch, _directory: directory }
    }

    fn write(&self, from: i64, to: i64) {
        self.broker.write(&format!("{}-in", self.name), input(from, to), None);
    }

    fn output(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.broker.fold(&format!("{}-out", self.name))
    }

    fn topic(&self) -> String {
        format!("{}-by-kind-repartition", self.name)
    }
}

#[test]
fn a_repartition_topic_stays_small_under_kills_and_every_window_is_exact() {
    const ROUNDS: i64 = 6;
    const ROUND: i64 = 10_000;
    let scene = Repartitioned::new("purge");
    // Static members: a killed one is replaced at once.
    let launches: Vec<Launch> = ["a", "b"].iter().map(|id| scene.launch.clone().set("group.instance.id", id)).collect();
    let mut replicas: Vec<_> = launches.iter().enumerate().map(|(number, launch)| launch.start(number)).collect();
    for round in 0..ROUNDS {
        scene.write(round * ROUND, (round + 1) * ROUND);
        let victim = usize::from(round % 2 == 0);
        replicas[victim].kill();
        replicas[victim] = launches[victim].start(victim);
        let deadline = Instant::now() + LIMIT;
        loop {
            let ranges = scene.broker.ranges(&scene.topic());
            let (first, end) = ranges.iter().fold((0, 0), |(first, end), range| (first + range.0, end + range.1));
            if end >= (round + 1) * ROUND && end - first < ROUND / 2 {
                break;
            }
            assert!(Instant::now() < deadline, "round {round}: not purged: {ranges:?}\n{}", replicas[0].log());
            thread::park_timeout(Duration::from_millis(100));
        }
    }
    for replica in &replicas {
        replica.signal("TERM");
    }
    for replica in &mut replicas {
        let status = replica.wait(Duration::from_secs(60));
        assert!(status.success(), "{status}; its log:\n{}", replica.log());
    }
    // Their ids stay in the group until their sessions end; these two are theirs.
    let mut last: Vec<_> =
        launches.iter().enumerate().map(|(number, launch)| launch.clone().flag("--until-end").start(number)).collect();
    for replica in &mut last {
        assert!(replica.wait(LIMIT).success(), "its log:\n{}", replica.log());
    }
    check_rows("output", &scene.output(), &recount(0, ROUNDS * ROUND));
}

#[test]
fn without_a_committed_offset_a_repartition_topic_is_read_from_its_start() {
    let scene = Repartitioned::new("from-start");
    // What a worker leaves that dies between its first output and the first commit of the other side.
    scene.broker.create_topic(&scene.topic(), PARTITIONS);
    let left = (0..5_000).map(|i| {
        let ((user, kind, timestamp), (partition, _, value, _)) = (event(i), input(i, i + 1).next().expect("one"));
        (partition, format!("{kind}{user}"), value, timestamp)
    });
    // One key on several partitions would be several counts.
    let left = left.map(|(_, key, value, timestamp)| {
        let partition = key.bytes().map(i32::from).sum::<i32>() % PARTITIONS;
        (partition, key, value, timestamp)
    });
    scene.broker.write(&scene.topic(), left, None);
    scene.write(5_000, 6_000);
    let mut replica = scene.launch.clone().set("auto.offset.reset", "latest").start(0);
    let expected = recount(0, 5_000);
    let deadline = Instant::now() + LIMIT;
    while scene.output().values().map(|v| super::number(v)).sum::<i64>() < 5_000 * HOPS {
        assert!(replica.alive() && Instant::now() < deadline, "no progress:\n{}", replica.log());
        thread::park_timeout(Duration::from_millis(200));
    }
    replica.signal("TERM");
    assert!(replica.wait(Duration::from_secs(60)).success(), "its log:\n{}", replica.log());
    check_rows("output", &scene.output(), &expected);
}

#[test]
fn without_the_right_to_purge_there_is_one_warning() {
    let scene = Repartitioned::new("purge-denied");
    scene.broker.deny(&scene.topic(), "Delete");
    scene.write(0, 5_000);
    let launch = scene.launch.clone().set("num.stream.threads", "2").set("repartition.purge.interval.ms", "50");
    let mut replica = launch.flag("--until-end").start(0);
    let status = replica.wait(LIMIT);
    let log = replica.log();
    assert!(status.success(), "{status}; its log:\n{log}");
    assert_eq!(log.lines().filter(|l| l.contains("can't be purged")).count(), 1, "{log}");
    assert!(scene.broker.ranges(&scene.topic()).iter().all(|(start, _)| *start == 0));
    check_rows("output", &scene.output(), &recount(0, 5_000));
}
