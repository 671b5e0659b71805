use super::*;
use crate::{
    record::{TaskId, TopicPartition},
    worker::{Latency, Snapshot, TaskSnapshot},
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

fn snapshot(state: &'static str) -> Snapshot {
    let id = TaskId { sub_topology: 0, partition: 3 };
    let mut commit_ms = Latency::default();
    commit_ms.observe(7);
    commit_ms.observe(9_999);
    let task = TaskSnapshot {
        id,
        state: "running",
        committed: vec![(TopicPartition::new("in", 3), Some(42))],
        counters: Default::default(),
        lag: 5,
        stream_time: 1_000,
        restore_remaining: 0,
        stores: vec![("counts".into(), 100, 10)],
    };
    let counters = [(0, Default::default())].into();
    Snapshot { state, tasks: vec![task], counters, committed: 2, commit_ms, ..Snapshot::default() }
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Prometheus' own check, where the tool is installed (`make tools`).
fn promtool(metrics: &str) {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else { return };
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pages_follow_the_board() {
    let board = Board::new(1, 60_000);
    let address = serve("127.0.0.1:0", board.clone(), "Topologies:\n".into()).unwrap();
    assert_eq!(get(address, "/health/live").0, 200);
    assert_eq!(get(address, "/health/ready").0, 503);
    board.publish(0, snapshot("restoring"));
    assert_eq!(get(address, "/health/ready"), (503, "stream thread 0 is restoring\n".into()));
    board.publish(0, snapshot("running"));
    assert_eq!(get(address, "/health/ready"), (200, "ok\n".into()));
    assert_eq!(get(address, "/topology").1, "Topologies:\n");
    let tasks: serde_json::Value = serde_json::from_str(&get(address, "/tasks").1).unwrap();
    assert_eq!(tasks["threads"][0]["tasks"][0]["task"], "0_3");
    assert_eq!(get(address, "/nowhere").0, 404);
    let (status, metrics) = get(address, "/metrics");
    assert_eq!(status, 200);
    for line in [
        "millstream_transactions_total{thread=\"0\",outcome=\"committed\"} 2",
        "millstream_task_lag_records{task=\"0_3\"} 5",
        "millstream_committed_offset{topic=\"in\",partition=\"3\"} 42",
        "millstream_commit_duration_seconds_bucket{thread=\"0\",le=\"0.01\"} 1",
        "millstream_commit_duration_seconds_bucket{thread=\"0\",le=\"+Inf\"} 2",
        "events_failed_total{topic=\"in\",error_type=\"late\"} 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
    promtool(&metrics);
}

#[test]
fn a_taken_address_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let fault = serve(&listen, Board::new(1, 1), String::new()).unwrap_err();
    assert!(fault.to_string().contains("can't listen"), "{fault}");
    assert!(fault.to_string().contains("http.listen"), "{fault}");
}
