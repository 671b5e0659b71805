//! From a SIGKILL in the middle of the work to the next committed output, on the same disk: the worker and Kafka Streams, each
//! as a static and as a dynamic member. Writes benches/RESTART.md. `make restart` runs it.
//!
//! `restart [--records 2000000]`

#![expect(unsafe_code, reason = "programs.rs asks the operating system what a process has used")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and starts threads")]

#[path = "../tests/worker/broker.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod broker;
#[path = "programs.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod programs;

use broker::Broker;
use programs::{HEAP, Java, Running, TEN_THOUSAND_DAYS_MS, machine, worker};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};
use std::{
    fmt::Write as _,
    fs,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 8;
const LIMIT: Duration = Duration::from_secs(180);
/// What was committed before the kill reaches the reader within this time.
const DRAIN: Duration = Duration::from_millis(1_500);

/// One program, and what it is to the group.
struct Case {
    name: &'static str,
    worker: bool,
    fixed: bool,
}

const CASES: [Case; 4] = [
    Case { name: "millstream, `group.instance.id`", worker: true, fixed: true },
    Case { name: "Kafka Streams, `group.instance.id`", worker: false, fixed: true },
    Case { name: "millstream, session timeout 10 s", worker: true, fixed: false },
    Case { name: "Kafka Streams, session timeout 45 s", worker: false, fixed: false },
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let records = args.iter().position(|a| a == "--records").and_then(|at| args.get(at + 1).cloned());
    let records = records.unwrap_or_else(|| "2000000".into());
    let (broker, java) = (Broker::start(), Java::build());
    let load = java.command(&broker.address, HEAP, &["load", "--topic", "in", "--n", &records, "--recreate"]).status();
    assert!(load.is_ok_and(|s| s.success()), "the input is loaded");
    let kill_at = records.parse::<u64>().expect("--records takes a number") * 9 / 20;
    let mut text = format!(
        "# From a SIGKILL to the next committed output\n\n\
         Written by `make restart`. A count in windows of a minute over {records} records, exactly once, one stream thread, a commit each\n\
         100 ms; killed when a reader has {kill_at} committed records of its output, and started again on the same disk {} ms later.\n\
         Broker, program and reader share {}.\n\n\
         | program | from the start to the next output, s | from the kill, s |\n|---|---|---|\n",
        DRAIN.as_millis(),
        machine()
    );
    for (number, case) in CASES.iter().enumerate() {
        let [from_start, from_kill] = measure(&broker, &java, case, &format!("restart-{number}"), kill_at);
        let line = format!("| {} | {:.1} | {:.1} |", case.name, from_start.as_secs_f64(), from_kill.as_secs_f64());
        println!("{line}");
        let _ = writeln!(text, "{line}");
    }
    fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/RESTART.md"), text).expect("the page can be written");
}

/// From the second start, and from the kill, to the first output that is new.
fn measure(broker: &Broker, java: &Java, case: &Case, id: &str, kill_at: u64) -> [Duration; 2] {
    let state = tempfile::tempdir().expect("a directory");
    let out = format!("{id}-out");
    broker.create_topic(&out, PARTITIONS);
    let start = || command(broker, java, case, id, state.path().to_str().expect("a plain path"));
    let (seen, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| count(&broker.address, &out, &seen, &stop));
        let first = start();
        wait_for(&seen, kill_at);
        drop(first);
        let killed = Instant::now();
        thread::sleep(DRAIN);
        let before = seen.load(Ordering::Relaxed);
        let started = Instant::now();
        let second = start();
        wait_for(&seen, before + 1);
        let result = [started.elapsed(), killed.elapsed()];
        drop(second);
        stop.store(true, Ordering::Relaxed);
        result
    })
}

fn wait_for(seen: &AtomicU64, wanted: u64) {
    let deadline = Instant::now() + LIMIT;
    while seen.load(Ordering::Relaxed) < wanted {
        assert!(Instant::now() < deadline, "output {wanted} does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Counts committed records of a topic.
fn count(address: &str, topic: &str, seen: &AtomicU64, stop: &AtomicBool) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", format!("{topic}-reader"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("a name");
    while !stop.load(Ordering::Relaxed) {
        if let Some(message) = consumer.poll(Duration::from_millis(20)) {
            drop(message.expect("the output can be read"));
            seen.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn command(broker: &Broker, java: &Java, case: &Case, id: &str, state: &str) -> Running {
    let out = format!("{id}-out");
    let command = if case.worker {
        let mut command = Command::new(worker());
        command.args(["run", "bench-window-count"]);
        for (name, value) in [
            ("application.id", id),
            ("bootstrap.servers", &broker.address),
            ("state.dir", state),
            ("input.topic", "in"),
            ("output.topic", &out),
            ("replication.factor", "1"),
            ("windowstore.changelog.additional.retention.ms", TEN_THOUSAND_DAYS_MS),
            ("http.listen", "127.0.0.1:0"),
            ("log.level", "warn"),
        ] {
            command.args(["--set", &format!("{name}={value}")]);
        }
        if case.fixed {
            command.args(["--set", "group.instance.id=one"]);
        }
        command
    } else {
        let args = ["app", "--topology", "window-count", "--in", "in", "--out", &out, "--app-id", id, "--stay"];
        let mut command = java.command(&broker.address, HEAP, &args);
        command.args(["--state-dir", state, "--commit-ms", "100"]);
        if case.fixed {
            command.args(["--p.group.instance.id", "one"]);
        }
        command
    };
    Running::start(command)
}
