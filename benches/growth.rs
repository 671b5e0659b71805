//! How the cost of a record grows with partitions, commits, keys and stream threads. Writes benches/GROWTH.md and its pictures.
//! `make growth` runs it.
//!
//! `growth [--only partitions|interval|keys|threads] [--scale 1.0]`: a smaller scale takes fewer records.

#![expect(unsafe_code, reason = "wait4 tells what a finished process has used")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tests/worker/broker.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod broker;
#[path = "chart.rs"]
mod chart;
#[path = "programs.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod programs;

use broker::Broker;
use chart::Chart;
use programs::{HEAP, Java, TEN_THOUSAND_DAYS_MS, Used, machine, measure, worker};
use std::{fmt::Write as _, fs, process::ExitCode};

const BENCHES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches");
/// The limit that state of ten million keys must not break, and by how much resident memory may lie above it.
const LIMIT_MIB: u64 = 512;
const ABOVE: f64 = 1.1;
/// Ten million different keys turn up among so many records over so many keys.
const MANY: (u64, u64) = (12_000_000, 24_000_000);

/// One measured point.
struct Point {
    label: &'static str,
    partitions: i32,
    keys: u64,
    threads: u32,
    records: u64,
    commit_ms: u32,
}

/// What changes along one curve, all else being equal.
struct Curve {
    name: &'static str,
    topology: &'static str,
    about: &'static str,
    points: &'static [Point],
}

const fn point(label: &'static str, partitions: i32, keys: u64, threads: u32, records: u64) -> Point {
    Point { label, partitions, keys, threads, records, commit_ms: 100 }
}

/// A point with a commit interval of its own.
const fn commits(label: &'static str, commit_ms: u32) -> Point {
    Point { label, partitions: 128, keys: 200_000, threads: 1, records: 3_000_000, commit_ms }
}

const CURVES: &[Curve] = &[
    Curve {
        name: "partitions",
        topology: "bench-window-count",
        about: "one process with one stream thread reads all partitions: 200,000 keys in windows of a minute",
        points: &[
            point("8", 8, 200_000, 1, 3_000_000),
            point("32", 32, 200_000, 1, 3_000_000),
            point("64", 64, 200_000, 1, 3_000_000),
            point("128", 128, 200_000, 1, 3_000_000),
            point("256", 256, 200_000, 1, 3_000_000),
        ],
    },
    Curve {
        name: "interval",
        topology: "bench-window-count",
        about: "`commit.interval.ms` of one process with 128 partitions: the longer, the more records has each batch of a partition",
        points: &[commits("100 ms", 100), commits("300 ms", 300), commits("1 s", 1_000)],
    },
    Curve {
        name: "keys",
        topology: "bench-count",
        about: "a count per key without windows, so that the state holds every key; 8 partitions",
        points: &[
            point("10 k", 8, 10_000, 1, 3_000_000),
            point("100 k", 8, 100_000, 1, 3_000_000),
            point("1 M", 8, 1_000_000, 1, 4_000_000),
            point("10 M", 8, MANY.0, 1, MANY.1),
        ],
    },
    Curve {
        name: "threads",
        topology: "bench-window-count",
        about: "stream threads of one process: 8 partitions, 200,000 keys in windows of a minute",
        points: &[
            point("1", 8, 200_000, 1, 3_000_000),
            point("2", 8, 200_000, 2, 3_000_000),
            point("4", 8, 200_000, 4, 3_000_000),
        ],
    },
];

struct Bench {
    broker: Broker,
    java: Java,
    scratch: tempfile::TempDir,
    runs: usize,
    /// What the input topic holds, and its name.
    loaded: Option<(i32, u64, u64)>,
    topic: String,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1).cloned());
    let scale: f64 = option("--scale").map_or(1.0, |n| n.parse().expect("--scale takes a number"));
    let only = option("--only");
    let scratch = tempfile::tempdir().expect("a directory");
    let mut bench =
        Bench { broker: Broker::start(), java: Java::build(), scratch, runs: 0, loaded: None, topic: String::new() };
    let (mut text, mut kept) = (head(), true);
    for curve in CURVES.iter().filter(|c| only.as_ref().is_none_or(|o| c.name == o)) {
        let measured: Vec<Used> =
            curve.points.iter().map(|point| bench.measure(curve.topology, point, scale)).collect();
        kept &= section(&mut text, curve, &measured, scale);
        if only.is_none() {
            fs::write(format!("{BENCHES}/growth-{}.svg", curve.name), picture(curve, &measured, scale))
                .and_then(|()| fs::write(format!("{BENCHES}/GROWTH.md"), &text))
                .expect("the page can be written");
        }
    }
    println!("{text}");
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Point {
    fn records(&self, scale: f64) -> u64 {
        (self.records as f64 * scale) as u64
    }

    fn cpu(&self, used: &Used, scale: f64) -> f64 {
        used.cpu_s / (self.records(scale) as f64 / 1e6)
    }
}

impl Bench {
    /// Runs the worker once over the point's input; the same input is loaded once.
    fn measure(&mut self, topology: &str, point: &Point, scale: f64) -> Used {
        self.runs += 1;
        let input = (point.partitions, point.keys, point.records(scale));
        if self.loaded != Some(input) {
            let [partitions, keys, n] = [input.0.to_string(), input.1.to_string(), input.2.to_string()];
            let topic = format!("in-{}", self.runs);
            // All partitions must have their leader: Java's idempotent producer loses count where the first ones have none.
            self.broker.create_topic(&topic, input.0);
            assert_eq!(self.broker.ranges(&topic).len(), usize::try_from(input.0).expect("partitions"));
            let load = ["load", "--topic", &topic, "--partitions", &partitions, "--keys", &keys, "--n", &n];
            let done = self.java.command(&self.broker.address, HEAP, &load).status();
            assert!(done.is_ok_and(|s| s.success()), "the input is loaded");
            self.loaded = Some(input);
            self.topic = topic;
        }
        let id = format!("growth-{}", self.runs);
        let state = self.scratch.path().join(&id);
        let mut command = std::process::Command::new(worker());
        command.args(["run", topology, "--until-end", "--create-topics"]);
        for (name, value) in [
            ("application.id", id.as_str()),
            ("bootstrap.servers", &self.broker.address),
            ("state.dir", state.to_str().expect("a plain path")),
            ("input.topic", &self.topic),
            ("output.topic", &format!("{id}-out")),
            ("windowstore.changelog.additional.retention.ms", TEN_THOUSAND_DAYS_MS),
            ("memory.limit", &format!("{LIMIT_MIB}MiB")),
            ("num.stream.threads", &point.threads.to_string()),
            ("commit.interval.ms", &point.commit_ms.to_string()),
            ("http.listen", "127.0.0.1:0"),
            ("log.level", "warn"),
        ] {
            command.args(["--set", &format!("{name}={value}")]);
        }
        let used = measure(command);
        let _ = fs::remove_dir_all(state);
        eprintln!("{topology} {}: {:.1} CPU s, {:.1} s, {:.0} MB", point.label, used.cpu_s, used.wall_s, used.rss_mb);
        used
    }
}

fn head() -> String {
    format!(
        "# How the cost of a record grows\n\n\
         Written by `make growth`: one run of each point, a whole process each time, its start and end included. Exactly once, a\n\
         commit each 100 ms where nothing else is said, values of about 100 bytes, uniform keys, `memory.limit={LIMIT_MIB}MiB`. The broker shares this machine:\n\
         {}.\n",
        machine()
    )
}

/// A table and the picture of one curve. False when memory went over its limit.
fn section(text: &mut String, curve: &Curve, measured: &[Used], scale: f64) -> bool {
    let most = LIMIT_MIB as f64 * 1024.0 * 1024.0 / 1e6 * ABOVE;
    let _ = write!(
        text,
        "\n## By {0}\n\n{1}.\n\n![CPU seconds per million records by {0}](growth-{0}.svg)\n\n\
         | {0} | records | CPU s per million records | thousand records/s | peak MB |\n|---|---|---|---|---|\n",
        curve.name, curve.about
    );
    let mut kept = true;
    for (point, used) in curve.points.iter().zip(measured) {
        let records = point.records(scale) as f64;
        let over = if used.rss_mb > most { " **over the limit**" } else { "" };
        kept &= over.is_empty();
        let _ = writeln!(
            text,
            "| {} | {:.1} M | {:.2} | {:.0} | {:.0}{over} |",
            point.label,
            records / 1e6,
            point.cpu(used, scale),
            records / used.wall_s / 1e3,
            used.rss_mb,
        );
    }
    kept
}

fn picture(curve: &Curve, measured: &[Used], scale: f64) -> String {
    let points = curve.points.iter().zip(measured).map(|(point, used)| (point.label, point.cpu(used, scale)));
    Chart { title: "CPU seconds per million records", axis: curve.name }.draw(&points.collect::<Vec<_>>())
}
