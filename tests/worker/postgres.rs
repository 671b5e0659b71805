//! PostgreSQL as a sink: the guard of the table, and `channel-stats` with its messages in a table over a kill, a standstill
//! and a database that goes away.

use super::{LIMIT, broker::Broker, number, parts::Part, replica::Launch};
use millstream::{
    adapters::PostgresTable,
    fault::Remedy,
    record::{SourceContext, TaskId},
    sink::{Batch, SinkRow, SinkSupplier},
};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 4;
/// Messages of the input, all in one window.
const MESSAGES: i64 = 60_000;
const START_MS: i64 = 1_760_000_400_000;

fn row(key: &str, value: Option<&str>, source: &str, offset: i64) -> SinkRow {
    let version = SourceContext { topic: source.into(), partition: 2, offset };
    SinkRow { key: key.to_owned().into(), value: value.map(|v| v.to_owned().into()), timestamp: 0, version }
}

fn batch(rows: Vec<SinkRow>) -> Batch {
    Batch { sink: "users".into(), task: TaskId { sub_topology: 0, partition: 2 }, rows }
}

#[test]
fn an_older_row_changes_nothing_in_postgres_and_a_deletion_stays_one() {
    let mut server = Part::postgres();
    let table = PostgresTable::new(server.database(), "some users").key("id").column("name", "text");
    let table = table.column("age", "integer");
    let mut sink = table.open().expect("it connects, and creates the table");
    let found = "SELECT id, name, age, millstream_offset, millstream_deleted FROM \"some users\" ORDER BY id";
    for (rows, wanted) in [
        (
            vec![row("a", Some(r#"{"name":"Ann","age":41,"more":1}"#), "in", 7), row("b", Some("{}"), "in", 8)],
            vec!["a|Ann|41|7|f", "b|||8|f"],
        ),
        (vec![row("a", Some(r#"{"name":"old"}"#), "in", 6), row("b", None, "in", 9)], vec!["a|Ann|41|7|f", "b|||9|t"]),
        (
            vec![row("a", Some(r#"{"name":"again"}"#), "in", 7), row("b", Some(r#"{"name":"late"}"#), "in", 8)],
            vec!["a|again||7|f", "b|||9|t"],
        ),
        (vec![row("b", Some(r#"{"name":"O'Neil \"x\""}"#), "other", 0)], vec!["a|again||7|f", "b|O'Neil \"x\"||0|f"]),
    ] {
        sink.write(&batch(rows)).expect("it writes");
        assert_eq!(server.query(found), wanted);
    }
    for wrong in [r#"{"age":"many"}"#, "[1]", "no JSON"] {
        let good = row("c", Some("{}"), "in", 1);
        let fault = sink.write(&batch(vec![good, row("d", Some(wrong), "in", 1)])).unwrap_err();
        assert_eq!(fault.remedy, Remedy::Stop, "{fault}");
    }
    assert_eq!(server.query(found).len(), 2, "a batch is there whole or not at all");
    server.stop();
    assert_eq!(sink.write(&batch(vec![row("a", None, "in", 9)])).unwrap_err().remedy, Remedy::Retry);
    assert_eq!(table.open().err().map(|fault| fault.remedy), Some(Remedy::Retry));
    server.start();
    let mut sink = table.open().expect("it connects, and finds the table");
    sink.write(&batch(vec![row("a", None, "in", 9)])).expect("it writes");
    assert_eq!(server.query(found)[0], "a|||9|t");
}

/// Message `n`: its partition, its place there, and the message.
fn message(n: i64) -> (i32, i64, String, serde_json::Value) {
    let (partition, offset) = (n % i64::from(PARTITIONS), n / i64::from(PARTITIONS));
    let channel = format!("channel-{}", (n * 7_919) % 23);
    let text = format!("'{n}' \"said\" \\ ünd");
    let value =
        serde_json::json!({"channel": channel, "user": format!("u{}", n % 97), "text": text, "ts": START_MS + n});
    (partition as i32, offset, format!("k{n}"), value)
}

/// What is wrong with the table, as far as rows differ.
fn differences(found: &[String], expected: &BTreeMap<String, String>) -> Vec<String> {
    let rows: BTreeMap<&str, &str> = found.iter().filter_map(|line| line.split_once('|')).collect();
    let mut wrong: Vec<_> = expected
        .iter()
        .filter(|(place, row)| rows.get(place.as_str()) != Some(&row.as_str()))
        .map(|(place, row)| format!("{place}: {:?}, should be {row}", rows.get(place.as_str())))
        .collect();
    wrong
        .extend(rows.keys().filter(|place| !expected.contains_key(**place)).map(|place| format!("{place} is strange")));
    if found.len() != rows.len() {
        wrong.push(format!("{} rows under {} keys", found.len(), rows.len()));
    }
    wrong
}

/// The table that these messages should make: by place what its query tells.
fn table(topic: &str, messages: i64) -> BTreeMap<String, String> {
    let row = |n| {
        let (partition, offset, _, value) = message(n);
        let text = |name: &str| value[name].as_str().expect("a text").to_owned();
        let row = format!(
            "{}|{}|{}|{}|{topic}-{partition}|{offset}",
            text("channel"),
            text("user"),
            text("text"),
            value["ts"]
        );
        (format!("{topic}-{partition}-{offset}"), row)
    };
    (0..messages).map(row).collect()
}

#[test]
fn a_lost_row_a_second_one_and_an_older_one_are_seen() {
    let expected = table("t", 8);
    let right: Vec<String> = expected.iter().map(|(place, row)| format!("{place}|{row}")).collect();
    assert_eq!(differences(&right, &expected), [""; 0]);
    assert_eq!(differences(&right[1..], &expected).len(), 1);
    assert_eq!(differences(&[right.clone(), vec![right[3].clone()]].concat(), &expected).len(), 1);
    let mut older = right.clone();
    older[2] = older[1].clone();
    assert!(!differences(&older, &expected).is_empty());
}

#[test]
fn channel_stats_has_each_message_in_postgres_once_over_a_kill_a_standstill_and_a_lost_database() {
    let (broker, mut server) = (Broker::shared(), Part::postgres());
    let (input, output) = ("channel-sink-in", "channel-sink-out");
    broker.create_topic(input, PARTITIONS);
    broker.create_topic(output, PARTITIONS);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let launch = Launch::new("channel-stats", "channel-sink", &broker.address, directory.path())
        .set("input.topic", input)
        .set("output.topic", output)
        .set("windowstore.changelog.additional.retention.ms", "864000000000")
        .variable("CHANNEL_STATS_POSTGRES", server.database());
    let write = |from: i64, to: i64| {
        let record = |n| {
            let (partition, _, key, value) = message(n);
            (partition, key, value.to_string(), START_MS + n)
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
    let rows =
        |server: &Part| server.query("SELECT count(*) FROM messages").first().map_or(0, |n| n.parse().unwrap_or(0));
    let mut replicas = [launch.start(0), launch.start(1)];

    write(0, MESSAGES / 4);
    wait("rows come", &mut || rows(&server) > 0);
    write(MESSAGES / 4, MESSAGES / 2);
    // In the middle of it; its partitions go to the other.
    replicas[0].kill();
    wait("the other takes over", &mut || rows(&server) == MESSAGES / 2);
    replicas[0] = launch.start(0);

    // What stood still goes on when others have its partitions.
    write(MESSAGES / 2, MESSAGES * 5 / 8);
    replicas[1].signal("STOP");
    write(MESSAGES * 5 / 8, MESSAGES * 3 / 4);
    wait("the first takes over", &mut || rows(&server) == MESSAGES * 3 / 4);
    replicas[1].signal("CONT");

    server.stop();
    write(MESSAGES * 3 / 4, MESSAGES);
    let refused = |replica: &super::Replica| replica.whole_log().contains("rows are not taken");
    wait("the database is missed", &mut || replicas.iter().any(refused));
    server.start();
    wait("all rows are there", &mut || rows(&server) == MESSAGES);
    let committed = broker.commits("channel-sink", input);
    wait("all is committed", &mut || (0..PARTITIONS).map(&committed).sum::<i64>() == MESSAGES);
    for replica in &mut replicas {
        assert!(replica.alive(), "a replica ended:\n{}", replica.log());
        replica.signal("TERM");
        assert!(replica.wait(LIMIT).success(), "{}", replica.log());
    }
    let columns = "place, channel, \"user\", text, ts, millstream_source, millstream_offset";
    let found = server.query(&format!("SELECT {columns} FROM messages"));
    let wrong = differences(&found, &table(input, MESSAGES));
    assert!(wrong.is_empty(), "{} rows are wrong, first {:?}", wrong.len(), wrong.first());
    let counted: i64 = broker.fold(output).values().map(|count| number(count)).sum();
    assert_eq!(counted, MESSAGES, "the counts beside them");
}
