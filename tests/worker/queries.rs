//! A client asks three replicas for a window count while they work, while one is killed and while partitions move: each
//! answer is what some beginning of the input comes to, and no later answer knows less.

use super::{BASE_MS, LIMIT, PARTITIONS, Scene, WINDOW_MS, replica::Replica};
use millstream::codec::partition_for;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Keys of a partition.
const KEYS: usize = 20;
/// Event time between two records of a partition: a window takes 3,000.
const STEP_MS: i64 = 20;
/// Records of a partition.
const RECORDS: i64 = 15_000;
/// Records of a partition that are written at once.
const CHUNK: i64 = 250;

/// A window of a key, and its count.
type Rows = BTreeMap<(String, i64), i64>;

/// Keys by partition.
fn keys() -> Vec<Vec<String>> {
    let of = |partition| {
        let all =
            (0..).map(|n| format!("key-{n}")).filter(|key| partition_for(key.as_bytes(), PARTITIONS) == partition);
        all.take(KEYS).collect()
    };
    (0..PARTITIONS).map(of).collect()
}

/// Key and event time of record `n` of a partition with these keys.
fn record(keys: &[String], n: i64) -> (&String, i64) {
    (&keys[(n.wrapping_mul(7_919) + n / 13) as usize % KEYS], BASE_MS + n * STEP_MS)
}

/// The rows that have not expired after the first `n` records: those of the newest window and of the one before.
fn beginning(keys: &[String], n: i64) -> Rows {
    let window = |n| record(keys, n).1.div_euclid(WINDOW_MS) * WINDOW_MS;
    let mut rows = Rows::new();
    if n > 0 {
        let newest = window(n - 1);
        let live = (0..n).rev().take_while(|n| window(*n) >= newest - WINDOW_MS);
        live.for_each(|n| *rows.entry((record(keys, n).0.clone(), window(n))).or_default() += 1);
    }
    rows
}

/// The number of records that an answer knows of.
///
/// # Errors
/// When it is what no beginning of the input comes to.
fn explained(keys: &[String], rows: &Rows) -> Result<i64, String> {
    let Some(newest) = rows.keys().map(|(_, start)| *start).max() else { return Ok(0) };
    let before = (newest - BASE_MS).max(0).div_euclid(STEP_MS);
    let known = rows.iter().filter(|((_, start), _)| *start == newest).map(|(_, count)| count).sum::<i64>();
    let n = before + known;
    let expected = beginning(keys, n);
    if *rows == expected { Ok(n) } else { Err(format!("{rows:?} is not what {n} records come to: {expected:?}")) }
}

/// Status, where it points to, and body; `None` when nobody is there.
fn ask(address: &str, path: &str) -> Option<(u16, Option<String>, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let location = head.lines().find_map(|line| line.strip_prefix("location: http://"));
    let owner = location.and_then(|to| to.split('/').next()).map(str::to_owned);
    Some((head.split(' ').nth(1)?.parse().ok()?, owner, serde_json::from_str(body).ok()?))
}

fn rows(body: &Value) -> Rows {
    assert!(body["next"].is_null(), "a page holds them all: {body}");
    let row = |row: &Value| {
        let key = row["key"].as_str().expect("a key").to_owned();
        ((key, row["start"].as_i64().expect("a time")), row["value"].as_i64().expect("a count"))
    };
    body["rows"].as_array().expect("rows").iter().map(row).collect()
}

/// What the client saw.
#[derive(Debug, Default, Clone)]
struct Seen {
    /// Records that the last answer of each partition knew of.
    known: Vec<i64>,
    answers: u64,
    /// Answers that knew more than none and less than all.
    between: u64,
    /// Answers that came from the owner that another replica had named.
    redirected: u64,
    /// Times that nobody could say.
    moving: u64,
    wrong: Vec<String>,
}

/// Asks one replica after the other for one partition after the other.
struct Client {
    keys: Vec<Vec<String>>,
    /// Of the replicas, as far as they run.
    addresses: Mutex<Vec<String>>,
    /// Commits of the group, to hold answers against.
    committed: Box<dyn Fn(i32) -> i64 + Send + Sync>,
    seen: Mutex<Seen>,
    stop: AtomicBool,
}

impl Client {
    fn run(&self) {
        for turn in 0usize.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let addresses = self.addresses.lock().expect("no panic while held").clone();
            if addresses.is_empty() {
                thread::park_timeout(Duration::from_millis(10));
                continue;
            }
            let partition = turn % PARTITIONS as usize;
            self.one(&addresses[turn / PARTITIONS as usize % addresses.len()], partition);
        }
    }

    fn one(&self, address: &str, partition: usize) {
        let path = format!("/stores/counts?partition={partition}&limit=1000");
        let (mut answer, mut redirected) = (ask(address, &path), false);
        if let Some((421, Some(owner), _)) = &answer {
            redirected = true;
            answer = ask(owner, &path);
        }
        let found = match answer {
            Some((200, _, body)) => explained(&self.keys[partition], &rows(&body)),
            Some((503 | 421, ..)) | None => {
                self.seen.lock().expect("no panic while held").moving += 1;
                // As one who was told to ask again.
                thread::park_timeout(Duration::from_millis(20));
                return;
            }
            Some((status, _, body)) => Err(format!("{status}: {body}")),
        };
        let committed = (self.committed)(partition as i32);
        let mut seen = self.seen.lock().expect("no panic while held");
        seen.answers += 1;
        seen.redirected += u64::from(redirected);
        match found {
            Err(wrong) => seen.wrong.push(wrong),
            Ok(n) if n < seen.known[partition] => {
                let before = seen.known[partition];
                seen.wrong.push(format!("partition {partition} knew of {before} records, and then of {n}"));
            }
            Ok(n) if n > committed => {
                seen.wrong.push(format!("partition {partition} knows of {n} records, {committed} are committed"));
            }
            Ok(n) => {
                seen.between += u64::from(n > 0 && n < RECORDS);
                seen.known[partition] = n;
            }
        }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic while held").clone()
    }
}

#[test]
fn every_answer_is_a_beginning_of_the_input_over_a_kill_and_rebalances() {
    let mut scene = Scene::new("queries");
    // Long transactions: a look into one would show.
    for (name, value) in [
        ("http.listen", "127.0.0.1:0"),
        ("commit.interval.ms", "400"),
        ("session.timeout.ms", "3000"),
        ("heartbeat.interval.ms", "500"),
    ] {
        scene.launch = scene.launch.set(name, value);
    }
    let keys = keys();
    let client = Arc::new(Client {
        keys: keys.clone(),
        addresses: Mutex::default(),
        committed: Box::new(scene.broker.commits(scene.name, &scene.input())),
        seen: Mutex::new(Seen { known: vec![0; PARTITIONS as usize], ..Seen::default() }),
        stop: AtomicBool::new(false),
    });
    let mut replicas: Vec<Replica> = (0..2).map(|n| scene.launch.start(n)).collect();
    let asking = {
        let client = Arc::clone(&client);
        thread::spawn(move || client.run())
    };
    let serving = |replicas: &[Replica]| {
        let deadline = Instant::now() + LIMIT;
        let addresses = loop {
            let addresses: Vec<_> = replicas.iter().filter_map(Replica::address).collect();
            if addresses.len() == replicas.len() {
                break addresses;
            }
            assert!(Instant::now() < deadline, "they serve:\n{}", replicas[0].log());
            thread::park_timeout(Duration::from_millis(20));
        };
        *client.addresses.lock().expect("no panic while held") = addresses;
    };
    serving(&replicas);
    // A third one joins, the first is killed and comes back, the second leaves for good.
    for chunk in 0..RECORDS / CHUNK {
        let records = (chunk * CHUNK..(chunk + 1) * CHUNK).flat_map(|n| {
            keys.iter().enumerate().map(move |(partition, keys)| {
                let (key, time) = record(keys, n);
                (partition as i32, key.clone(), "v".to_owned(), time)
            })
        });
        scene.broker.write(&scene.input(), records, None);
        match chunk * 12 / (RECORDS / CHUNK) {
            2 if replicas.len() == 2 => replicas.push(scene.launch.start(2)),
            5 if replicas[0].alive() => replicas[0].kill(),
            7 if !replicas[0].alive() => {
                replicas[0] = scene.launch.start(0);
                serving(&replicas);
            }
            9 if replicas[1].alive() => {
                replicas[1].signal("TERM");
                replicas[1].wait(LIMIT);
            }
            _ => {}
        }
        if chunk == 3 * RECORDS / CHUNK / 12 {
            serving(&replicas);
        }
        // The load's rhythm.
        thread::park_timeout(Duration::from_millis(200));
    }
    let deadline = Instant::now() + LIMIT;
    while client.seen().known.iter().any(|known| *known < RECORDS) && client.seen().wrong.is_empty() {
        assert!(Instant::now() < deadline, "{:?}\n{}", client.seen(), replicas[0].log());
        thread::park_timeout(Duration::from_millis(50));
    }
    client.stop.store(true, Ordering::Relaxed);
    asking.join().expect("the client does not panic");
    let seen = client.seen();
    println!(
        "{} answers, {} between, {} redirected, {} moving",
        seen.answers, seen.between, seen.redirected, seen.moving
    );
    assert!(seen.wrong.is_empty(), "{} of {} answers: {:#?}", seen.wrong.len(), seen.answers, &seen.wrong[..1]);
    assert!(seen.between > 100 && seen.redirected > 10 && seen.moving > 0, "{seen:?}");
    // Where a key is nobody needs to know: its partition follows from its bytes.
    for (partition, keys) in keys.iter().enumerate() {
        let newest = beginning(keys, RECORDS).into_iter().next_back().expect("rows");
        let ((key, start), count) = newest;
        let path = format!("/stores/counts/keys/{key}?from={start}&to={start}");
        let address = replicas[0].address().expect("it serves");
        let (mut status, owner, mut body) = ask(&address, &path).expect("an answer");
        if status == 421 {
            (status, _, body) = ask(&owner.expect("a location"), &path).expect("an answer");
        }
        assert_eq!((status, rows(&body)), (200, Rows::from([((key, start), count)])), "partition {partition}");
    }
}

#[test]
fn an_answer_that_no_beginning_explains_is_wrong() {
    let keys = keys().swap_remove(3);
    for n in [0, 1, 2_999, 3_000, 3_001, 7_777, RECORDS] {
        assert_eq!(explained(&keys, &beginning(&keys, n)), Ok(n), "{n}");
    }
    let right = beginning(&keys, 7_777);
    let planted = |plant: &dyn Fn(&mut Rows)| {
        let mut wrong = right.clone();
        plant(&mut wrong);
        explained(&keys, &wrong)
    };
    let (first, last) = (right.keys().next().expect("rows").clone(), right.keys().next_back().expect("rows").clone());
    // A row of another moment, a row that is missing, one that has expired, one of another key.
    assert!(planted(&|rows| *rows.get_mut(&last).expect("it is there") += 1).is_err());
    assert!(planted(&|rows| *rows.get_mut(&first).expect("it is there") -= 1).is_err());
    assert!(
        planted(&|rows| {
            rows.remove(&first);
        })
        .is_err()
    );
    assert!(
        planted(&|rows| {
            rows.insert((first.0.clone(), first.1 - WINDOW_MS), 1);
        })
        .is_err()
    );
    assert!(
        planted(&|rows| {
            rows.insert(("other".into(), last.1), 1);
        })
        .is_err()
    );
}
