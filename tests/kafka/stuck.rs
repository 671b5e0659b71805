//! A broker that takes connections and never answers.

use crate::{
    counting::{Job, PARTITIONS, assert_same, counted, feed, recount},
    support::{Broker, until},
};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

fn page(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_call_that_never_returns_is_seen_and_ends_the_process() {
    const EVENTS: i64 = 40_000;
    let broker = Broker::start("");
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "stuck");
    let producer = broker.producer();
    feed(&producer, &job.input, 0..EVENTS / 2, None);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let listen = format!("http.listen=127.0.0.1:{port}");
    let args = ["--set", "thread.stall.timeout.ms=6000", "--set", &listen, "--set", "commit.interval.ms=20"];
    let mut worker = job.start(dir.path(), "w", &args);
    until("it commits", || job.done() > 0);
    // More to do, so that a transaction is on its way when the broker falls silent.
    feed(&producer, &job.input, EVENTS / 2..EVENTS, None);
    broker.signal("STOP");
    until("the metrics name the call", || {
        page(port, "/metrics").is_some_and(|p| {
            p.lines().any(|l| l.starts_with("millstream_thread_call_seconds{") && !l.ends_with(" 0") && long(l))
        })
    });
    let status = worker.wait(Duration::from_secs(30));
    let log = worker.log();
    broker.signal("CONT");
    assert_eq!(status.code(), Some(70), "{log}");
    assert!(log.contains("of the Kafka client for "), "{log}");
    // The thread itself, or its commit, which goes on beside it.
    let last = log.lines().find(|l| l.ends_with("; ending the process")).unwrap_or_default();
    assert!(last.contains(" for 6") && last.contains(" of the Kafka client"), "{log}");
    // Nothing is lost and nothing is there twice.
    job.run(dir.path(), "w", &[]);
    assert_same(&recount(0..EVENTS), &counted(&broker, &job.output, PARTITIONS));
}

/// A call of more than a second.
fn long(line: &str) -> bool {
    line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).is_some_and(|seconds| seconds > 1.0)
}
