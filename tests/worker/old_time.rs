//! Event time that lies years behind the wall clock, on a broker that deletes old records every second.

use super::{BASE_MS, LIMIT, PARTITIONS, broker::Broker, check_rows, input, recount, replica::Launch};
use std::time::{Duration, Instant};

/// 2013, at a window's start.
const OLD_MS: i64 = 1_357_000_020_000;

fn old(from: i64, to: i64) -> impl Iterator<Item = (i32, String, String, i64)> {
    input(from, to).map(|(partition, key, value, timestamp)| (partition, key, value, timestamp - BASE_MS + OLD_MS))
}

/// The changelog's retention as this project sets it, so that nothing but the worker can save the records.
fn launch(application: &'static str, broker: &Broker, directory: &tempfile::TempDir) -> Launch {
    let (input, output) = (format!("{application}-in"), format!("{application}-out"));
    broker.create_topic(&input, PARTITIONS);
    broker.create_topic(&output, PARTITIONS);
    Launch::new("bench-window-count", application, &broker.address, directory.path())
        .set("input.topic", &input)
        .set("output.topic", &output)
}

#[test]
fn a_changelog_of_2013_survives_a_retention_of_a_day() {
    let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
    let launch = launch("old", &broker, &directory);
    // Each key once: what the first transaction logs is not logged again.
    broker.write("old-in", old(0, 5_000), None);
    launch.clone().flag("--until-end").run(0, LIMIT);
    assert_eq!(broker.topic_setting("old-counts-changelog", "retention.ms"), "-1");
    wait_until_old_records_go(&broker, "old-control");
    assert!(broker.ranges("old-counts-changelog").iter().all(|(start, _)| *start == 0), "all is still there");

    broker.write("old-in", old(5_000, 15_000), None);
    let mut replica = launch.start(0);
    let deadline = Instant::now() + LIMIT;
    while broker.fold_visible("old-out") != recount(old(0, 15_000)) {
        assert!(replica.alive() && Instant::now() < deadline, "no progress:\n{}", replica.log());
    }
    replica.kill();
    std::fs::remove_dir_all(launch.home(0).join("state")).expect("the state was there");
    broker.write("old-in", old(15_000, 20_000), None);
    launch.flag("--until-end").run(0, LIMIT);
    check_rows("output", &broker.fold("old-out"), &recount(old(0, 20_000)));
}

/// Writes records as old as these to a topic with the broker's default retention, and waits until they are deleted:
/// whatever else was due for deletion is then gone too.
fn wait_until_old_records_go(broker: &Broker, topic: &str) {
    broker.create_topic_with(topic, PARTITIONS, &[]);
    broker.write(topic, old(0, 1_000), None);
    let deadline = Instant::now() + Duration::from_secs(60);
    while broker.ranges(topic).iter().any(|(start, end)| start < end) {
        assert!(Instant::now() < deadline, "the broker deletes nothing: {:?}", broker.ranges(topic));
    }
}

#[test]
fn a_worker_that_may_not_keep_old_records_commits_none_and_says_so() {
    let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
    let launch = launch("old-denied", &broker, &directory);
    broker.deny("old-denied-counts-changelog", "AlterConfigs");
    broker.write("old-denied-in", old(0, 5_000), None);
    let mut replica = launch.flag("--until-end").start(0);
    let status = replica.wait(LIMIT);
    let log = replica.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("retention.ms of `old-denied-counts-changelog` can't be raised"), "{log}");
    assert!(log.contains("ALTER_CONFIGS"), "{log}");
    assert!(broker.read("old-denied-counts-changelog").is_empty(), "nothing is committed");
    assert!(broker.read("old-denied-out").is_empty(), "nothing is committed");
}

#[test]
fn all_versions_of_2013_are_kept_and_come_back() {
    let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
    let topics = ["old-events", "old-questions", "old-answers", "old-snapshots"];
    topics.iter().for_each(|topic| broker.create_topic(topic, 1));
    let launch = Launch::new("order-history", "old-orders", &broker.address, directory.path())
        .set("input.topic", &topics[..2].join(","))
        .set("output.topic", &topics[2..].join(","))
        .flag("--until-end");
    let at = |version: i64| OLD_MS + version * 1_000;
    let line = |value: String, time: i64| (0, "o1".to_owned(), value, time);
    let item = |version| line(format!("{{\"event\":\"item-added\",\"sku\":\"pen\",\"cents\":{version}}}"), at(version));
    broker.write("old-events", (1..=30).map(item), None);
    launch.run(0, LIMIT);
    let lag = broker.topic_setting("old-orders-orders-changelog", "min.compaction.lag.ms");
    assert_eq!(lag, i64::MAX.to_string(), "nothing is compacted");

    std::fs::remove_dir_all(launch.home(0).join("state")).expect("the state was there");
    let question = |version| line(format!("{{\"as_of\":{}}}", at(version)), at(100 + version));
    broker.write("old-questions", (1..=30).map(question), None);
    launch.run(0, LIMIT);
    let answers = broker.read("old-answers").into_iter().map(|(_, value)| value.expect("an answer"));
    let versions: Vec<String> = answers.map(|answer| String::from_utf8(answer).expect("text")).collect();
    for (version, answer) in (1..=30).zip(&versions) {
        assert!(answer.contains(&format!("\"version\":{version},")), "{version}: {answer}");
    }
    assert_eq!(versions.len(), 30);
}
