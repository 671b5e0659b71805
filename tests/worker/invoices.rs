//! A foreign-key join, session windows, suppress and a global table in one topology, with kills: its output is that of
//! the test driver.
//!
//! What is compared, and why it is defined:
//! - `ledger` and `receipts`: the exact records of each partition, in order. A partition of payments alone says what
//!   comes into the session windows and the buffer behind them, and both go by their own stream time; the rates are
//!   there before the first payment that needs them.
//! - `invoices`: the last value of each key. Between orders, customers and receipts lie topics whose records meet in any
//!   order, so values in between, and all times, are those of one run; where all of it ends is not.

use super::{
    BASE_MS, LIMIT,
    broker::{Broker, Record},
    replica::{Launch, Replica},
};
use millstream::{
    cli::Params,
    codec::partition_for,
    record::{Headers, RawRecord},
    testing::{DriverOptions, TestDriver},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 4;
const ORDERS: u64 = 2_000;
const CUSTOMERS: u64 = 150;
const ROUNDS: u64 = 4;
/// Payments of a round.
const ROUND: u64 = 6_000;
/// Event time between two payments: those of one order lie ten minutes apart on average, which is the sessions' gap.
const STEP_MS: i64 = 300;
const MINUTE_MS: i64 = 60_000;
/// Changes of rates before the first payment; only the last one of each currency counts.
const RATE_CHANGES: u64 = 3_000;
/// Known from this round on.
const LATE_CURRENCY: (&str, u64) = ("XAU", 2);
const CURRENCIES: [&str; 4] = ["EUR", "USD", "GBP", "JPY"];
/// Keys of payments that only ask whether a rate is known. They are too old for any session.
const PROBE: &str = "probe";

/// A number that depends on two others in no simple way.
fn mixed(seed: u64, of: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(of);
    for _ in 0..2 {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
    }
    x >> 8
}

/// A record for a topic of the scene.
struct Fed {
    topic: &'static str,
    key: String,
    value: Option<Value>,
    timestamp: i64,
}

fn fed(topic: &'static str, key: String, value: Option<Value>, timestamp: i64) -> Fed {
    Fed { topic, key, value, timestamp }
}

fn rate(currency: &str, micros: u64, timestamp: i64) -> Fed {
    fed("rates", currency.to_owned(), Some(json!({ "micros": micros })), timestamp)
}

/// The rates before the start: many changes, of which the last ones count.
fn rates() -> Vec<Fed> {
    let changes = (0..RATE_CHANGES).map(|n| rate(CURRENCIES[n as usize % 4], 1 + n, BASE_MS));
    changes.chain((0..4).map(|n| rate(CURRENCIES[n as usize], 500_000 + 100_000 * n, BASE_MS))).collect()
}

fn time(n: u64) -> i64 {
    BASE_MS + n as i64 * STEP_MS
}

/// One payment in eight is late, some by more than sessions wait.
fn payment(n: u64) -> Fed {
    let late = if n.is_multiple_of(8) { (mixed(1, n) % 25) as i64 * MINUTE_MS } else { 0 };
    let currency = match mixed(2, n) % 5 {
        4 if n / ROUND >= LATE_CURRENCY.1 => LATE_CURRENCY.0,
        c => CURRENCIES[c as usize % 4],
    };
    let ts = time(n) - late;
    let value = json!({ "currency": currency, "cents": 100 + mixed(3, n) % 10_000, "ts": ts });
    fed("payments", format!("order-{}", mixed(4, n) % ORDERS), Some(value), ts)
}

/// An order is made, moved to another customer, or taken back.
fn order(n: u64) -> Fed {
    let value = json!({ "customer": format!("customer-{}", mixed(5, n) % CUSTOMERS), "cents": mixed(6, n) % 100_000 });
    let gone = n >= ORDERS && mixed(7, n).is_multiple_of(10);
    let id = if n < ORDERS { n } else { mixed(8, n) % ORDERS };
    fed("orders", format!("order-{id}"), (!gone).then_some(value), time(n))
}

/// A customer is made, moves, or goes.
fn customer(n: u64) -> Fed {
    let value = json!({ "name": format!("Name {}", mixed(9, n) % 1_000), "city": format!("City {}", n % 17) });
    let gone = n >= CUSTOMERS && mixed(10, n).is_multiple_of(10);
    let id = if n < CUSTOMERS { n } else { mixed(11, n) % CUSTOMERS };
    fed("customers", format!("customer-{id}"), (!gone).then_some(value), time(n))
}

/// A round: the first one has every order and customer, the others change some.
fn round(round: u64) -> Vec<Fed> {
    let part = |all: u64| if round == 0 { 0..all } else { all + (round - 1) * all / 4..all + round * all / 4 };
    let orders = part(ORDERS).map(order);
    let customers = part(CUSTOMERS).map(customer);
    let payments = (round * ROUND..(round + 1) * ROUND).map(payment);
    // Each partition gets one after all others, which closes their sessions.
    let closers = (0..PARTITIONS).filter(|_| round + 1 == ROUNDS).map(|partition| {
        let key = (0..).map(|n| format!("closer-{n}")).find(|key| on(key) == partition).expect("one of many");
        let ts = time((round + 2) * ROUND);
        fed("payments", key, Some(json!({ "currency": "EUR", "cents": 1, "ts": ts })), ts)
    });
    let late = (round == LATE_CURRENCY.1).then(|| rate(LATE_CURRENCY.0, 2_000_000, BASE_MS));
    late.into_iter().chain(orders).chain(customers).chain(payments).chain(closers).collect()
}

fn on(key: &str) -> i32 {
    partition_for(key.as_bytes(), PARTITIONS)
}

/// A record of an output: key, value, time.
type Row = (String, Option<Value>, i64);

/// What a run wrote.
#[derive(Debug, Clone, Default, PartialEq)]
struct Written {
    /// The records of `ledger` and of `receipts`, by topic and partition.
    exact: BTreeMap<(&'static str, i32), Vec<Row>>,
    /// The last value of each key of `invoices`.
    invoices: BTreeMap<String, Value>,
}

impl Written {
    /// From a function that reads a topic, partition by partition in order.
    fn read(mut topic: impl FnMut(&'static str) -> Vec<Record>) -> Self {
        let mut written = Self::default();
        for record in topic("invoices") {
            let (_, (key, value, _)) = row(record);
            match value {
                Some(value) => written.invoices.insert(key, value),
                None => written.invoices.remove(&key),
            };
        }
        for name in ["ledger", "receipts"] {
            for (partition, row) in topic(name).into_iter().map(row).filter(|(_, row)| !row.0.starts_with(PROBE)) {
                written.exact.entry((name, partition)).or_default().push(row);
            }
        }
        written
    }

    fn count(&self, name: &str) -> usize {
        self.exact.iter().filter(|((topic, _), _)| *topic == name).map(|(_, rows)| rows.len()).sum()
    }

    fn rows(&self, name: &'static str) -> impl Iterator<Item = &Row> {
        self.exact.iter().filter(move |((topic, _), _)| *topic == name).flat_map(|(_, rows)| rows)
    }

    /// The first difference of each partition and of the invoices, and how many there are.
    fn differences(&self, expected: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for place in self.exact.keys().chain(expected.exact.keys()).collect::<BTreeSet<_>>() {
            let rows = |of: &Self| of.exact.get(place).cloned().unwrap_or_default();
            let (mine, theirs) = (rows(self), rows(expected));
            let at = (0..mine.len().max(theirs.len())).find(|at| mine.get(*at) != theirs.get(*at));
            if let Some(at) = at {
                found.push(format!(
                    "{place:?}: {} records, {} expected; number {at} is {:?}, expected {:?}",
                    mine.len(),
                    theirs.len(),
                    mine.get(at),
                    theirs.get(at)
                ));
            }
        }
        let keys: BTreeSet<_> = self.invoices.keys().chain(expected.invoices.keys()).collect();
        let wrong = keys.into_iter().filter(|key| self.invoices.get(*key) != expected.invoices.get(*key));
        let wrong: Vec<_> = wrong.map(|key| (key, self.invoices.get(key), expected.invoices.get(key))).collect();
        if let Some(first) = wrong.first() {
            found.push(format!("{} of {} invoices, as {first:?}", wrong.len(), expected.invoices.len()));
        }
        found
    }
}

fn row(record: Record) -> (i32, Row) {
    let key = String::from_utf8(record.key).expect("text");
    let value = record.value.map(|value| serde_json::from_slice(&value).expect("JSON"));
    (record.partition, (key, value, record.timestamp))
}

/// What the test driver makes of the same records, one at a time and without an accident.
fn expected() -> Written {
    let catalogue = topologies::catalogue();
    let entry = catalogue.entry("invoices").expect("it is there");
    let topology = (entry.build)(&Params::defaults(entry)).expect("it builds");
    let options = DriverOptions { partitions: PARTITIONS, ..DriverOptions::default() };
    let mut driver = TestDriver::with(topology, options).expect("it starts");
    for fed in rates().into_iter().chain((0..ROUNDS).flat_map(round)) {
        let value = fed.value.map(|value| value.to_string().into());
        let (key, headers) = (Some(fed.key.into()), Headers::new());
        let record = RawRecord { offset: 0, timestamp: fed.timestamp, key, value, headers };
        driver.pipe_raw(fed.topic, record).expect("it is processed");
    }
    Written::read(|topic| {
        let records = driver.read_raw(topic).expect("it is there");
        let record = |raw: RawRecord| {
            let key = raw.key.expect("a key");
            let partition = partition_for(&key, PARTITIONS);
            Record { partition, key: key.to_vec(), value: raw.value.map(|v| v.to_vec()), timestamp: raw.timestamp }
        };
        records.into_iter().map(record).collect()
    })
}

/// The application on a broker.
struct Scene {
    broker: Arc<Broker>,
    launch: Launch,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
        let inputs = ["orders", "customers", "payments", "rates"].map(|topic| format!("invoices-{topic}"));
        let outputs = ["invoices", "receipts", "ledger"].map(|topic| format!("invoices-{topic}"));
        inputs.iter().chain(&outputs).for_each(|topic| broker.create_topic(topic, PARTITIONS));
        let launch = Launch::new("invoices", "invoices", &broker.address, directory.path())
            .set("input.topic", &inputs.join(","))
            .set("output.topic", &outputs.join(","))
            // What a killed member had is not long without an owner.
            .set("session.timeout.ms", "2000")
            .set("heartbeat.interval.ms", "500");
        Self { broker, launch, _directory: directory }
    }

    fn write(&self, records: Vec<Fed>) {
        let mut topics: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for fed in records {
            let value = fed.value.map(|value| value.to_string());
            topics.entry(fed.topic).or_default().push((on(&fed.key), fed.key, value, fed.timestamp));
        }
        // Rates first: payments may need them.
        for (topic, records) in topics.into_iter().rev() {
            self.broker.write_values(&format!("invoices-{topic}"), records.into_iter());
        }
    }

    /// Offsets of the ledger that a reader of committed records gets to.
    fn booked(&self) -> i64 {
        self.broker.ranges("invoices-ledger").iter().map(|(_, end)| end).sum()
    }

    /// Waits until something is true of the broker while the replicas live.
    fn wait(&self, what: &str, replicas: &mut [Replica], mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !done() {
            for replica in replicas.iter_mut() {
                assert!(replica.alive(), "a replica ended:\n{}", replica.log());
            }
            assert!(Instant::now() < deadline, "{what} does not come:\n{}", replicas[0].log());
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits until the owner of each partition of payments has a rate for a currency.
    fn wait_for_rate(&self, currency: &str, replicas: &mut [Replica]) {
        let keys: Vec<String> = (0..PARTITIONS)
            .map(|partition| {
                (0..).map(|n| format!("{PROBE}-{n}")).find(|key| on(key) == partition).expect("one of many")
            })
            .collect();
        self.wait("a new rate", replicas, || {
            let value = json!({ "currency": currency, "cents": 1, "ts": 1 }).to_string();
            let records = keys.iter().map(|key| (on(key), key.clone(), Some(value.clone()), 1));
            self.broker.write_values("invoices-payments", records);
            let booked = self.broker.records("invoices-ledger");
            let known: BTreeSet<_> =
                booked.iter().filter(|r| r.key.starts_with(PROBE.as_bytes())).map(|r| r.partition).collect();
            known.len() == keys.len()
        });
    }
}

#[test]
fn kills_among_two_replicas_change_nothing_of_what_the_test_driver_says() {
    let expected = thread::spawn(expected);
    let scene = Scene::new();
    scene.write(rates());
    let mut replicas: Vec<Replica> = (0..2).map(|n| scene.launch.start(n)).collect();
    let (mut payments, mut open) = (0, 0);
    for number in 0..ROUNDS {
        if number == LATE_CURRENCY.1 {
            scene.write(vec![rate(LATE_CURRENCY.0, 2_000_000, BASE_MS)]);
            scene.wait_for_rate(LATE_CURRENCY.0, &mut replicas);
        }
        let before = scene.booked();
        scene.write(round(number));
        payments += ROUND as i64;
        scene.wait("progress", &mut replicas, || scene.booked() > before + 100);
        // In the middle of the work, and both of them at once in the end.
        let victims = if number + 1 == ROUNDS { 0..2 } else { number as usize % 2..number as usize % 2 + 1 };
        for victim in victims {
            replicas[victim].kill();
            open += (payments - scene.booked()).max(0);
            if number + 1 < ROUNDS {
                replicas[victim] = scene.launch.start(victim);
            }
        }
    }
    // On a disk of its own: all state comes from changelogs.
    scene.launch.clone().flag("--until-end").run(2, LIMIT);
    let found = Written::read(|topic| scene.broker.records(&format!("invoices-{topic}")));
    let expected = expected.join().expect("the test driver's run");
    let counts = |of: &Written| (of.count("ledger"), of.count("receipts"), of.invoices.len());
    println!("{open} payments open at kills; ledger, receipts, invoices: {:?}", counts(&found));
    let differences = found.differences(&expected);
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(open > 0, "no kill came while there was work");
    check_scene(&expected);
}

/// The scene has what it is meant to have: sessions of several payments, payments that came too late for any, invoices
/// that were paid and that were not, orders and customers that went.
fn check_scene(written: &Written) {
    let number =
        |value: &Option<Value>, field: &str| value.as_ref().map_or(0, |v| v[field].as_i64().expect("a number"));
    let paid: i64 = written.rows("receipts").map(|(_, value, _)| number(value, "payments")).sum();
    let joined = written.rows("receipts").filter(|(_, value, _)| number(value, "payments") > 1).count();
    let all = (ROUNDS * ROUND) as i64;
    assert_eq!(written.count("ledger") as i64, all + i64::from(PARTITIONS));
    assert!(paid < all - 100 && paid > all / 2, "{paid} of {all} in a receipt");
    assert!(joined > 1_000, "{joined} receipts of several payments");
    assert!(written.invoices.len() > 1_000 && written.invoices.len() < ORDERS as usize, "{}", written.invoices.len());
    let gold = written.rows("ledger").filter(|(_, value, _)| value.as_ref().is_some_and(|v| v["currency"] == "XAU"));
    assert!(gold.count() > 1_000);
}

#[test]
fn what_is_missing_or_twice_or_other_is_a_difference() {
    let row = |n: i64| (format!("order-{n}"), Some(json!({ "cents": n })), n);
    let rows: Vec<Row> = (0..5).map(row).collect();
    let exact = [("ledger", 0), ("receipts", 3)].map(|place| (place, rows.clone()));
    let invoices = [("a".to_owned(), json!(1)), ("b".to_owned(), json!(2))];
    let right = Written { exact: exact.into(), invoices: invoices.into() };
    assert_eq!(right.differences(&right), Vec::<String>::new());
    let planted = |plant: &dyn Fn(&mut Written)| {
        let mut wrong = right.clone();
        plant(&mut wrong);
        (wrong.differences(&right).len(), right.differences(&wrong).len())
    };
    let receipts = |w: &mut Written, change: &dyn Fn(&mut Vec<Row>)| {
        change(w.exact.get_mut(&("receipts", 3)).expect("it is there"));
    };
    let plants: [&dyn Fn(&mut Written); 8] = [
        &|w| receipts(w, &|rows| drop(rows.pop())),
        &|w| receipts(w, &|rows| drop(rows.remove(2))),
        &|w| receipts(w, &|rows| rows.insert(2, row(2))),
        &|w| receipts(w, &|rows| rows.swap(1, 2)),
        &|w| receipts(w, &|rows| rows[4].2 += 1),
        &|w| drop(w.exact.remove(&("ledger", 0))),
        &|w| drop(w.invoices.remove("b")),
        &|w| drop(w.invoices.insert("b".to_owned(), json!(3))),
    ];
    for (number, plant) in plants.iter().enumerate() {
        assert_eq!(planted(plant), (1, 1), "plant {number}");
    }
}
