//! `--until-end` over input whose end lies in an open transaction.

use crate::{
    counting::{Job, PARTITIONS, assert_same, counted, event, feed, recount},
    support::{Broker, send},
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
