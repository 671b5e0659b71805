//! Redis as a sink: the guard of its script, and `cdc-users` with its cache in Redis over a kill and a Redis that goes away.

use super::{LIMIT, broker::Broker, parts::Part, replica::Launch};
use millstream::{
    adapters::RedisHashes,
    fault::Remedy,
    record::{SourceContext, TaskId},
    sink::{Batch, SinkRow, SinkSupplier},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i64 = 4;
const USERS: i64 = 2_000;
const CHANGES: i64 = 40_000;

fn row(key: &str, value: Option<&str>, source: &str, offset: i64) -> SinkRow {
    let version = SourceContext { topic: source.into(), partition: 2, offset };
    SinkRow { key: key.to_owned().into(), value: value.map(|v| v.to_owned().into()), timestamp: 0, version }
}

fn batch(rows: Vec<SinkRow>) -> Batch {
    Batch { sink: "users".into(), task: TaskId { sub_topology: 0, partition: 2 }, rows }
}

#[test]
fn an_older_row_changes_nothing_in_redis_and_a_deletion_stays_one() {
    let mut server = Part::redis();
    let hashes = RedisHashes::new(server.cache()).prefix("user:");
    let mut sink = hashes.open().expect("it connects");
    for (rows, wanted) in [
        (vec![row("a", Some("new"), "in", 7), row("b", Some("x|y"), "in", 10)], ["in-2@7 new", "in-2@10 x|y"]),
        (vec![row("a", Some("old"), "in", 6), row("b", None, "in", 11)], ["in-2@7 new", "in-2@11"]),
        (vec![row("a", Some("again"), "in", 7), row("b", Some("late"), "in", 9)], ["in-2@7 again", "in-2@11"]),
        (vec![row("b", Some("\0\u{e9}"), "other", 0)], ["in-2@7 again", "other-2@0 \0\u{e9}"]),
    ] {
        sink.write(&batch(rows)).expect("it writes");
        let found = server.hashes("user:*");
        assert_eq!([&found["user:a"], &found["user:b"]], wanted);
    }
    let many = (0..2_500).map(|n| row(&format!("m{n:04}"), Some("v"), "in", n)).collect();
    sink.write(&batch(many)).expect("it writes");
    assert_eq!(server.hashes("user:m*").len(), 2_500);
    server.stop();
    assert_eq!(sink.write(&batch(vec![row("a", None, "in", 9)])).unwrap_err().remedy, Remedy::Retry);
    assert_eq!(hashes.open().err().map(|fault| fault.remedy), Some(Remedy::Retry));
    server.start();
    let mut sink = hashes.open().expect("it connects");
    sink.write(&batch(vec![row("a", None, "in", 9)])).expect("it writes");
    assert_eq!(server.hashes("user:a")["user:a"], "in-2@9");
}

/// Change `n` of a table of users: the user, and the row after it; every ninth one deletes.
fn change(n: i64) -> (i64, Option<Value>) {
    let user = (n * 7_919) % USERS;
    let deleted = n % 9 == 4;
    (user, (!deleted).then(|| json!({"name": format!("Name {n}"), "email": format!("{user}@example.org")})))
}

/// What Redis should hold after so many changes: by key the place of the last change and, unless it deleted, the row.
fn cache(topic: &str, changes: i64) -> BTreeMap<String, (String, Option<Value>)> {
    let (mut rows, mut offsets) = (BTreeMap::new(), [0; PARTITIONS as usize]);
    let mut there = [false; USERS as usize];
    for n in 0..changes {
        let (user, after) = change(n);
        let partition = user % PARTITIONS;
        let offset = &mut offsets[partition as usize];
        // A deletion of nothing is no change.
        if after.is_some() || there[user as usize] {
            rows.insert(format!("user:{user}"), (format!("{topic}-{partition}@{offset}"), after.clone()));
        }
        there[user as usize] = after.is_some();
        *offset += 1;
    }
    rows
}

fn differences(found: &BTreeMap<String, String>, expected: &BTreeMap<String, (String, Option<Value>)>) -> Vec<String> {
    let read = |text: &String| match text.split_once(' ') {
        Some((place, value)) => (place.to_owned(), serde_json::from_str::<Value>(value).ok()),
        None => (text.clone(), None),
    };
    let found: BTreeMap<_, _> = found.iter().map(|(key, text)| (key.clone(), read(text))).collect();
    let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key)));
    keys.filter(|key| found.get(*key) != expected.get(*key))
        .map(|key| format!("{key}: {:?}, should be {:?}", found.get(key), expected.get(key)))
        .collect()
}

#[test]
fn a_lost_entry_an_older_one_and_one_that_came_back_are_seen() {
    let expected = cache("t", 4_000);
    let text =
        |(place, row): &(String, Option<Value>)| row.as_ref().map_or(place.clone(), |row| format!("{place} {row}"));
    let right: BTreeMap<String, String> = expected.iter().map(|(key, row)| (key.clone(), text(row))).collect();
    assert_eq!(differences(&right, &expected), [""; 0]);
    let key = |deleted: bool| expected.iter().find(|(_, row)| row.1.is_none() == deleted).expect("both").0.clone();
    let planted = |plant: &dyn Fn(&mut BTreeMap<String, String>)| {
        let mut wrong = right.clone();
        plant(&mut wrong);
        differences(&wrong, &expected).len()
    };
    assert_eq!(planted(&|rows| drop(rows.remove(&key(false)))), 1);
    assert_eq!(planted(&|rows| rows.get_mut(&key(false)).expect("it is there").push(' ')), 0);
    assert_eq!(planted(&|rows| drop(rows.insert(key(false), "t-0@0 {}".into()))), 1);
    assert_eq!(planted(&|rows| rows.get_mut(&key(true)).expect("it is there").push_str(" {}")), 1);
    assert_eq!(planted(&|rows| drop(rows.insert("user:x".into(), "t-0@0 {}".into()))), 1);
}

#[test]
fn cdc_users_has_the_last_state_of_each_user_in_redis_over_a_kill_a_standstill_and_a_lost_redis() {
    let (broker, mut server) = (Broker::shared(), Part::redis());
    let input = "cdc-sink-in";
    let outputs = ["cdc-sink-users", "cdc-sink-search", "cdc-sink-cache", "cdc-sink-rejected"];
    for topic in outputs.iter().chain([&input]) {
        broker.create_topic(topic, PARTITIONS as i32);
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let launch = Launch::new("cdc-users", "cdc-sink", &broker.address, directory.path())
        .set("input.topic", input)
        .set("output.topic", &outputs.join(","))
        .set("errors.dead.letter.queue.topic.name", outputs[3])
        .variable("CDC_USERS_REDIS", server.cache());
    let write = |from: i64, to: i64| {
        let record = |n| {
            let (user, after) = change(n);
            let op = if after.is_some() { "u" } else { "d" };
            let value = json!({"op": op, "before": null, "after": after, "source": {"lsn": n + 1}});
            ((user % PARTITIONS) as i32, json!({"id": user}).to_string(), value.to_string(), 1_760_000_000_000 + n)
        };
        broker.write(input, (from..to).map(record), None);
    };
    let wait = |what: &str, done: &mut dyn FnMut() -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            thread::park_timeout(Duration::from_millis(50));
        }
    };
    let commits = broker.commits("cdc-sink", input);
    let committed = || (0..PARTITIONS as i32).map(&commits).sum::<i64>();
    let mut replicas = [launch.start(0), launch.start(1)];

    write(0, CHANGES / 4);
    wait("entries come", &mut || !server.hashes("user:*").is_empty());
    write(CHANGES / 4, CHANGES / 2);
    // In the middle of it; its partitions go to the other.
    replicas[0].kill();
    wait("the other takes over", &mut || committed() == CHANGES / 2);
    replicas[0] = launch.start(0);

    // What stood still goes on when others have its partitions.
    write(CHANGES / 2, CHANGES * 5 / 8);
    replicas[1].signal("STOP");
    write(CHANGES * 5 / 8, CHANGES * 3 / 4);
    wait("the first takes over", &mut || committed() == CHANGES * 3 / 4);
    replicas[1].signal("CONT");

    server.stop();
    write(CHANGES * 3 / 4, CHANGES);
    let refused = |replica: &super::Replica| replica.whole_log().contains("rows are not taken");
    wait("Redis is missed", &mut || replicas.iter().any(refused));
    server.start();
    wait("all is committed", &mut || committed() == CHANGES);
    for replica in &mut replicas {
        assert!(replica.alive(), "a replica ended:\n{}", replica.log());
        replica.signal("TERM");
        assert!(replica.wait(LIMIT).success(), "{}", replica.log());
    }
    let wrong = differences(&server.hashes("user:*"), &cache(input, CHANGES));
    assert!(wrong.is_empty(), "{} entries are wrong, first {:?}", wrong.len(), wrong.first());
}
