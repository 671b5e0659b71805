//! Changelogs that do not end with a committed record: aborted, compacted away, or deleted.

use crate::{
    counting::{Job, PARTITIONS, assert_same, counted, feed, recount},
    support::{Broker, block_on, until},
};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::AdminOptions,
    producer::{BaseRecord, Producer as _},
};
use std::{path::Path, time::Duration};

const LONG: Duration = Duration::from_secs(30);

/// Writes so many records of one key into every partition of a topic, and aborts them.
fn aborted(broker: &Broker, topic: &str, key: &[u8], count: usize) {
    let producer = broker.transaction("aborting");
    for partition in 0..PARTITIONS {
        for _ in 0..count {
            let record = BaseRecord::to(topic).partition(partition).key(key).payload("nonsense");
            producer.send(record).map_err(|(e, _)| e).expect("queued");
        }
    }
    producer.flush(LONG).expect("written");
    producer.abort_transaction(LONG).expect("aborted");
    // Markers that come late are the broker's affair, and another test's.
    broker.await_settled(topic, PARTITIONS);
}

#[test]
fn a_restore_ends_whatever_the_changelog_ends_with() {
    let broker = Broker::start("log.cleaner.backoff.ms=100\nlog.retention.check.interval.ms=100\n");
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "tails");
    let changelog = "tails-counts-changelog";
    let settings = [
        "topic.segment.ms=200",
        "topic.min.cleanable.dirty.ratio=0.0",
        "topic.max.compaction.lag.ms=500",
        "windowstore.changelog.additional.retention.ms=864000000000",
    ];
    let args: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
    let producer = broker.producer();
    let mut fed = 0;
    let mut count_more = |what: &str, dir: &Path| {
        feed(&producer, &job.input, fed..fed + 3_000, None);
        fed += 3_000;
        std::fs::remove_dir_all(dir.join("w")).ok();
        job.run(dir, "w", &args);
        let found = counted(&broker, &job.output, PARTITIONS);
        assert_eq!(found.values().sum::<i64>(), fed, "{what}");
        assert_same(&recount(0..fed), &found);
    };
    count_more("nothing in the changelog", dir.path());
    let row = broker.read(changelog, PARTITIONS).remove(0).0.expect("a key");
    aborted(&broker, changelog, &row, 3_000);
    count_more("aborted transactions behind the rows", dir.path());

    // The cleaner takes what was aborted out of old segments: a hole, with no more than markers behind it.
    aborted(&broker, changelog, &row, 3_000);
    // As long as it has not, these records alone are more than that.
    let visible = || broker.read_as(changelog, PARTITIONS, "read_uncommitted").len();
    until("the cleaner has made a hole", || {
        aborted(&broker, changelog, &row, 1);
        visible() < 3_000 * usize::try_from(PARTITIONS).expect("positive")
    });
    count_more("a hole behind the rows", dir.path());

    // Everything is deleted: what the changelog holds of old windows is lost, and no later window needs it.
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(changelog, partition, Offset::End).expect("an offset");
    }
    block_on(broker.admin().delete_records(&all, &AdminOptions::new())).expect("deleted");
    let later = 60_000 / 5 * 2;
    feed(&producer, &job.input, fed + later..fed + later + 3_000, None);
    std::fs::remove_dir_all(dir.path().join("w")).expect("the state was there");
    job.run(dir.path(), "w", &args);
    let expected = recount((0..fed).chain(fed + later..fed + later + 3_000));
    assert_same(&expected, &counted(&broker, &job.output, PARTITIONS));

    // A changelog with nothing but what was aborted.
    aborted(&broker, changelog, &row, 10);
    block_on(broker.admin().delete_records(&all, &AdminOptions::new())).expect("deleted");
    aborted(&broker, changelog, &row, 500);
    let again = fed + 2 * later;
    feed(&producer, &job.input, again..again + 3_000, None);
    std::fs::remove_dir_all(dir.path().join("w")).expect("the state was there");
    job.run(dir.path(), "w", &args);
    let expected = recount((0..fed).chain(fed + later..fed + later + 3_000).chain(again..again + 3_000));
    assert_same(&expected, &counted(&broker, &job.output, PARTITIONS));
}
