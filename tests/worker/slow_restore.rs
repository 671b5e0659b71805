//! A task that restores for a long time beside others that process.

use super::{
    BASE_MS, LIMIT,
    broker::Broker,
    check_rows, recount,
    replica::{Launch, Replica},
};
use rdkafka::producer::Producer;
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Rows of the task that restores: each key once.
const ROWS: i64 = 200_000;
/// What the broker lets the restore read in a second; at first it tolerates ten seconds' worth at once.
const BYTES_A_SECOND: u32 = 1_000_000;
const RESTORES_FOR: Duration = Duration::from_secs(10);
/// Longest time between two commits of the task that processes, on a machine that is busy with other tests.
const STANDSTILL_MAX: Duration = Duration::from_secs(5);
/// Unlimited, the rows of the large store take four times as much.
const TABLE_BYTES: u64 = 8 << 20;
const MEMORY_MAX: u64 = 160 << 20;

type Record = (i32, String, String, i64);

fn large(n: i64) -> Record {
    (0, format!("the-key-of-a-large-store-{n:07}"), String::new(), BASE_MS + n % 60_000)
}

fn small(n: i64) -> Record {
    (1, format!("key-{}", n % 5_000), String::new(), BASE_MS + n % 60_000)
}

struct Scene {
    broker: Arc<Broker>,
    input: String,
    output: String,
    launch: Launch,
    _directory: tempfile::TempDir,
    large: i64,
    small: i64,
}

impl Scene {
    /// The worker of an application has counted records of two partitions, and has lost its disk.
    fn new(application: &str, large_records: i64, small_records: i64) -> Self {
        let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
        let (input, output) = (format!("{application}-in"), format!("{application}-out"));
        broker.create_topic(&input, 2);
        broker.create_topic(&output, 2);
        let launch = Launch::new("bench-window-count", application, &broker.address, directory.path())
            .set("input.topic", &input)
            .set("output.topic", &output)
            .set("windowstore.changelog.additional.retention.ms", "864000000000")
            .set("process.id", "one")
            .set("producer.compression.type", "none")
            .set("state.memory.bytes", &TABLE_BYTES.to_string());
        broker.write(&input, (0..large_records).map(large).chain((0..small_records).map(small)), None);
        launch.clone().flag("--until-end").run(0, LIMIT);
        std::fs::remove_dir_all(launch.home(0)).expect("the state was there");
        Self { broker, input, output, launch, _directory: directory, large: large_records, small: small_records }
    }

    fn start(&self) -> Replica {
        self.launch.clone().set("http.listen", "127.0.0.1:0").start(0)
    }

    /// Writes some records for the task that processes.
    fn feed(&mut self) {
        self.broker.write(&self.input, (self.small..self.small + 10).map(small), None);
        self.small += 10;
    }

    /// Works off what is left and compares with the recount of all that was written.
    fn check(&self, mut replica: Replica) {
        replica.signal("TERM");
        let status = replica.wait(LIMIT);
        assert!(status.success(), "{status}; its log:\n{}", replica.log());
        self.launch.clone().flag("--until-end").run(0, LIMIT);
        let records = (0..self.large).map(large).chain((0..self.small).map(small));
        check_rows("output", &self.broker.fold(&self.output), &recount(records));
    }
}

fn state(tasks: &[serde_json::Value], task: &str) -> String {
    let task = tasks.iter().find(|t| t["task"] == task);
    task.and_then(|t| t["state"].as_str()).unwrap_or_default().to_owned()
}

/// How long the large task restored, and what was seen meanwhile.
#[derive(Debug, Default)]
struct Seen {
    restored_for: Duration,
    /// Times that the output of the other task had moved, and the longest time between two of them.
    moves: u32,
    standstill: Duration,
    table_bytes: u64,
}

fn watch(scene: &mut Scene, replica: &mut Replica) -> Seen {
    let deadline = Instant::now() + LIMIT;
    let (mut seen, mut since, mut moved) = (Seen::default(), None, Instant::now());
    let (mut end, mut remaining) = (0, i64::MAX);
    loop {
        assert!(replica.alive() && Instant::now() < deadline, "no progress:\n{}", replica.log());
        scene.feed();
        let tasks = replica.tasks();
        let large = state(&tasks, "0_0");
        if large == "restoring" && state(&tasks, "0_1") == "running" {
            let since = *since.get_or_insert_with(Instant::now);
            moved = moved.max(since);
            let now = scene.broker.stable_end(&scene.output, 1);
            if now > end {
                seen.moves += 1;
                seen.standstill = seen.standstill.max(moved.elapsed());
                (end, moved) = (now, Instant::now());
            }
            let sum = |name: &str| -> i64 { tasks.iter().filter_map(|t| t[name].as_i64()).sum() };
            let left = sum("restore_remaining");
            assert!(left <= remaining, "{left} records are left to restore after {remaining}");
            remaining = left;
            let tables = tasks.iter().filter_map(|t| t["stores"]["counts"]["table_bytes"].as_u64()).sum();
            seen.table_bytes = seen.table_bytes.max(tables);
        } else if let Some(since) = since
            && large == "running"
        {
            seen.standstill = seen.standstill.max(moved.elapsed());
            seen.restored_for = since.elapsed();
            return seen;
        }
        thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn a_task_processes_while_another_one_restores() {
    let mut scene = Scene::new("slow", ROWS, 1_000);
    scene.broker.slow_down("slow-one-000-restore", BYTES_A_SECOND);
    let mut replica = scene.start();
    let seen = watch(&mut scene, &mut replica);
    let memory = replica.peak_memory();
    eprintln!("{seen:?}, {} MiB resident at most", memory >> 20);
    assert!(seen.restored_for >= RESTORES_FOR, "{seen:?}");
    assert!(seen.moves >= 10 && seen.standstill < STANDSTILL_MAX, "{seen:?}");
    assert!(seen.table_bytes < 2 * TABLE_BYTES, "{seen:?}");
    assert!(memory < MEMORY_MAX, "{} MiB resident", memory >> 20);
    scene.check(replica);
}

#[test]
fn a_hung_transaction_in_one_changelog_holds_up_no_other_task() {
    let mut scene = Scene::new("hung", 1_000, 5_000);
    let hung = scene.broker.open_transaction("hung-counts-changelog", 0);
    let before = scene.broker.stable_end(&scene.output, 1);
    let mut replica = scene.start();
    let deadline = Instant::now() + LIMIT;
    let mut wait_for = |scene: &mut Scene, done: &dyn Fn(&Scene, &str) -> bool| loop {
        assert!(replica.alive() && Instant::now() < deadline, "no progress:\n{}", replica.log());
        scene.feed();
        if done(scene, &state(&replica.tasks(), "0_0")) {
            return;
        }
        thread::park_timeout(Duration::from_millis(100));
    };
    wait_for(&mut scene, &|scene, large| large == "restoring" && scene.broker.stable_end(&scene.output, 1) > before);
    hung.abort_transaction(Duration::from_secs(30)).expect("aborts");
    wait_for(&mut scene, &|_, large| large == "running");
    scene.check(replica);
}
