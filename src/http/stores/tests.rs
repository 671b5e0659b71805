use crate::{
    codec::serdes,
    embedded::{ClientConfig, Cluster, MemoryDisks, Replica, ReplicaConfig},
    http::{Access, serve_with},
    log::{Log, TopicConfig},
    record::{Headers, OutRecord, Target, TaskId, Timestamp},
    runtime::{Board, Queries},
    state::MemoryBackend,
    topology::{
        Consumed, Materialized, Resolved, SessionWindows, SlidingWindows, StreamsBuilder, TimeWindows, Topology,
    },
    worker::{Desk, Owner, Settings, Worker},
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 4;
const LIMIT: Duration = Duration::from_secs(30);
const TEN: Duration = Duration::from_millis(10);

/// A replica on an embedded log, and its pages.
struct Scene {
    cluster: Cluster,
    replica: Option<Replica>,
    queries: Queries,
    address: SocketAddr,
}

fn topology() -> Topology {
    let builder = StreamsBuilder::new();
    let input = builder.stream::<String, i64>("in").group_by_key();
    input.count_with(Materialized::as_store("counts"));
    let day = Duration::from_secs(86_400);
    input.windowed_by(TimeWindows::of_size_and_grace(TEN, day)).count_with(Materialized::as_store("windows"));
    input
        .windowed_by(SlidingWindows::of_time_difference_and_grace(TEN, day))
        .count_with(Materialized::as_store("sliding"));
    input
        .windowed_by(SessionWindows::of_inactivity_gap_and_grace(TEN, day))
        .count_with(Materialized::as_store("sessions"));
    let versioned = Materialized::as_versioned("versions", day);
    builder.table_with::<String, i64>("prices", Consumed::with(serdes::string(), serdes::i64()), versioned);
    let global = Materialized::as_store("places");
    builder.global_table_with::<String, String>("places", Consumed::with(serdes::string(), serdes::string()), global);
    builder.build().unwrap()
}

fn get_with(address: SocketAddr, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..at].to_vec()).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), answer[at + 4..].to_vec())
}

impl Scene {
    fn new(look_up: Option<crate::runtime::LookUp>) -> Self {
        let mut log = Log::new("embedded");
        for topic in ["in", "prices", "places"] {
            log.create_topic(topic, PARTITIONS, TopicConfig::default());
        }
        let topology = Arc::new(topology());
        let counts = ["in", "prices", "places"].map(|topic| (Arc::from(topic), PARTITIONS)).into();
        let resolved: Arc<Resolved> = Arc::new(topology.resolve("app", &counts).unwrap());
        for topic in &resolved.internal {
            log.create_topic(&topic.name, topic.partitions, TopicConfig::from_settings(&topic.config));
        }
        let cluster = Cluster::new(log);
        let queries = Queries::new(64, look_up);
        let access = Access {
            queries: queries.clone(),
            topology: Arc::clone(&topology),
            token: None,
            timeout: Duration::from_secs(5),
            server: Some("me:1".into()),
        };
        let board = Board::new(1, 60_000);
        let address = serve_with("127.0.0.1:0", board, String::new(), Some(access)).unwrap().address;
        let replica = cluster
            .start(ReplicaConfig {
                topology,
                resolved: Arc::clone(&resolved),
                settings: Settings::default(),
                client: ClientConfig::new("app", "one", resolved.subscription()),
                desk: Some((0, Arc::new(queries.clone()))),
                disks: Box::new(|| Box::new(MemoryDisks::new(|| Arc::new(MemoryBackend::new())))),
            })
            .unwrap();
        Self { cluster, replica: Some(replica), queries, address }
    }

    fn send(&self, topic: &str, key: &str, value: impl Into<Bytes>, timestamp: Timestamp) {
        let partition = crate::codec::partition_for(key.as_bytes(), PARTITIONS);
        let record = OutRecord {
            topic: topic.into(),
            partition,
            target: Target::Sink,
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: Some(value.into()),
            timestamp,
            headers: Headers::new(),
        };
        self.cluster.with_log(|log| log.append(record).unwrap());
    }

    fn number(&self, topic: &str, key: &str, value: i64, timestamp: Timestamp) {
        self.send(topic, key, value.to_be_bytes().to_vec(), timestamp);
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = get_with(self.address, path, "");
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Asks until the answer is as told.
    fn until(&self, path: &str, what: impl Fn(&(u16, Value)) -> bool) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.get(path);
            if what(&answer) {
                return answer.1;
            }
            assert!(Instant::now() < deadline, "{path}: {answer:?}");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// All pages of `limit` rows: `key@start=value` or `key=value` of each row.
    fn rows(&self, path: &str, limit: usize) -> Vec<String> {
        let (mut rows, mut after) = (Vec::new(), String::new());
        let sign = if path.contains('?') { '&' } else { '?' };
        loop {
            let (status, page) = self.get(&format!("{path}{sign}limit={limit}{after}"));
            assert_eq!(status, 200, "{page}");
            for row in page["rows"].as_array().unwrap() {
                let start = row.get("start").map_or_else(String::new, |start| format!("@{start}"));
                rows.push(format!("{}{start}={}", row["key"].as_str().unwrap(), row["value"]));
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return rows,
            }
        }
    }
}

#[test]
fn every_kind_of_store_answers() {
    let scene = Scene::new(None);
    for (key, at) in [("a", 1), ("b", 2), ("a", 3), ("c/d é", 4), ("a", 15), ("a", 40)] {
        scene.number("in", key, 1, at);
    }
    for (value, at) in [(10, 100), (20, 200), (30, 300)] {
        scene.number("prices", "p", value, at);
    }
    scene.send("places", "x", "X", 5);
    scene.send("places", "y", "Y", 5);
    scene.until("/stores/counts/keys/a", |(status, row)| *status == 200 && row["value"] == 4);
    let (status, row) = scene.get("/stores/counts/keys/a");
    let partition = crate::codec::partition_for(b"a", PARTITIONS);
    assert_eq!((status, row), (200, json!({"key": "a", "value": 4, "timestamp": 40, "partition": partition})));
    scene.until("/stores/counts/keys/c%2Fd%20%C3%A9", |(status, row)| *status == 200 && row["value"] == 1);
    scene.until("/stores/counts/keys/b", |(status, _)| *status == 200);
    assert_eq!(scene.get("/stores/counts/keys/nobody"), (404, json!({"error": "no such key"})));
    assert_eq!(scene.get("/stores/nothing/keys/a").0, 404);
    assert_eq!(scene.get("/stores/counts/keys/a?as_of=3").0, 400);
    assert_eq!(scene.get("/stores/counts/keys/a?partition=9").0, 400);
    for limit in [1, 2, 100] {
        let mut rows = scene.rows("/stores/counts", limit);
        rows.sort();
        assert_eq!(rows, ["a=4", "b=1", "c/d é=1"]);
    }
    assert_eq!(scene.rows("/stores/counts?from=b&to=b", 9), ["b=1"]);
    assert_eq!(scene.rows("/stores/windows/keys/a", 2), ["a@0=2", "a@10=1", "a@40=1"]);
    assert_eq!(scene.rows("/stores/windows/keys/a?from=1&to=10", 1), ["a@10=1"]);
    let mut windows = scene.rows("/stores/windows?to=0", 2);
    windows.sort();
    assert_eq!(windows, ["a@0=2", "b@0=1", "c/d é@0=1"]);
    assert_eq!(scene.rows("/stores/sessions/keys/a", 1), ["a@1=2", "a@15=1", "a@40=1"]);
    assert_eq!(scene.rows("/stores/sliding/keys/a?from=5&to=14", 1), ["a@5=1"]);
    scene.until("/stores/versions/keys/p", |(_, row)| row["value"] == 30);
    let (_, old) = scene.get("/stores/versions/keys/p?as_of=250");
    assert_eq!((&old["value"], &old["timestamp"], &old["valid_to"]), (&json!(20), &json!(200), &json!(300)));
    assert_eq!(scene.get("/stores/versions/keys/p?as_of=99").0, 404);
    assert_eq!(scene.rows("/stores/versions/keys/p?from=150&to=250", 1), ["p=20", "p=10"]);
    assert_eq!(scene.rows("/stores/versions?as_of=150", 1), ["p=10"]);
    scene.until("/stores/places/keys/x", |(_, row)| row["value"] == "X");
    assert_eq!(scene.rows("/stores/places", 1), [r#"x="X""#, r#"y="Y""#]);
    assert_eq!(scene.get("/stores/places/keys/z").0, 404);
    let (_, list) = scene.get("/stores");
    let stores = list["stores"].as_array().unwrap();
    assert_eq!(stores.len(), 6);
    let windows = stores.iter().find(|s| s["name"] == "windows").unwrap();
    assert_eq!(
        (&windows["kind"], &windows["size_ms"], &windows["here"]["3"]),
        (&json!("window"), &json!(10), &json!("complete"))
    );
    assert!(stores.iter().any(|s| s["kind"] == "global" && s["rows"] == 2));
}

#[test]
fn rows_as_bytes() {
    let scene = Scene::new(None);
    scene.number("in", "a", 1, 1);
    scene.until("/stores/counts/keys/a", |(status, _)| *status == 200);
    let (_, row) = scene.get("/stores/counts/keys/YQ?raw=base64");
    assert_eq!((&row["key"], &row["value"]), (&json!("YQ=="), &json!("AAAAAAAAAAE=")));
    let (status, head, body) = get_with(scene.address, "/stores/counts/keys/a", "Accept: application/octet-stream\r\n");
    assert_eq!((status, &body[..]), (200, &1i64.to_be_bytes()[..]));
    assert!(head.contains("millstream-timestamp: 1\r\n") && head.contains("octet-stream"), "{head}");
}

#[test]
fn without_a_replica_the_answer_is_to_ask_again_or_elsewhere() {
    let partition = crate::codec::partition_for(b"a", PARTITIONS);
    let owners = move || {
        let partitions = vec![crate::record::TopicPartition::new("in", partition)];
        Ok(vec![Owner { endpoint: Some("other:2".into()), partitions }])
    };
    let mut scene = Scene::new(Some(Arc::new(owners)));
    scene.number("in", "a", 1, 1);
    scene.until("/stores/counts/keys/a", |(status, _)| *status == 200);
    scene.replica.take().unwrap().stop(LIMIT).unwrap();
    let path = "/stores/counts/keys/a?stale=ok";
    let (status, head, body) = get_with(scene.address, path, "");
    assert_eq!(status, 421, "{head}");
    assert!(head.contains(&format!("location: http://other:2{path}")), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["owner"], &body["partition"]), (&json!("other:2"), &json!(partition)));
    let nobodys = (0..).map(|n| format!("k{n}"));
    let nobodys =
        nobodys.into_iter().find(|k| crate::codec::partition_for(k.as_bytes(), PARTITIONS) != partition).unwrap();
    let (status, head, _) = get_with(scene.address, &format!("/stores/counts/keys/{nobodys}"), "");
    assert!(status == 503 && head.contains("retry-after: 1"), "{head}");
    let (status, all) = scene.get("/stores/counts");
    assert_eq!((status, all["rows"].as_array().unwrap().len()), (200, 0));
    let elsewhere = all["elsewhere"].as_array().unwrap();
    assert_eq!(elsewhere.len(), PARTITIONS as usize);
    assert!(elsewhere.contains(&json!({"partition": partition, "owner": "other:2"})), "{all}");
}

#[test]
fn other_machines_need_the_token() {
    let access = |token: Option<&str>| Access {
        queries: Queries::new(1, None),
        topology: Arc::new(topology()),
        token: token.map(str::to_owned),
        timeout: LIMIT,
        server: None,
    };
    let status = |listen: &str, token: Option<&str>, shown: &str| {
        let served = serve_with(listen, Board::new(1, 1), String::new(), Some(access(token))).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], served.address.port()));
        assert_eq!(get_with(address, "/health/live", "").0, 200, "probes show none");
        get_with(address, "/stores", shown).0
    };
    // 503: let in, and the worker is starting.
    assert_eq!(status("127.0.0.1:0", None, ""), 503);
    assert_eq!(status("0.0.0.0:0", None, ""), 403);
    assert_eq!(status("0.0.0.0:0", None, "Authorization: Bearer x\r\n"), 403);
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        assert_eq!(status(listen, Some("secret"), ""), 401);
        assert_eq!(status(listen, Some("secret"), "Authorization: Bearer secreT\r\n"), 401);
        assert_eq!(status(listen, Some("secret"), "Authorization: Bearer secret\r\n"), 503);
    }
}

/// Lines of an event stream: `event data`.
fn events(scene: &Scene, path: &str) -> impl Iterator<Item = (String, Value)> {
    let mut stream = TcpStream::connect(scene.address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    std::iter::from_fn(move || {
        let event = lines.find_map(|line| line.strip_prefix("event: ").map(str::to_owned))?;
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned))?;
        Some((event, serde_json::from_str(&data).unwrap()))
    })
}

#[test]
fn changes_come_as_they_are_committed() {
    let scene = Scene::new(None);
    scene.number("in", "a", 1, 1);
    scene.until("/stores/counts/keys/a", |(status, _)| *status == 200);
    let mut events = events(&scene, "/stores/counts/changes");
    let (name, partitions) = events.next().unwrap();
    assert_eq!((&*name, partitions), ("partitions", json!([0, 1, 2, 3])));
    for count in 2..5 {
        scene.number("in", "a", 1, count);
        let (name, row) = events.next().unwrap();
        assert_eq!((&*name, &row["key"], &row["value"]), ("change", &json!("a"), &json!(count)));
    }
    assert_eq!(scene.queries.figures().listeners, 1);
    assert_eq!(scene.get("/stores/places/changes").0, 400);
    assert_eq!(scene.get("/stores/nothing/changes").0, 404);
}

/// A worker that never took part: its answers are refusals.
fn idle_worker() -> Worker {
    let topology = Arc::new(topology());
    let counts = ["in", "prices", "places"].map(|topic| (Arc::from(topic), PARTITIONS)).into();
    let resolved = Arc::new(topology.resolve("app", &counts).unwrap());
    Worker::new(topology, resolved, Settings::default())
}

#[test]
fn a_full_queue_turns_questions_away_and_a_thread_that_ends_drops_them() {
    let queries = Queries::new(2, None);
    assert!(queries.ask(0, Box::new(|_| {})).is_err(), "there is no thread");
    queries.open(0, Box::new(|| {}));
    let (told, asked) = std::sync::mpsc::channel();
    let ask = || {
        let told = told.clone();
        queries.ask(0, Box::new(move |_| told.send(()).unwrap()))
    };
    assert!(ask().is_ok() && ask().is_ok() && ask().is_err());
    let mut worker = idle_worker();
    assert!(queries.serve(0, &mut worker) && !queries.serve(0, &mut worker));
    assert_eq!(asked.try_iter().count(), 2);
    let figures = queries.figures();
    assert_eq!((figures.served, figures.turned_away, figures.waiting), (2, 1, 0));
    assert!(ask().is_ok());
    queries.close(0);
    assert!(ask().is_err());
    assert_eq!(asked.try_iter().count(), 0);
    let task = TaskId { sub_topology: 0, partition: 0 };
    assert_eq!(worker.query(task, "counts", false, |_| ()), Err(crate::worker::Refusal::NotHere));
}

#[test]
fn every_store_of_the_dsl_has_a_face() {
    let topology = topology();
    for name in ["counts", "windows", "sliding", "sessions", "versions", "places"] {
        let face = topology.face(name).unwrap();
        assert!(face.key.parse("k").is_some(), "{name}");
    }
}
