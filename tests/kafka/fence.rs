//! Transactions of stream threads that the process has no more.

use crate::{
    counting::{Job, PARTITIONS, assert_same, counted, feed, recount},
    support::{Broker, until},
};
use std::time::{Duration, Instant};

#[test]
fn fewer_threads_end_what_the_others_left_open() {
    const EVENTS: i64 = 20_000;
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "fewer");
    // Output goes out record by record, and the transaction stays open.
    let open = [
        "num.stream.threads=2",
        "commit.interval.ms=600000",
        "statestore.cache.max.bytes=0",
        "transaction.outbox.max.bytes=1000",
        "transaction.timeout.ms=300000",
        "session.timeout.ms=6000",
    ];
    let args: Vec<&str> = open.iter().flat_map(|s| ["--set", s]).collect();
    let worker = job.start(dir.path(), "w", &args);
    // A thread that only waits to join would stay in the group for a while after the kill, and be dealt partitions.
    until("both threads have partitions", || {
        let log = worker.log();
        let generation = |thread: &str| {
            let assigned = format!("{thread} assigned generation=");
            log.lines().rev().find_map(|line| line.split_once(&assigned)?.1.split(' ').next().map(str::to_owned))
        };
        generation("stream-0").is_some() && generation("stream-0") == generation("stream-1")
    });
    feed(&broker.producer(), &job.input, 0..EVENTS, None);
    until("both threads have a transaction open", || {
        broker.ends(&job.output, PARTITIONS, "read_uncommitted").iter().all(|end| *end > 0)
    });
    worker.kill();
    let begun = Instant::now();
    job.run(dir.path(), "w", &["--set", "num.stream.threads=1", "--set", "session.timeout.ms=6000"]);
    assert_same(&recount(0..EVENTS), &counted(&broker, &job.output, PARTITIONS));
    assert!(begun.elapsed() < Duration::from_secs(60), "it waited for a transaction: {:?}", begun.elapsed());
}
