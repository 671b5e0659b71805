//! What queries cost: a worker counts 20,000 records a second in windows, alone and beside 5,000 queries a second.
//!
//! `queries BROKER [RECORDS QUERIES]`: makes topics of its own. It prints what a second took of the worker's processor
//! time, on its stream thread and in all, the rate that was kept, and how long answers took.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and starts threads")]

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Connections of the client.
const CONNECTIONS: u64 = 64;
const KEYS: u64 = 20_000;
const WARM_UP: Duration = Duration::from_secs(6);
const MEASURED: Duration = Duration::from_secs(20);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let Some(broker) = args.first() else {
        eprintln!("queries BROKER [RECORDS QUERIES]");
        std::process::exit(2);
    };
    let (records, queries) = (number(1, 20_000), number(2, 5_000));
    println!("queries/s | records/s | stream thread | whole worker | answers/s | median | 99 of 100 | refused");
    for queries in [0, queries, 0, queries] {
        measure(broker, records, queries);
    }
}

struct Worker {
    child: Child,
    address: String,
    home: PathBuf,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        let _gone = fs::remove_dir_all(&self.home);
    }
}

fn start(broker: &str, name: &str) -> Worker {
    let program = std::env::current_exe().expect("a path").parent().expect("a directory").join("../millstream");
    let home = std::env::temp_dir().join(name);
    let mut command = Command::new(program);
    command.args(["run", "bench-window-count", "--create-topics"]);
    for setting in [
        format!("application.id={name}"),
        format!("bootstrap.servers={broker}"),
        format!("input.topic={name}-in"),
        format!("output.topic={name}-out"),
        format!("state.dir={}", home.display()),
        "http.listen=127.0.0.1:0".to_owned(),
        "replication.factor=1".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the worker starts");
    let mut log = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let address = log.find_map(|line| {
        let address = line.contains("serving /metrics").then(|| line.split("address=").nth(1)).flatten()?;
        Some(address.split_whitespace().next()?.to_owned())
    });
    thread::spawn(move || log.for_each(drop));
    Worker { child, address: address.expect("it serves"), home }
}

/// Processor time so far, in milliseconds: of the stream thread, and of the process.
fn cpu(pid: u32) -> (u64, u64) {
    let of = |path: String| {
        let stat = fs::read_to_string(path).unwrap_or_default();
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect())
            .unwrap_or_default();
        fields.iter().sum::<u64>() * 10
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stream = tasks
        .map(|task| task.path().display().to_string())
        .find(|path| fs::read_to_string(format!("{path}/comm")).is_ok_and(|name| name.starts_with("stream-")));
    (stream.map_or(0, |path| of(format!("{path}/stat"))), of(format!("/proc/{pid}/stat")))
}

fn key(n: u64) -> String {
    format!("user-{:05}", n.wrapping_mul(2_654_435_761) % KEYS)
}

/// Waits for the moment of event `n` of so many a second.
fn pace(start: Instant, n: u64, a_second: u64) {
    let due = Duration::from_micros(n * 1_000_000 / a_second);
    if let Some(wait) = due.checked_sub(start.elapsed()) {
        thread::sleep(wait);
    }
}

fn feed(broker: &str, topic: &str, a_second: u64, stop: &AtomicBool) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", broker).set("linger.ms", "5").create().expect("a producer");
    let start = Instant::now();
    for n in 0u64.. {
        if n.is_multiple_of(100) {
            pace(start, n, a_second);
            producer.poll(Duration::ZERO);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let key = key(n);
        let record = BaseRecord::to(topic).key(&key).payload("0123456789012345").timestamp(now as i64);
        producer.send(record).map_err(|(error, _)| error).expect("the queue is large enough");
    }
    producer.flush(Duration::from_secs(10)).expect("all is written");
}

/// Answers by their status and time.
#[derive(Default)]
struct Answers {
    refused: AtomicU64,
    micros: Mutex<Vec<u64>>,
}

/// One connection of the client, kept open.
fn ask(address: &str, connection: u64, a_second: u64, answers: &Answers, stop: &AtomicBool) {
    let stream = TcpStream::connect(address).expect("it serves");
    stream.set_nodelay(true).expect("a socket");
    let mut writer = stream.try_clone().expect("a socket");
    let mut reader = BufReader::new(stream);
    let (start, mut line) = (Instant::now(), String::new());
    let mut micros = Vec::new();
    for n in 0u64.. {
        pace(start, n * CONNECTIONS + connection, a_second);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let asked = Instant::now();
        let window = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() / 60_000 * 60_000;
        let key = key(n * CONNECTIONS + connection);
        let request = format!("GET /stores/counts/keys/{key}?from={window}&to={window} HTTP/1.1\r\nHost: x\r\n\r\n");
        writer.write_all(request.as_bytes()).expect("it takes requests");
        let (mut status, mut length) = (0, 0);
        loop {
            line.clear();
            reader.read_line(&mut line).expect("it answers");
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0);
            } else if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.trim().parse().expect("a number");
            } else if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("it answers");
        if status == 200 {
            micros.push(asked.elapsed().as_micros() as u64);
        } else {
            answers.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
    answers.micros.lock().expect("no panic while held").append(&mut micros);
}

/// A sample of the worker's metrics.
fn processed(address: &str) -> f64 {
    let mut stream = TcpStream::connect(address).expect("it serves");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it takes requests");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
    let counts = page.lines().filter(|line| line.starts_with("events_processed_total{"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn measure(broker: &str, records: u64, queries: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let name = format!("queries-{now}");
    let worker = start(broker, &name);
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Answers::default()));
    let mut threads = vec![{
        let (broker, topic, stop) = (broker.to_owned(), format!("{name}-in"), Arc::clone(&stop));
        thread::spawn(move || feed(&broker, &topic, records, &stop))
    }];
    thread::sleep(WARM_UP);
    if queries > 0 {
        threads.extend((0..CONNECTIONS).map(|connection| {
            let (address, answers, stop) = (worker.address.clone(), Arc::clone(&answers), Arc::clone(&stop));
            thread::spawn(move || ask(&address, connection, queries, &answers, &stop))
        }));
    }
    thread::sleep(Duration::from_secs(2));
    let pid = worker.child.id();
    let (began, before, count) = (Instant::now(), cpu(pid), processed(&worker.address));
    thread::sleep(MEASURED);
    let (after, processed) = (cpu(pid), processed(&worker.address) - count);
    let seconds = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("no panic");
    }
    let mut micros = std::mem::take(&mut *answers.micros.lock().expect("no panic while held"));
    micros.sort_unstable();
    let at = |hundredth: usize| micros.get(micros.len() * hundredth / 100).copied().unwrap_or(0) as f64 / 1e3;
    println!(
        "{queries:9} | {:9.0} | {:8.1} ms/s | {:7.1} ms/s | {:9.0} | {:4.1} ms | {:6.1} ms | {}",
        processed / seconds,
        (after.0 - before.0) as f64 / seconds,
        (after.1 - before.1) as f64 / seconds,
        micros.len() as f64 / (seconds + 2.0),
        at(50),
        at(99),
        answers.refused.load(Ordering::Relaxed)
    );
}
