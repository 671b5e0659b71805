//! A client asks three replicas for the rows of a store while they work, while one is killed and while partitions move:
//! each answer is what some beginning of the input comes to, and no later answer knows less.

use super::{
    LIMIT, PARTITIONS,
    replica::{Launch, Replica},
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Status, where it points to, and body; `None` when nobody is there.
pub fn ask(address: &str, path: &str) -> Option<(u16, Option<String>, Value)> {
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

/// The answer of the owner, whoever is asked.
pub fn ask_owner(address: &str, path: &str) -> (u16, Value) {
    let (mut status, owner, mut body) = ask(address, path).expect("an answer");
    if status == 421 {
        (status, _, body) = ask(&owner.expect("a location"), path).expect("an answer");
    }
    (status, body)
}

/// The number of records of each topic that an answer about a partition knows of, or why no beginning explains it.
pub type Explain = Box<dyn Fn(usize, &Value) -> Result<Vec<i64>, String> + Send + Sync>;

/// The committed offset of a partition.
pub type Committed = Box<dyn Fn(i32) -> i64 + Send + Sync>;

/// What the client saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Records of each topic that the last answer of each partition knew of.
    pub known: Vec<Vec<i64>>,
    pub answers: u64,
    /// Answers that knew more than none and less than all.
    pub between: u64,
    /// Answers that came from the owner that another replica had named.
    pub redirected: u64,
    /// Times that nobody could say.
    pub moving: u64,
    pub wrong: Vec<String>,
}

/// Asks one replica after the other for one partition after the other.
pub struct Client {
    store: &'static str,
    explain: Explain,
    /// Commits of the group by topic, to hold answers against.
    committed: Vec<Committed>,
    /// Records of a partition of each topic.
    records: i64,
    /// Of the replicas, as far as they run.
    addresses: Mutex<Vec<String>>,
    seen: Mutex<Seen>,
    stop: AtomicBool,
}

impl Client {
    /// One that asks for the rows of `store`; each partition of each topic gets so many `records`.
    pub fn new(store: &'static str, explain: Explain, committed: Vec<Committed>, records: i64) -> Arc<Self> {
        let known = vec![vec![0; committed.len()]; PARTITIONS as usize];
        let seen = Mutex::new(Seen { known, ..Seen::default() });
        let (addresses, stop) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { store, explain, committed, records, addresses, seen, stop })
    }

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
        let path = format!("/stores/{}?partition={partition}&limit=1000", self.store);
        let (mut answer, mut redirected) = (ask(address, &path), false);
        if let Some((421, Some(owner), _)) = &answer {
            redirected = true;
            answer = ask(owner, &path);
        }
        let found = match answer {
            Some((200, _, body)) => (self.explain)(partition, &body),
            Some((503 | 421, ..)) | None => {
                self.seen.lock().expect("no panic while held").moving += 1;
                // As one who was told to ask again.
                thread::park_timeout(Duration::from_millis(20));
                return;
            }
            Some((status, _, body)) => Err(format!("{status}: {body}")),
        };
        let committed: Vec<i64> = self.committed.iter().map(|of| of(partition as i32)).collect();
        let mut seen = self.seen.lock().expect("no panic while held");
        seen.answers += 1;
        seen.redirected += u64::from(redirected);
        match found {
            Err(wrong) => seen.wrong.push(wrong),
            Ok(known) => {
                let before = std::mem::replace(&mut seen.known[partition], known.clone());
                for (topic, ((n, before), committed)) in known.iter().zip(&before).zip(&committed).enumerate() {
                    if n < before {
                        seen.wrong.push(format!("topic {topic}, {partition}: {before} records known, and then {n}"));
                    }
                    if n > committed {
                        seen.wrong.push(format!("topic {topic}, {partition}: {n} known, {committed} are committed"));
                    }
                }
                let sum: i64 = known.iter().sum();
                seen.between += u64::from(sum > 0 && sum < self.records * known.len() as i64);
            }
        }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic while held").clone()
    }

    fn serving(&self, replicas: &[Replica]) {
        let deadline = Instant::now() + LIMIT;
        let addresses = loop {
            let addresses: Vec<_> = replicas.iter().filter_map(Replica::address).collect();
            if addresses.len() == replicas.len() {
                break addresses;
            }
            assert!(Instant::now() < deadline, "they serve:\n{}", replicas[0].log());
            thread::park_timeout(Duration::from_millis(20));
        };
        *self.addresses.lock().expect("no panic while held") = addresses;
    }

    /// Asks while `write` writes its `chunks`: a third replica joins, the first is killed and comes back, the second leaves
    /// for good. Gives the replicas.
    pub fn ask_all_along(self: &Arc<Self>, launch: &Launch, chunks: i64, write: impl Fn(i64)) -> Vec<Replica> {
        let mut launch = launch.clone();
        // Long transactions: a look into one would show.
        for (name, value) in [
            ("http.listen", "127.0.0.1:0"),
            ("commit.interval.ms", "400"),
            ("session.timeout.ms", "3000"),
            ("heartbeat.interval.ms", "500"),
        ] {
            launch = launch.set(name, value);
        }
        let mut replicas: Vec<Replica> = (0..2).map(|n| launch.start(n)).collect();
        let asking = {
            let client = Arc::clone(self);
            thread::spawn(move || client.run())
        };
        self.serving(&replicas);
        for chunk in 0..chunks {
            write(chunk);
            match chunk * 12 / chunks {
                2 if replicas.len() == 2 => replicas.push(launch.start(2)),
                5 if replicas[0].alive() => replicas[0].kill(),
                7 if !replicas[0].alive() => {
                    replicas[0] = launch.start(0);
                    self.serving(&replicas);
                }
                9 if replicas[1].alive() => {
                    replicas[1].signal("TERM");
                    replicas[1].wait(LIMIT);
                }
                _ => {}
            }
            if chunk == 3 * chunks / 12 {
                self.serving(&replicas);
            }
            // The load's rhythm.
            thread::park_timeout(Duration::from_millis(200));
        }
        let deadline = Instant::now() + LIMIT;
        while self.seen().known.iter().flatten().any(|known| *known < self.records) && self.seen().wrong.is_empty() {
            let going = replicas[0].alive() && Instant::now() < deadline;
            assert!(going, "{:?}\n{}", self.seen(), replicas[0].log());
            thread::park_timeout(Duration::from_millis(50));
        }
        self.stop.store(true, Ordering::Relaxed);
        asking.join().expect("the client does not panic");
        let seen = self.seen();
        println!(
            "{}: {} answers, {} between, {} redirected, {} moving",
            self.store, seen.answers, seen.between, seen.redirected, seen.moving
        );
        assert!(seen.wrong.is_empty(), "{} of {} answers: {:#?}", seen.wrong.len(), seen.answers, &seen.wrong[..1]);
        assert!(seen.between > 100 && seen.redirected > 10 && seen.moving > 0, "{seen:?}");
        replicas
    }
}
