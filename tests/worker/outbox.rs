//! `outbox-relay` between a real PostgreSQL and a real Kafka: two relays, killed at any moment and at the worst one.

use super::{LIMIT, broker::Broker, parts::Part, replica::Replica};
use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::atomic::{AtomicI64, Ordering},
    thread,
    time::{Duration, Instant},
};

const TOPIC: &str = "outbox-events";
/// Threads of the service, each with aggregates of its own.
const SERVICES: i64 = 4;
const AGGREGATES: i64 = 10;
/// Events of one transaction, and transactions of a thread.
const EVENTS: i64 = 50;
const TRANSACTIONS: i64 = 100;

/// Key and value of each record, in the topic's order, against events that are numbered for each aggregate.
fn wrong(found: &[(String, String)], aggregates: &BTreeMap<String, i64>) -> Vec<String> {
    let mut next: BTreeMap<&str, i64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (key, value) in found {
        let wanted = next.entry(key).or_default();
        if *value != wanted.to_string() {
            wrong.push(format!("{key}: {value} where {wanted} should be"));
        }
        *wanted += 1;
    }
    let ends = aggregates.iter().filter(|(key, count)| next.get(key.as_str()) != Some(count));
    wrong.extend(ends.map(|(key, count)| format!("{key}: {:?} events of {count}", next.get(key.as_str()))));
    wrong.extend(next.keys().filter(|key| !aggregates.contains_key(**key)).map(|key| format!("{key} never was")));
    wrong
}

#[test]
fn an_event_that_is_lost_doubled_or_overtaken_is_seen() {
    let event = |key: &str, n: i64| (key.to_owned(), n.to_string());
    let right = vec![event("a", 0), event("b", 0), event("a", 1), event("a", 2), event("b", 1)];
    let aggregates = BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 2)]);
    assert_eq!(wrong(&right, &aggregates), [""; 0]);
    let mut overtaken = right.clone();
    overtaken.swap(2, 3);
    let doubled = [&right[..], &right[4..]].concat();
    let strange = [&right[..], &[event("c", 0)]].concat();
    for planted in [right[..4].to_vec(), right[1..].to_vec(), doubled, overtaken, strange] {
        assert!(!wrong(&planted, &aggregates).is_empty(), "{planted:?}");
    }
}

fn wait(what: &str, relays: &[Replica], mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        let logs: String = relays.iter().map(Replica::log).collect();
        assert!(Instant::now() < deadline, "{what} does not come:\n{logs}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

fn start(server: &Part, broker: &Broker, directory: &Path, number: usize) -> Replica {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
    command.arg(server.database()).arg(TOPIC).arg(format!("bootstrap.servers={}", broker.address));
    Replica::spawn(command, directory.join(format!("relay-{number}.log")))
}

/// The rows that wait.
fn rows(server: &Part) -> i64 {
    server.query("SELECT count(*) FROM outbox").first().map_or(0, |count| count.parse().expect("a number"))
}

/// Events by number, turn by turn to the aggregates of a name.
fn insert(name: &str, first: i64, last: i64) -> String {
    format!(
        "INSERT INTO outbox (aggregate, payload) SELECT '{name}-' || n % {AGGREGATES}, n / {AGGREGATES} \
         FROM generate_series({first}, {last}) n"
    )
}

/// Transaction `number` of a service. Each tenth is slow, so that later ids become visible before its own, and is followed
/// by one that is taken back.
fn transaction(service: i64, number: i64) -> String {
    let insert = insert(&format!("order-{service}"), number * EVENTS, (number + 1) * EVENTS - 1);
    match number % 10 {
        0 => format!("BEGIN; {insert}; SELECT pg_sleep(0.5); COMMIT; BEGIN; {insert}; ROLLBACK"),
        _ => insert,
    }
}

#[test]
fn each_event_is_in_the_topic_once_and_in_order_whatever_is_killed() {
    let (broker, mut server) = (Broker::shared(), Part::postgres());
    let directory = tempfile::tempdir().expect("a temporary directory");
    broker.create_topic(TOPIC, 4);
    let start = |server: &Part, number| start(server, &broker, directory.path(), number);
    let written = || broker.ranges(TOPIC).iter().map(|(_, end)| end).sum::<i64>();
    let mut relays = [start(&server, 0), start(&server, 1)];
    let table = "SELECT 1 FROM information_schema.tables WHERE table_name = 'outbox_shards'";
    wait("the table", &relays, || server.query(table).len() == 1);

    // Kills at any moment, while events come.
    let (done, mut amid_work) = (AtomicI64::new(0), 0);
    thread::scope(|scope| {
        for service in 0..SERVICES {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                for number in 0..TRANSACTIONS {
                    server.query(&transaction(service, number));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for kill in 1..=10 {
            let before = written();
            wait("more", &relays, || {
                written() > before && done.load(Ordering::Relaxed) >= kill * SERVICES * TRANSACTIONS / 12
            });
            let victim = &mut relays[kill as usize % 2];
            assert!(victim.alive(), "a relay ended:\n{}", victim.log());
            victim.kill();
            amid_work += i64::from(rows(&server) > 0);
            relays[kill as usize % 2] = start(&server, kill as usize % 2);
        }
    });
    wait("all events", &relays, || rows(&server) == 0);
    assert!(amid_work > 0, "no kill came while there was work");

    // The worst moment: a batch is committed in Kafka, and not yet deleted. Locked rows hold the deletion up.
    let visible = || (0..4).map(|partition| broker.stable_end(TOPIC, partition)).sum::<i64>();
    let more = |from: i64, to: i64| insert("late", from * AGGREGATES, to * AGGREGATES - 1);
    for round in 0..3 {
        relays.iter_mut().for_each(Replica::kill);
        let before = visible();
        server.query(&more(round, round + 1));
        thread::scope(|scope| {
            scope.spawn(|| server.query("BEGIN; SELECT id FROM outbox FOR UPDATE; SELECT pg_sleep(600)"));
            let locked = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            wait("the lock", &relays, || server.query(locked).len() == 1);
            relays[0] = start(&server, 0);
            let held = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE%'";
            wait("a batch", &relays, || visible() > before && server.query(held).len() == 1);
            relays[0].kill();
            // First who deletes, or the server does that for the dead.
            for who in ["DELETE", "BEGIN; SELECT id"] {
                let end = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
                assert_eq!(server.query(&format!("{end} AND query LIKE '{who}%'")), ["t"], "{who}");
            }
        });
        assert_eq!(rows(&server), AGGREGATES, "what is in the topic is in the table, too");
        relays = [start(&server, 0), start(&server, 1)];
        wait("the rest", &relays, || rows(&server) == 0);
    }

    // One stands still and goes on when the other is done, and the database goes away.
    let before = written();
    server.query(&more(3, 2_000));
    wait("more", &relays, || written() > before);
    relays[0].signal("STOP");
    wait("the other takes over", &relays[1..], || rows(&server) == 0);
    relays[0].signal("CONT");
    let before = written();
    server.query(&more(2_000, 4_000));
    wait("more", &relays, || written() > before);
    server.stop();
    server.start();
    wait("the last events", &relays, || rows(&server) == 0);
    assert!(relays.iter_mut().all(Replica::alive), "a relay ended:\n{}", relays[0].log());

    let services = (0..SERVICES).flat_map(|service| (0..AGGREGATES).map(move |n| format!("order-{service}-{n}")));
    let mut expected: BTreeMap<_, _> = services.map(|key| (key, TRANSACTIONS * EVENTS / AGGREGATES)).collect();
    expected.extend((0..AGGREGATES).map(|n| (format!("late-{n}"), 4_000)));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let records = broker.read(TOPIC).into_iter();
    let found: Vec<_> = records.map(|(key, value)| (text(key), value.map(text).unwrap_or_default())).collect();
    let wrong = wrong(&found, &expected);
    assert!(wrong.is_empty(), "{} of {} events, first {:?}", wrong.len(), found.len(), wrong.first());
}
