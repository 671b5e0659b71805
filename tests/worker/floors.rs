//! A restore of windows that have mostly expired: it reads what can still change, and not the whole changelog.

use super::{BASE_MS, LIMIT, broker::Broker, check_rows, recount, replica::Launch};
use std::{
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 2;
const RECORDS: i64 = 200_000;
/// Keys of a window; each has a changelog record there.
const KEYS: i64 = 2_000;

/// A record each 20 ms of event time, 4,000 s in all, of which 70 s are kept.
fn record(n: i64) -> (i32, String, String, i64) {
    let key = n % KEYS;
    ((key % i64::from(PARTITIONS)) as i32, format!("key-{key}"), String::new(), BASE_MS + n * 20)
}

#[test]
fn a_restore_leaves_out_what_has_expired() {
    let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
    let (input, output) = ("floors-in", "floors-out");
    broker.create_topic(input, PARTITIONS);
    broker.create_topic(output, PARTITIONS);
    let launch = Launch::new("bench-window-count-brief", "floors", &broker.address, directory.path())
        .set("input.topic", input)
        .set("output.topic", output)
        .set("windowstore.changelog.additional.retention.ms", "864000000000")
        // What one transaction writes has one floor: many of them are wanted, as they come when time passes.
        .set("transaction.overlay.max.bytes", "200000");
    broker.write(input, (0..RECORDS).map(record), None);
    launch.clone().flag("--until-end").run(0, LIMIT);
    let logged: i64 = broker.ranges("floors-counts-changelog").iter().map(|(start, end)| end - start).sum();
    assert!(logged > RECORDS / 2, "{logged} offsets of the changelog");

    // Twice: what a floor says outlives the restore that began there.
    for round in 1..=2 {
        std::fs::remove_dir_all(launch.home(0)).expect("the state was there");
        let mut replica = launch.clone().set("http.listen", "127.0.0.1:0").start(0);
        let deadline = Instant::now() + LIMIT;
        while replica.tasks().iter().filter(|task| task["state"] == "running").count() < PARTITIONS as usize {
            assert!(replica.alive() && Instant::now() < deadline, "no progress:\n{}", replica.log());
            thread::park_timeout(Duration::from_millis(50));
        }
        let restored = replica.metric("millstream_restored_records_total{thread=\"0\"}").expect("the metric") as i64;
        eprintln!("{restored} of about {logged} changelog records restored");
        assert!(restored > 0 && restored < logged / 10, "{restored} of {logged}");
        // Counts of windows that are still open go on where they were.
        let from = RECORDS + (round - 1) * 500;
        broker.write(input, (from..from + 500).map(record), None);
        replica.signal("TERM");
        assert!(replica.wait(LIMIT).success(), "{}", replica.log());
        launch.clone().flag("--until-end").run(0, LIMIT);
        check_rows("output", &broker.fold(output), &recount((0..from + 500).map(record)));
    }
}
