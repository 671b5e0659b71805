//! An input topic that gets more partitions while workers run.

use crate::{
    counting::{Job, PARTITIONS, assert_same, counted, feed, recount},
    support::{Broker, block_on, flush, send, until},
};
use rdkafka::admin::{AdminOptions, NewPartitions};
use std::time::Duration;

#[test]
fn more_partitions_end_every_member_before_it_reads_them() {
    const EVENTS: i64 = 20_000;
    const NEW: usize = 10;
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "grown");
    let args = ["--set", "consumer.topic.metadata.refresh.interval.ms=1000"];
    let mut workers = [job.start(dir.path(), "a", &args), job.start(dir.path(), "b", &args)];
    until("both have joined", || broker.members(&job.app).len() == 2);
    let producer = broker.producer();
    feed(&producer, &job.input, 0..EVENTS, None);
    until("they commit", || job.done() > 0);
    let more = NewPartitions::new(&job.input, NEW);
    let answer = block_on(broker.admin().create_partitions([&more], &AdminOptions::new())).expect("an answer");
    assert!(answer.iter().all(Result::is_ok), "{answer:?}");
    broker.await_partitions(&job.input, 10);
    // A producer that knows the new partitions, as their first reader must not.
    let producer = broker.producer();
    for partition in [8, 9] {
        send(&producer, &job.input, partition, "new", "v", 1_357_000_000_000);
    }
    flush(&producer);
    for worker in &mut workers {
        let status = worker.wait(Duration::from_secs(60));
        let log = worker.log();
        assert_eq!(status.code(), Some(1), "{log}");
        let told = format!("topic `{}` had 8 partitions when this application started and has 10 now", job.input);
        assert!(log.contains(&told) && log.contains("reset the application"), "{log}");
    }
    // What was counted is committed, and the other way round; of the new partitions nothing.
    assert_eq!(&broker.committed(&job.app, &job.input, 10)[8..], [-1, -1]);
    let found = counted(&broker, &job.output, PARTITIONS);
    assert_eq!(found.values().sum::<i64>(), job.done());
    assert!(!found.keys().any(|(key, _)| key == "new"));
    if job.done() == EVENTS {
        assert_same(&recount(0..EVENTS), &found);
    }
}
