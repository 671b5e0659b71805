//! Worker processes on a real broker: exactly once under SIGKILL, and clear errors.

#![allow(clippy::disallowed_methods, reason = "processes, clocks and threads are what is tested")]

mod counting;
mod fence;
mod leave;
mod partitions;
mod refused;
mod rights;
mod security;
mod stuck;
mod support;
mod tails;
mod topics;
mod until_end;
mod zombie;

use counting::{Job, PARTITIONS, assert_same, counted, feed, recount};
use std::time::Duration;
use support::{Broker, Worker, until};

#[test]
fn until_end_counts_what_is_there() {
    count_until_end("exactly_once_v2", "eos");
}

#[test]
fn until_end_at_least_once() {
    count_until_end("at_least_once", "alos");
}

fn count_until_end(guarantee: &str, app: &str) {
    const EVENTS: i64 = 50_000;
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, app);
    feed(&broker.producer(), &job.input, 0..EVENTS, None);
    let guarantee = format!("processing.guarantee={guarantee}");
    job.start(dir.path(), "w", &["--until-end", "--set", &guarantee]).finish();
    assert_same(&recount(0..EVENTS), &counted(&broker, &job.output, PARTITIONS));
}

#[test]
fn exactly_once_under_sigkill() {
    const EVENTS: i64 = 200_000;
    const KILLS: usize = 8;
    let broker = Broker::start("");
    let dir = tempfile::tempdir().expect("a directory");
    broker.create_topic("bench-in", PARTITIONS);
    broker.create_topic("bench-window-count", PARTITIONS);
    let names = ["a", "b", "c"];
    let args = ["bench-window-count", "--set", "session.timeout.ms=6000"];
    let start = |name: &str| Worker::start(&broker, dir.path(), name, &args);
    let mut workers: Vec<Worker> = names.iter().map(|n| start(n)).collect();
    let producer = broker.producer();
    let counted_so_far =
        || broker.committed("bench-window-count", "bench-in", PARTITIONS).iter().map(|o| (*o).max(0)).sum::<i64>();
    const SLICE: i64 = EVENTS / KILLS as i64;
    for round in 0..KILLS {
        let first = SLICE * i64::try_from(round).expect("small");
        feed(&producer, "bench-in", first..first + SLICE, None);
        until("half of it is counted", || counted_so_far() > first + SLICE / 2);
        let victim = (round * 5 + 1) % names.len();
        // The directory is locked until the old process is dead.
        workers.remove(victim).kill();
        if round % 3 == 2 {
            // A new disk: state comes back from the changelog, and the process gets another id.
            std::fs::remove_dir_all(dir.path().join(names[victim])).expect("removed");
        }
        workers.insert(victim, start(names[victim]));
    }
    for worker in workers {
        worker.await_start();
        let log = worker.log();
        let status = worker.stop();
        assert!(status.success(), "{status}: {log}");
    }
    Worker::start(&broker, dir.path(), "a", &["bench-window-count", "--until-end"]).finish();
    assert_same(&recount(0..EVENTS), &counted(&broker, "bench-window-count", PARTITIONS));
}

#[test]
fn what_is_missing_is_said() {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let mut worker = Worker::start(&broker, dir.path(), "w", &["bench-window-count", "--set", "input.topic=nowhere"]);
    assert!(!worker.wait(Duration::from_secs(30)).success());
    assert!(worker.log().contains("topics do not exist: "), "{}", worker.log());
    assert!(worker.log().contains("nowhere"), "{}", worker.log());
}

#[test]
fn two_processes_with_one_id_are_told() {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "twins");
    let args = ["--set", "process.id=same", "--set", "client.id=same"];
    let mut workers = [job.start(dir.path(), "a", &args), job.start(dir.path(), "b", &args)];
    let producer = broker.producer();
    let mut n = 0;
    until("one of them ends", || {
        feed(&producer, &job.input, n..n + 10, None);
        n += 10;
        workers.iter_mut().any(Worker::ended)
    });
    let ended = workers.iter_mut().find_map(|w| w.ended().then_some(w)).expect("one has");
    assert!(!ended.wait(Duration::ZERO).success());
    let told = "another process uses the transactional id `twins-same-0`";
    assert!(ended.log().contains(told), "{}", ended.log());
}
