use super::*;
use crate::{
    record::{TaskId, TopicPartition},
    runtime::DiskFigure,
    worker::{Counters, Latency, Progress, Snapshot, TaskSnapshot, TopicCounters},
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

fn snapshot(state: &'static str) -> Snapshot {
    let id = TaskId { sub_topology: 0, partition: 3 };
    let mut commit = Latency::default();
    commit.observe(7_000, 1);
    commit.observe(9_999_000, 1);
    let task = TaskSnapshot {
        id,
        state: "running",
        committed: vec![(TopicPartition::new("in", 3), Some(42))],
        counters: Default::default(),
        lag: 5,
        queued_bytes: 640,
        stream_time: 1_000,
        restore_remaining: 60,
        restore: Some(Progress { since: 0, offsets: 100 }),
        restored: 0,
        stores: vec![("counts".into(), 100, 10)],
    };
    let mut counters = Counters { topics: vec![TopicCounters::new("in".into())], ..Counters::default() };
    counters.topics[0].processed = 3;
    counters.topics[0].event.observe(1_500_000, 3);
    let counters = [(0, counters)].into();
    Snapshot { state, tasks: vec![task], counters, committed: 2, commit, ..Snapshot::default() }
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
    // A name that users' dashboards have is kept, against the rule that units are base units and spelt out.
    let said = String::from_utf8_lossy(&output.stderr);
    let known = |line: &&str| line.starts_with("event_latency_ms ") && line.contains("abbreviated units");
    let rest: Vec<&str> = said.lines().filter(|line| !known(line)).collect();
    assert!(rest.is_empty(), "{rest:?}");
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
    assert_eq!(tasks["threads"][0]["tasks"][0]["queued_bytes"], 640);
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

/// A board with something of everything.
fn full_board() -> Board {
    let figure = |name, store: Option<&str>| DiskFigure { name, store: store.map(str::to_owned), value: 7 };
    let of_stores = ["estimated_keys", "sst_bytes", "live_sst_bytes", "memtable_bytes", "table_reader_bytes"];
    let mut figures: Vec<_> = of_stores.map(|name| figure(name, Some("counts"))).into();
    figures.push(figure("pending_compaction_bytes", Some("counts")));
    figures.extend(["running_compactions", "running_flushes", "background_errors"].map(|name| figure(name, None)));
    figures.extend(["stopped_databases", "block_cache_bytes"].map(|name| figure(name, None)));
    figures.extend(["pinned_block_cache_bytes", "write_buffer_bytes"].map(|name| figure(name, None)));
    let board = Board::new(2, 60_000).with_disk(Some(Arc::new(move || figures.clone())));
    board.publish(0, snapshot("running"));
    board.in_call(0, "commit_transaction", true);
    board
}

/// A desk where nobody asked.
pub(super) fn full_stores() -> Stores {
    let builder = crate::topology::StreamsBuilder::new();
    builder.stream::<String, String>("in").to("out");
    let access = Access {
        queries: crate::runtime::Queries::new(1, None),
        topology: Arc::new(builder.build().unwrap()),
        token: None,
        timeout: std::time::Duration::from_secs(1),
        server: None,
    };
    Stores::new(access, true, "here:1".into())
}

fn names(page: &str) -> Vec<&str> {
    page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

#[test]
fn every_metric_of_the_table_is_served() {
    let page = metrics::text(&full_board(), Some(&full_stores()), 5_000).unwrap();
    let expected: Vec<&str> = FAMILIES.iter().map(|f| f.name).collect();
    assert_eq!(names(&page), expected);
    promtool(&page);
}

/// Two threads have the same topics, and one has a task suspended that the other has: no sample may come twice.
#[test]
fn no_sample_comes_twice() {
    let board = full_board();
    let mut other = snapshot("running");
    other.tasks[0].state = "suspended";
    board.publish(1, other);
    let page = metrics::text(&board, None, 5_000).unwrap();
    let mut series: Vec<&str> =
        page.lines().filter(|l| !l.starts_with('#')).map(|l| l.rsplit_once(' ').unwrap().0).collect();
    series.sort_unstable();
    let twice = series.windows(2).find(|two| two[0] == two[1]);
    assert_eq!(twice, None);
    assert!(page.contains("events_processed_total{topic=\"in\"} 6\n"), "{page}");
    promtool(&page);
}

#[cfg(feature = "rocksdb")]
#[test]
fn figures_of_rocksdb_are_in_the_table() {
    let directory = tempfile::TempDir::new().unwrap();
    let runtime = crate::state::RocksRuntime::new(1 << 20, 1 << 20);
    let _stores = runtime.open_task(directory.path(), &["counts"]).unwrap();
    let mut served: Vec<String> =
        runtime.properties().iter().map(|p| format!("millstream_rocksdb_{}", p.name)).collect();
    served.sort_unstable();
    let known = FAMILIES.iter().map(|f| f.name).filter(|n| n.starts_with("millstream_rocksdb_"));
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    assert_eq!(served, known);
}

#[test]
fn the_metrics_in_the_readme_are_those_of_the_program() {
    let labels = |f: &Family| f.labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
    let row = |f: &Family| format!("| `{}` | {} | {} | {} |\n", f.name, f.kind.name(), labels(f), f.help);
    let rows: String = FAMILIES.iter().map(row).collect();
    let table = format!("| metric | type | labels | what it says |\n|---|---|---|---|\n{rows}");
    let (_, rest) = include_str!("../../README.md").split_once("<!-- metrics -->\n").expect("the table's start");
    let (found, _) = rest.split_once("<!-- /metrics -->").expect("the table's end");
    assert!(found == table, "put this between the marks in README.md:\n{table}");
}

#[test]
fn a_taken_address_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let fault = serve(&listen, Board::new(1, 1), String::new()).unwrap_err();
    assert!(fault.to_string().contains("can't listen"), "{fault}");
    assert!(fault.to_string().contains("http.listen"), "{fault}");
}
