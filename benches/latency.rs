//! From an input record to the result that readers of committed records see: the worker and Kafka Streams in turn, a
//! counting of windows with a commit each 100 ms, and the worker with one each 20 ms. Writes benches/LATENCY.md.
//! `make latency` runs it.
//!
//! `latency [--warm-s 20] [--measure-s 20]`

#![expect(unsafe_code, reason = "wait4 tells what a finished process has used")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and starts threads")]

#[path = "../tests/worker/broker.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod broker;
#[path = "programs.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod programs;

use broker::Broker;
use programs::{HEAP, Java, Running, machine, worker};
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use std::{
    fmt::Write as _,
    fs,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const RATES: [u64; 2] = [5_000, 20_000];
const KEYS: u64 = 200_000;
const PARTITIONS: i32 = 8;

/// A program under measurement.
#[derive(Clone, Copy)]
struct Program {
    name: &'static str,
    worker: bool,
    commit_ms: &'static str,
}

const PROGRAMS: [Program; 3] = [
    Program { name: "millstream", worker: true, commit_ms: "100" },
    Program { name: "Kafka Streams", worker: false, commit_ms: "100" },
    Program { name: "millstream", worker: true, commit_ms: "20" },
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1).cloned());
    let seconds =
        |name: &str| Duration::from_secs(option(name).map_or(20, |n| n.parse().expect("a number of seconds")));
    let (warm, measured) = (seconds("--warm-s"), seconds("--measure-s"));
    let (broker, java) = (Broker::start(), Java::build());
    let mut text = format!(
        "# From input to committed result\n\n\
         Written by `make latency`: milliseconds from the timestamp of an input record to the moment at which a reader of committed\n\
         records has the count it is the last of. Exactly once, one stream thread, {PARTITIONS} partitions, {KEYS} keys in windows of a\n\
         minute; {} s to warm up, {} s measured. Producer, broker, program and reader share {}.\n\n\
         | program | commit interval | records/s | median | 99 of 100 | greatest |\n|---|---|---|---|---|---|\n",
        warm.as_secs(),
        measured.as_secs(),
        machine()
    );
    for (run, program) in PROGRAMS.into_iter().enumerate() {
        for rate in RATES {
            let millis = measure(&broker, &java, program, &format!("latency-{run}-{rate}"), rate, warm, measured);
            let at = |hundredth: usize| millis.get(millis.len() * hundredth / 100).copied().unwrap_or(-1);
            let line = format!(
                "| {} | {} ms | {rate} | {} | {} | {} |",
                program.name,
                program.commit_ms,
                at(50),
                at(99),
                millis.last().copied().unwrap_or(-1)
            );
            println!("{line}");
            let _ = writeln!(text, "{line}");
        }
    }
    fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/LATENCY.md"), text).expect("the page can be written");
}

fn start(broker: &Broker, java: &Java, program: Program, id: &str, state: &str) -> Running {
    let (input, output) = (format!("{id}-in"), format!("{id}-out"));
    for topic in [&input, &output] {
        broker.create_topic(topic, PARTITIONS);
    }
    let command = if program.worker {
        let mut command = Command::new(worker());
        command.args(["run", "bench-window-count"]);
        for (name, value) in [
            ("application.id", id),
            ("bootstrap.servers", &broker.address),
            ("state.dir", state),
            ("input.topic", &input),
            ("output.topic", &output),
            ("commit.interval.ms", program.commit_ms),
            ("replication.factor", "1"),
            ("http.listen", "127.0.0.1:0"),
            ("log.level", "warn"),
        ] {
            command.args(["--set", &format!("{name}={value}")]);
        }
        command
    } else {
        let args = ["app", "--topology", "window-count", "--in", &input, "--out", &output, "--app-id", id];
        let mut command = java.command(&broker.address, HEAP, &args);
        command.args(["--state-dir", state, "--commit-ms", program.commit_ms, "--stay"]);
        command
    };
    Running::start(command)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// Sorted latencies in milliseconds.
fn measure(
    broker: &Broker,
    java: &Java,
    program: Program,
    id: &str,
    rate: u64,
    warm: Duration,
    measured: Duration,
) -> Vec<i64> {
    let state = tempfile::tempdir().expect("a directory");
    let running = start(broker, java, program, id, state.path().to_str().expect("a plain path"));
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("group.id", format!("{id}-reader"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[&format!("{id}-out")]).expect("a name");
    let stop = AtomicBool::new(false);
    let mut millis = thread::scope(|scope| {
        scope.spawn(|| feed(&broker.address, &format!("{id}-in"), rate, &stop));
        let mut millis = Vec::new();
        let mut first = None;
        loop {
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message.expect("the output can be read");
            let begun = first.get_or_insert_with(Instant::now).elapsed();
            if begun > warm + measured {
                break;
            }
            if begun > warm {
                millis.push(now_ms() - message.timestamp().to_millis().expect("records have timestamps"));
            }
        }
        stop.store(true, Ordering::Relaxed);
        millis
    });
    drop(running);
    millis.sort_unstable();
    millis
}

/// Sends records at an even pace; their timestamp is the moment that the pace wanted.
fn feed(broker: &str, topic: &str, rate: u64, stop: &AtomicBool) {
    // A minute's worth: a slow broker shows in the figures. Without a limit of what is under way, every few records become a
    // request, and they queue up in front of the broker.
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("linger.ms", "1")
        .set("max.in.flight.requests.per.connection", "5")
        .set("queue.buffering.max.messages", "2000000")
        .create()
        .expect("a producer");
    let (start, start_ms) = (Instant::now(), now_ms());
    for n in 0_u64.. {
        let due = Duration::from_micros(n * 1_000_000 / rate);
        if n.is_multiple_of(20) {
            if let Some(wait) = due.checked_sub(start.elapsed()) {
                thread::sleep(wait);
            }
            producer.poll(Duration::ZERO);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let key = format!("user-{:07}", n.wrapping_mul(2_654_435_761) % KEYS);
        let value =
            format!("{{\"user\":\"{key}\",\"amount\":12.50,\"kind\":\"buy\",\"page\":\"/p/007\",\"seq\":{n:010}}}");
        let record = BaseRecord::to(topic).key(&key).payload(&value).timestamp(start_ms + due.as_millis() as i64);
        producer.send(record).map_err(|(error, _)| error).expect("the queue is large enough");
    }
    producer.flush(Duration::from_secs(10)).expect("all is written");
}
