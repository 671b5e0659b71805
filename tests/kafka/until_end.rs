//! `--until-end` over input whose end lies in an open transaction.

use crate::{
    counting::{Job, PARTITIONS, assert_same, counted, event, feed, recount},
    support::{Broker, send, until},
};
use rdkafka::producer::Producer as _;
use std::time::Duration;

#[test]
fn an_open_transaction_at_the_end_is_not_there_yet() {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "open");
    let plain = broker.producer();
    feed(&plain, &job.input, 0..10_000, None);
    let open = broker.transaction("open-writer");
    for n in 10_000..11_000 {
        let (partition, key, time) = event(n);
        send(&open, &job.input, partition, &key, "v", time);
    }
    open.flush(Duration::from_secs(30)).expect("written");
    // Behind the start of the open transaction a reader of committed records sees nothing.
    feed(&plain, &job.input, 11_000..12_000, None);
    job.run(dir.path(), "w", &[]);
    assert_same(&recount(0..10_000), &counted(&broker, &job.output, PARTITIONS));
    open.abort_transaction(Duration::from_secs(30)).expect("aborted");
    job.run(dir.path(), "w", &[]);
    assert_same(&recount((0..10_000).chain(11_000..12_000)), &counted(&broker, &job.output, PARTITIONS));
}

/// A member that stands still or dies leaves its part of the input to who stays.
#[test]
fn the_end_is_where_all_members_have_committed() {
    const EVENTS: i64 = 20_000;
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "shared-end");
    let session = ["--set", "session.timeout.ms=6000"];
    let sleeper = job.start(dir.path(), "sleeper", &[&session[..], &["--set", "commit.interval.ms=60000"]].concat());
    let assigned = || sleeper.log().matches("assigned generation=").count();
    until("one has all partitions", || assigned() == 1);
    // It stands still until the other one has joined, and again as soon as it has its share.
    sleeper.signal("STOP");
    feed(&broker.producer(), &job.input, 0..EVENTS, None);
    let other = job.start(dir.path(), "other", &[&["--until-end"], &session[..]].concat());
    until("both are in the group", || broker.members(&job.app).len() == 2);
    sleeper.signal("CONT");
    until("both have their share", || assigned() == 2);
    sleeper.signal("STOP");
    other.finish();
    assert_eq!(job.done(), EVENTS, "all is committed when one ends");
    sleeper.signal("CONT");
    assert!(sleeper.stop().success());
    assert_same(&recount(0..EVENTS), &counted(&broker, &job.output, PARTITIONS));
}
