//! The worker and Kafka Streams, side by side: the same topics on the same broker, in turn, whole processes measured by
//! the operating system. Writes benches/RESULTS.md. `make bench` runs it.
//!
//! `side_by_side [--runs 3] [--records 5000000] [--only NAME]`

#![expect(unsafe_code, reason = "wait4 tells what a finished process has used")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tests/worker/broker.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod broker;
#[path = "programs.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod programs;

use broker::Broker;
use programs::{HEAP, Java, TEN_THOUSAND_DAYS_MS, Used, machine, measure, worker};
use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// A limit at which the worker keeps within 160 MB of resident memory.
const SMALL: &str = "144MiB";

/// One kind of work.
struct Work {
    name: &'static str,
    input: &'static str,
    /// Share of `--records`, as a divisor.
    part: u64,
    zipf: &'static str,
    /// Records of a millisecond of event time.
    per_ms: &'static str,
    /// Topology here, without its prefix, and there.
    topologies: [&'static str; 2],
    /// Extra options of the Kafka Streams program.
    options: &'static [&'static str],
    /// CPU of Kafka Streams over ours, as it should be at least.
    target: f64,
    /// The same of a restore into an empty directory, where that is measured.
    restore_target: Option<f64>,
    /// Beside the bare loop, and at a limit of memory.
    closely: bool,
}

const PLAIN: Work = Work {
    name: "window-count",
    input: "uniform",
    part: 1,
    zipf: "0",
    per_ms: "10",
    topologies: ["window-count"; 2],
    options: &[],
    target: 6.0,
    restore_target: Some(2.5),
    closely: true,
};
const HALF: Work = Work { input: "uniform-2", part: 2, restore_target: None, closely: false, ..PLAIN };

const WORKS: &[Work] = &[
    PLAIN,
    Work { name: "window-count, skewed", input: "skewed", zipf: "1.0", target: 10.0, ..HALF },
    Work {
        name: "window-count, windows kept for 70 s",
        input: "slow",
        per_ms: "1",
        topologies: ["window-count-brief", "window-count"],
        options: &["--retention-ms", "70000"],
        restore_target: Some(10.0),
        ..HALF
    },
    Work { name: "window-sum", topologies: ["window-sum"; 2], target: 7.0, ..HALF },
    Work {
        name: "repartition-count",
        input: "uniform-10",
        part: 10,
        topologies: ["repartition-count"; 2],
        options: &["--grace-ms", "60000"],
        target: 14.0,
        ..HALF
    },
    Work { name: "passthrough", topologies: ["passthrough"; 2], target: 7.0, ..HALF },
];

struct Bench {
    broker: Broker,
    java: Java,
    scratch: tempfile::TempDir,
    run: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1).cloned());
    let runs: usize = option("--runs").map_or(3, |n| n.parse().expect("--runs takes a number"));
    let records: u64 = option("--records").map_or(5_000_000, |n| n.parse().expect("--records takes a number"));
    let only = option("--only");
    let mut bench = Bench::start();
    let mut table = String::new();
    for work in WORKS.iter().filter(|w| only.as_ref().is_none_or(|o| w.name == o)) {
        bench.load(work, records / work.part);
        let (mut used, mut restores): ([Vec<Used>; 4], [Vec<Used>; 4]) = Default::default();
        for _ in 0..runs {
            used[0].push(bench.ours(work, None));
            used[1].push(bench.theirs(work));
            if work.restore_target.is_some() {
                restores[0].push(bench.restore_ours(work));
                restores[1].push(bench.restore_theirs(work));
            }
            if work.closely {
                used[2].push(bench.bare(work));
                used[3].push(bench.ours(work, Some(SMALL)));
            }
        }
        row(&mut table, work.name, work.target, records / work.part, &used);
        if let Some(target) = work.restore_target {
            row(&mut table, &format!("restore of {}", work.name), target, records / work.part, &restores);
        }
        if only.is_none() {
            let text = report(&table, runs, records);
            fs::write(format!("{ROOT}/benches/RESULTS.md"), text).expect("benches/RESULTS.md can be written");
        }
    }
    println!("{}", report(&table, runs, records));
}

impl Bench {
    fn start() -> Self {
        Self {
            broker: Broker::start(),
            java: Java::build(),
            scratch: tempfile::tempdir().expect("a directory"),
            run: 0,
        }
    }

    fn java(&self, heap: &str, args: &[&str]) -> Command {
        self.java.command(&self.broker.address, heap, args)
    }

    fn load(&self, work: &Work, records: u64) {
        let n = records.to_string();
        let load =
            ["load", "--topic", work.input, "--n", &n, "--zipf", work.zipf, "--per-ms", work.per_ms, "--recreate"];
        assert!(self.java(HEAP, &load).status().is_ok_and(|s| s.success()), "the input is loaded");
    }

    fn next(&mut self, kind: &str) -> String {
        self.run += 1;
        format!("{kind}-{}", self.run)
    }

    fn ours(&mut self, work: &Work, memory: Option<&str>) -> Used {
        let id = self.next("millstream");
        let used = measure(self.worker(work, &id, memory));
        self.verify(&id, work);
        used
    }

    fn worker(&self, work: &Work, id: &str, memory: Option<&str>) -> Command {
        let topology = format!("bench-{}", work.topologies[0]);
        let mut command = Command::new(worker());
        command.args(["run", &topology, "--until-end", "--create-topics"]);
        let state = self.scratch.path().join(id);
        let set = [
            ("application.id", id),
            ("bootstrap.servers", &self.broker.address),
            ("state.dir", state.to_str().expect("a plain path")),
            ("input.topic", work.input),
            ("output.topic", &format!("{id}-out")),
            ("windowstore.changelog.additional.retention.ms", TEN_THOUSAND_DAYS_MS),
            // As Kafka Streams has it by default; the worker's own default is lz4.
            ("producer.compression.type", "none"),
            ("http.listen", "127.0.0.1:0"),
            ("log.level", "warn"),
        ];
        for (name, value) in set {
            command.args(["--set", &format!("{name}={value}")]);
        }
        if let Some(limit) = memory {
            command.args(["--set", &format!("memory.limit={limit}")]);
        }
        command
    }

    fn theirs(&mut self, work: &Work) -> Used {
        let id = self.next("streams");
        let used = measure(self.streams(work, &id));
        self.verify(&id, work);
        used
    }

    fn streams(&self, work: &Work, id: &str) -> Command {
        let (out, state) = (format!("{id}-out"), self.scratch.path().join(id));
        let state = state.to_str().expect("a plain path");
        let mut args = vec!["app", "--topology", work.topologies[1], "--in", work.input, "--out", &out, "--app-id", id];
        args.extend(["--state-dir", state]);
        args.extend(work.options);
        self.java(HEAP, &args)
    }

    /// The last run's application starts again without its state: the whole changelog is restored.
    fn restore_ours(&mut self, work: &Work) -> Used {
        let state = self.lost("millstream");
        measure(self.worker(work, &state, None))
    }

    fn restore_theirs(&mut self, work: &Work) -> Used {
        let state = self.lost("streams");
        let mut command = self.streams(work, &state);
        command.arg("--exit-on-running");
        measure(command)
    }

    /// Removes the state of the last run of a kind. Gives the application's name.
    fn lost(&self, kind: &str) -> String {
        let mut numbers = (1..=self.run).rev().map(|run| format!("{kind}-{run}"));
        let id = numbers.find(|id| self.scratch.path().join(id).exists()).expect("there was a run");
        fs::remove_dir_all(self.scratch.path().join(&id)).expect("a temporary directory");
        id
    }

    fn bare(&mut self, work: &Work) -> Used {
        let id = self.next("bare");
        let (out, log) = (format!("{id}-out"), format!("{id}-log"));
        for topic in [&out, &log] {
            self.broker.create_topic(topic, 8);
        }
        let mut command = Command::new(worker().with_file_name("examples").join("bare_loop"));
        command.args([&self.broker.address, work.input, &out, &log]);
        let used = measure(command);
        self.verify(&id, work);
        used
    }

    /// Every run of one kind of work must have come to the same result.
    fn verify(&self, id: &str, work: &Work) {
        let out = format!("{id}-out");
        let mut command = self.java("-Xmx2g", &["verify", "--topic", &out]);
        let found = command.stdout(Stdio::piped()).output().expect("java runs");
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        let result = text.split_once("distinct=").map(|(_, rest)| rest.trim().to_owned()).expect("a result");
        let kept = self.scratch.path().join(format!("{}.result", work.name));
        match fs::read_to_string(&kept) {
            Ok(first) => assert_eq!(result, first, "{id} came to another result than the first run of {}", work.name),
            Err(_) => fs::write(kept, &result).expect("a temporary directory"),
        }
        println!("{id}: {result}");
    }
}

/// Least, median and greatest.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

fn row(table: &mut String, work: &str, target: f64, records: u64, used: &[Vec<Used>; 4]) {
    let millions = records as f64 / 1e6;
    let small = format!("millstream, `memory.limit={SMALL}`");
    for (who, used) in ["millstream", "Kafka Streams", "bare loop", &small].iter().zip(used) {
        if used.is_empty() {
            continue;
        }
        let cpu = spread(used.iter().map(|u| u.cpu_s / millions)).map(|v| format!("{v:.2}")).join(" / ");
        let wall = spread(used.iter().map(|u| records as f64 / u.wall_s / 1e3)).map(|v| format!("{v:.0}")).join(" / ");
        let rss = spread(used.iter().map(|u| u.rss_mb)).map(|v| format!("{v:.0}")).join(" / ");
        let _ = writeln!(table, "| {work}, {millions} M | {who} | {cpu} | {wall} | {rss} | |");
    }
    let ratio =
        |ours: &[Used], other: &[Used]| spread(ours.iter().zip(other).map(|(ours, other)| other.cpu_s / ours.cpu_s))[1];
    let theirs = ratio(&used[0], &used[1]);
    let _ = writeln!(table, "| | **CPU, Kafka Streams : millstream** | | | | **{theirs:.1}** (target {target}) |");
    if !used[2].is_empty() {
        let small = ratio(&used[3], &used[1]);
        let _ = writeln!(
            table,
            "| | **CPU, Kafka Streams : millstream at {SMALL}** | | | | **{small:.1}** (target {target}) |"
        );
        let over = 1.0 / ratio(&used[0], &used[2]);
        let _ = writeln!(table, "| | **CPU, millstream : bare loop** | | | | **{over:.2}** (target 1.3) |");
    }
}

fn report(table: &str, runs: usize, records: u64) -> String {
    format!(
        "# millstream and Kafka Streams 4.3.1, side by side\n\n\
         Written by `make bench`. One broker, both programs and this machine share {}. {runs} runs of each, in\n\
         turn; exactly once, one stream thread, a commit each 100 ms, RocksDB on disk, 8 partitions, values of about 100 bytes\n\
         of JSON, 200,000 keys; {records} records in the largest input. Kafka Streams has `-Xmx512m`. What is written is not\n\
         compressed, by any: so it is Kafka Streams' default (`producer.compression.type=none` here, where lz4 is). Every run's\n\
         output was read back and is the same for all. CPU and memory are of the whole process, its start included.\n\n\
         Least / median / greatest:\n\n\
         | work | program | CPU s per million records | thousand records/s | peak MB | median ratio |\n\
         |---|---|---|---|---|---|\n{table}",
        machine(),
    )
}
