//! What operators see of a running worker: metrics, health, logs.

use super::{LIMIT, PARTITIONS, Scene, input, replica::Replica};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Status and body of a page; `None` while nobody listens.
fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Asks again and again until there is an answer.
fn until<T>(replica: &mut Replica, what: &str, mut ask: impl FnMut(&Replica) -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask(replica) {
            return answer;
        }
        assert!(replica.alive(), "the worker ended before {what}:\n{}", replica.log());
        assert!(Instant::now() < deadline, "no {what}:\n{}", replica.log());
        thread::yield_now();
    }
}

/// Every line of a log; each must be JSON and say when, how bad, what, and on which thread.
fn lines(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| {
            let parsed: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            for field in ["timestamp", "level", "message", "threadName"] {
                assert!(parsed[field].is_string(), "{field} is not in {line}");
            }
            parsed
        })
        .collect()
}

/// The value of a sample, written as in the text format.
fn sample(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// What Prometheus' own check says, where the tool is installed (`make tools`).
fn promtool(page: &str) -> Vec<String> {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else { return Vec::new() };
    child.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect()
}

/// Waits until the worker serves, then until it is ready; returns its address. Before, it says why it is not.
fn ready(replica: &mut Replica) -> String {
    let address = until(replica, "address", |replica| {
        let served = replica.whole_log().lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()).next()?;
        served["address"].as_str().map(str::to_owned)
    });
    assert_eq!(get(&address, "/health/live").expect("it listens").0, 200, "alive from the start");
    let mut reasons: Vec<String> = Vec::new();
    until(replica, "readiness", |_| match get(&address, "/health/ready")? {
        (200, _) => Some(()),
        (status, reason) => {
            assert_eq!(status, 503);
            reasons.push(reason.trim().to_owned());
            None
        }
    });
    assert!(!reasons.is_empty(), "a worker is not ready at once");
    let known = |reason: &String| {
        ["threads have started", "is starting", "is rebalancing", "is restoring"].iter().any(|r| reason.ends_with(r))
    };
    assert!(reasons.iter().all(known), "{reasons:?}");
    address
}

#[test]
fn metrics_health_and_logs_tell_what_a_worker_does() {
    const RECORDS: i64 = 20_000;
    let mut scene = Scene::new("operations");
    scene.launch = scene
        .launch
        .set("http.listen", "127.0.0.1:0")
        .set("log.format", "json")
        .set("state.persist.interval.ms", "300");
    scene.broker.write(&scene.input(), input(0, RECORDS), None);
    let mut replica = scene.launch.start(0);
    let address = ready(&mut replica);

    let page = until(&mut replica, "all records on disk", |_| {
        let (status, page) = get(&address, "/metrics")?;
        assert_eq!(status, 200, "{page}");
        let counted = sample(&page, "event_latency_ms_count{topic=\"operations-in\"}") == Some(RECORDS as f64);
        let on_disk =
            sample(&page, "millstream_rocksdb_estimated_keys{store=\"counts\"}").is_some_and(|keys| keys > 0.0);
        (counted && on_disk).then_some(page)
    });
    let named = |line: &String| line.starts_with("event_latency_ms ") && line.contains("abbreviated units");
    let said: Vec<_> = promtool(&page).into_iter().filter(|line| !named(line)).collect();
    assert!(said.is_empty(), "{said:?}");
    let value = |name: &str| sample(&page, name).unwrap_or_else(|| panic!("{name} is not in\n{page}"));
    let records = RECORDS as f64;
    assert_eq!(value("events_processed_total{topic=\"operations-in\"}"), records);
    assert_eq!(value("millstream_processed_records_total{thread=\"0\",sub_topology=\"0\"}"), records);
    assert_eq!(value("events_failed_total{topic=\"operations-in\",error_type=\"deserialization\"}"), 0.0);
    assert_eq!(value("millstream_end_to_end_latency_seconds_count{sub_topology=\"0\"}"), records);
    assert_eq!(value("millstream_tasks{state=\"running\"}"), f64::from(PARTITIONS));
    assert_eq!(value("millstream_thread_state{thread=\"0\",state=\"running\"}"), 1.0);
    let commits = value("millstream_transactions_total{thread=\"0\",outcome=\"committed\"}");
    assert!(commits >= 1.0);
    for phase in ["fetch", "queue", "process"] {
        let name = format!("millstream_processing_duration_seconds_count{{thread=\"0\",phase=\"{phase}\"}}");
        assert!(value(&name) >= records, "{name}");
    }
    for phase in ["prepare", "send", "offsets", "end", "apply"] {
        let name = format!("millstream_commit_phase_duration_seconds_count{{thread=\"0\",phase=\"{phase}\"}}");
        assert!(value(&name) >= commits, "{name}");
    }
    for task in 0..PARTITIONS {
        assert_eq!(value(&format!("millstream_task_lag_records{{task=\"0_{task}\"}}")), 0.0);
    }
    assert_eq!(get(&address, "/health/live").expect("it listens").0, 200);

    // Another member comes: the partitions are dealt out anew, and the log says which tasks went where.
    let mut other = scene.launch.start(1);
    let theirs = ready(&mut other);
    until(&mut replica, "second assignment", |_| {
        let page = get(&address, "/metrics")?.1;
        (sample(&page, "millstream_rebalances_total{thread=\"0\"}")? >= 2.0).then_some(())
    });
    until(&mut other, "its half of the tasks", |_| {
        let tasks = sample(&get(&theirs, "/metrics")?.1, "millstream_tasks{state=\"running\"}")?;
        (tasks == f64::from(PARTITIONS / 2)).then_some(())
    });
    for replica in [&mut replica, &mut other] {
        replica.signal("TERM");
        assert!(replica.wait(Duration::from_secs(60)).success(), "{}", replica.log());
    }
    let log = lines(&replica.whole_log());
    let assigned: Vec<&str> =
        log.iter().filter(|l| l["message"] == "assigned").filter_map(|l| l["tasks"].as_str()).collect();
    assert_eq!(assigned.first(), Some(&"0_0 0_1 0_2 0_3 0_4 0_5 0_6 0_7"), "{log:#?}");
    assert_eq!(assigned[1].split(' ').count(), usize::try_from(PARTITIONS / 2).expect("a count"));
    assert!(log.iter().any(|l| l["message"] == "assigned" && l["threadName"] == "stream-0"));
    assert_eq!(log.last().expect("a log")["message"], "stopped as asked; everything is committed");

    // Without its disk it restores, and the log names the tasks.
    std::fs::remove_dir_all(scene.launch.home(0).join("state")).expect("the state was there");
    let before = replica.whole_log().len();
    let mut replica = scene.launch.start(0);
    until(&mut replica, "restore", |replica| {
        let log = replica.whole_log();
        let restored = lines(log[before..].rsplit_once('\n')?.0);
        restored.iter().find(|l| l["message"] == "restored").map(|l| {
            assert!(l["task"].as_str().is_some_and(|t| t.starts_with("0_")), "{l}");
            assert!(l["records"].as_u64().is_some_and(|n| n > 0), "{l}");
        })
    });
}
