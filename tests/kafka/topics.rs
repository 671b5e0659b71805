//! Internal topics that are there already, and are wrong.

use crate::{
    counting::{Job, PARTITIONS, feed},
    support::{Broker, Worker},
};
use std::time::Duration;

#[test]
fn internal_topics_that_do_not_fit_are_told() {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let told = |app: &str, count: i32, config: &[(&str, &str)], text: &str| {
        let job = Job::new(&broker, app);
        broker.create_topic_with(&format!("{app}-counts-changelog"), count, config);
        let mut worker = job.start(dir.path(), app, &[]);
        let status = worker.wait(Duration::from_secs(30));
        let log = worker.log();
        assert!(!status.success() && log.contains(text), "{status}: {log}");
    };
    told(
        "q28",
        3,
        &[("cleanup.policy", "compact,delete")],
        "internal topic `q28-counts-changelog` has 3 partitions, the topology needs 8",
    );
    // it is used as it is, with a warning.
    let job = Job::new(&broker, "q23");
    let short = [("cleanup.policy", "compact,delete"), ("retention.ms", "1000")];
    broker.create_topic_with("q23-counts-changelog", PARTITIONS, &short);
    feed(&broker.producer(), &job.input, 0..10, None);
    let mut worker = job.start(dir.path(), "q23", &["--until-end"]);
    assert!(worker.wait(Duration::from_secs(60)).success(), "{}", worker.log());
    let warning = "internal topic `q23-counts-changelog` has retention.ms=1000, less than the ";
    assert!(worker.log().contains(warning), "{}", worker.log());
}

#[test]
fn a_changelog_that_is_deleted_by_age_is_refused() {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    broker.create_topic("q22-in", 2);
    broker.create_topic("q22-out", 2);
    let short = [("cleanup.policy", "delete"), ("retention.ms", "86400000")];
    broker.create_topic_with("q22-word-counts-changelog", 2, &short);
    let settings = ["application.id=q22", "input.topic=q22-in", "output.topic=q22-out"];
    let mut args = vec!["word-count"];
    args.extend(settings.iter().flat_map(|s| ["--set", s]));
    let mut worker = Worker::start(&broker, dir.path(), "w", &args);
    let status = worker.wait(Duration::from_secs(30));
    let log = worker.log();
    assert!(!status.success() && log.contains("has cleanup.policy=delete: the broker deletes rows"), "{status}: {log}");
    assert!(log.contains("set cleanup.policy=compact on it"), "{log}");
}

#[test]
fn a_broker_that_is_not_there_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut worker = Worker::alone(dir.path(), "w", &["bench-window-count", "--set", "bootstrap.servers=127.0.0.1:1"]);
    let status = worker.wait(Duration::from_secs(40));
    let log = worker.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("millstream: no broker answers: ") && log.contains("bootstrap.servers=127.0.0.1:1"), "{log}");
}
