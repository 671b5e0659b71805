//! Three systems run as three replicas while a client asks for their figures: channels, accounts and shops. Each answer is
//! what some committed beginning of each input topic comes to, recounted here without the product's code.

use super::{
    BASE_MS, PARTITIONS,
    asking::{Client, Committed, ask_owner},
    broker::Broker,
    replica::Launch,
};
use millstream::codec::partition_for;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Keys of a partition.
const KEYS: usize = 8;
/// Records of a partition of each topic, and how many are written at once.
const RECORDS: i64 = 1_800;
const CHUNK: i64 = 75;
/// Event time between two records of a partition: all of them lie within ten minutes and so many milliseconds.
const STEP_MS: i64 = 300;
const TEN_MINUTES_MS: i64 = 600_000;
const MINUTE_MS: i64 = 60_000;

/// Rows by key, and window start where there are windows.
type Rows = BTreeMap<(String, i64), Value>;

/// A system, its topics, and what it should have counted.
struct System {
    name: &'static str,
    store: &'static str,
    topics: &'static [&'static str],
    outputs: &'static [&'static str],
    /// Value of record `n` of a topic.
    value: fn(topic: usize, key: &str, n: i64) -> Value,
    /// What so many records of each topic come to, for these keys.
    recount: fn(keys: &[String], known: &[i64]) -> Rows,
    /// How many records of each topic rows tell of.
    known: fn(rows: &Rows) -> Vec<i64>,
}

fn keys() -> Vec<Vec<String>> {
    let of = |partition| {
        let all = (0..).map(|n| format!("id-{n}")).filter(|key| partition_for(key.as_bytes(), PARTITIONS) == partition);
        all.take(KEYS).collect()
    };
    (0..PARTITIONS).map(of).collect()
}

fn key(keys: &[String], n: i64) -> &String {
    &keys[(n.wrapping_mul(7_919) + n / 13) as usize % KEYS]
}

fn time(n: i64) -> i64 {
    BASE_MS + n * STEP_MS
}

fn int(row: &Value, field: &str) -> i64 {
    row[field].as_i64().unwrap_or_default()
}

const CHANNELS: System = System {
    name: "channel-stats",
    store: "messages-per-channel",
    topics: &["chat"],
    outputs: &["stats"],
    value: |_, channel, n| json!({"channel": channel, "user": "u", "text": "t", "ts": time(n)}),
    recount: |keys, known| {
        let mut counts: BTreeMap<(String, i64), i64> = BTreeMap::new();
        for n in 0..known[0] {
            let start = time(n) - time(n).rem_euclid(TEN_MINUTES_MS);
            *counts.entry((key(keys, n).clone(), start)).or_default() += 1;
        }
        counts.into_iter().map(|(row, count)| (row, count.into())).collect()
    },
    known: |rows| vec![rows.values().filter_map(Value::as_i64).sum()],
};

const CENTS: i64 = 7_000;
/// Payments of a minute that set off an alert, once a minute.
const BURST: usize = 5;

const ACCOUNTS: System = System {
    name: "fraud-detector",
    store: "accounts",
    topics: &["payments"],
    outputs: &["alerts", "rejected"],
    value: |_, _, n| json!({"id": format!("p{n}"), "cents": CENTS, "ts": time(n)}),
    recount: |keys, known| {
        let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        let mut alerts: BTreeMap<String, i64> = BTreeMap::new();
        for n in 0..known[0] {
            let (user, now) = (key(keys, n), time(n));
            let times = times.entry(user.clone()).or_default();
            times.push(now);
            let recent = times.iter().filter(|at| **at > now - MINUTE_MS).count();
            if recent >= BURST && alerts.get(user).is_none_or(|last| now - last >= MINUTE_MS) {
                alerts.insert(user.clone(), now);
            }
        }
        let row = |(user, times): (String, Vec<i64>)| {
            let account = json!({"total_cents": CENTS * times.len() as i64, "burst_at": alerts.get(&user)});
            ((user, 0), account)
        };
        times.into_iter().map(row).collect()
    },
    known: |rows| vec![rows.values().map(|account| int(account, "total_cents")).sum::<i64>() / CENTS],
};

const SHOPS: System = System {
    name: "revenue-analytics",
    store: "totals",
    topics: &["orders", "shop-payments", "stock"],
    outputs: &["reports"],
    value: |topic, _, n| match topic {
        0 => json!({"cents": 100 + n}),
        1 => json!({"cents": 100 + n, "ok": n % 5 != 0}),
        _ => json!({"quantity": 1}),
    },
    recount: |keys, known| {
        let mut totals: BTreeMap<String, [i64; 6]> = BTreeMap::new();
        for (topic, known) in known.iter().enumerate() {
            for n in 0..*known {
                let totals = totals.entry(key(keys, n).clone()).or_default();
                let good = i64::from(n % 5 != 0);
                let added = match topic {
                    0 => [1, 100 + n, 0, 0, 0, 0],
                    1 => [0, 0, 1, 1 - good, good * (100 + n), 0],
                    _ => [0, 0, 0, 0, 0, 1],
                };
                totals.iter_mut().zip(added).for_each(|(total, added)| *total += added);
            }
        }
        let fields = ["orders", "ordered_cents", "payments", "failed_payments", "revenue_cents", "in_stock"];
        let row = |(shop, totals): (String, [i64; 6])| {
            let totals = fields.iter().zip(totals).map(|(field, total)| ((*field).to_owned(), Value::from(total)));
            ((shop, 0), Value::Object(totals.collect()))
        };
        totals.into_iter().map(row).collect()
    },
    known: |rows| {
        ["orders", "payments", "in_stock"].iter().map(|f| rows.values().map(|row| int(row, f)).sum()).collect()
    },
};

impl System {
    fn rows(body: &Value) -> Rows {
        assert!(body["next"].is_null(), "a page holds them all: {body}");
        let row = |row: &Value| {
            let key = row["key"].as_str().expect("a key").to_owned();
            ((key, row["start"].as_i64().unwrap_or_default()), row["value"].clone())
        };
        body["rows"].as_array().expect("rows").iter().map(row).collect()
    }

    /// How many records of each topic the rows of a partition know of.
    ///
    /// # Errors
    /// When they are what no beginnings of the topics come to.
    fn explained(&self, keys: &[String], rows: &Rows) -> Result<Vec<i64>, String> {
        let known = (self.known)(rows);
        let expected = (self.recount)(keys, &known);
        if *rows == expected { Ok(known) } else { Err(format!("{rows:?} is not what {known:?} come to: {expected:?}")) }
    }

    /// Runs it, asks all along, and compares what is asked at the end with what was written.
    fn run(&'static self) {
        let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
        let application = format!("answers-{}", self.name);
        let named = |topics: &[&str]| topics.iter().map(|t| format!("{application}-{t}")).collect::<Vec<_>>();
        let (inputs, outputs) = (named(self.topics), named(self.outputs));
        inputs.iter().chain(&outputs).for_each(|topic| broker.create_topic(topic, PARTITIONS));
        let mut launch = Launch::new(self.name, &application, &broker.address, directory.path())
            .set("input.topic", &inputs.join(","))
            .set("output.topic", &outputs.join(","));
        if let Some(rejected) = outputs.get(1) {
            launch = launch.set("errors.dead.letter.queue.topic.name", rejected);
        }
        let all = Arc::new(keys());
        let explain = {
            let all = Arc::clone(&all);
            move |partition: usize, body: &Value| self.explained(&all[partition], &Self::rows(body))
        };
        let committed = inputs.iter().map(|topic| Box::new(broker.commits(&application, topic)) as Committed).collect();
        let client = Client::new(self.store, Box::new(explain), committed, RECORDS);
        let replicas = client.ask_all_along(&launch, RECORDS / CHUNK, |chunk| {
            for (topic, input) in inputs.iter().enumerate() {
                let records = (chunk * CHUNK..(chunk + 1) * CHUNK).flat_map(|n| {
                    all.iter().enumerate().map(move |(partition, keys)| {
                        let key = key(keys, n);
                        (partition as i32, key.clone(), (self.value)(topic, key, n).to_string(), time(n))
                    })
                });
                broker.write(input, records, None);
            }
        });
        let address = replicas[0].address().expect("it serves");
        for keys in all.iter() {
            let every = (self.recount)(keys, &vec![RECORDS; self.topics.len()]);
            let ((key, start), value) = every.into_iter().next_back().expect("rows");
            let window = if start > 0 { format!("?from={start}&to={start}") } else { String::new() };
            let (status, body) = ask_owner(&address, &format!("/stores/{}/keys/{key}{window}", self.store));
            assert_eq!((status, asked(&body)), (200, &value), "{key}");
        }
    }
}

/// The value of the only row of an answer.
fn asked(body: &Value) -> &Value {
    body.get("rows").map_or(body, |rows| &rows[0]).get("value").unwrap_or_else(|| panic!("a value: {body}"))
}

#[test]
fn channels_are_asked_for_over_a_kill_and_rebalances() {
    CHANNELS.run();
}

#[test]
fn accounts_are_asked_for_over_a_kill_and_rebalances() {
    ACCOUNTS.run();
}

#[test]
fn shops_are_asked_for_over_a_kill_and_rebalances() {
    SHOPS.run();
}

#[test]
fn figures_that_no_beginning_explains_are_wrong() {
    let keys = keys().swap_remove(2);
    for system in [&CHANNELS, &ACCOUNTS, &SHOPS] {
        for n in [0, 1, 30, 777, RECORDS] {
            let known: Vec<i64> = (0..).map(|topic| (n - topic * 7).max(0)).take(system.topics.len()).collect();
            let right = (system.recount)(&keys, &known);
            assert_eq!(system.explained(&keys, &right), Ok(known), "{} {n}", system.name);
            if n < 30 {
                continue;
            }
            // A row is missing; two rows have each other's values.
            let mut wrong = right.clone();
            wrong.pop_first();
            assert!(system.explained(&keys, &wrong).is_err(), "{} {n}", system.name);
            let mut wrong: Vec<_> = right.into_iter().collect();
            let at = (1..wrong.len()).find(|at| wrong[*at].1 != wrong[0].1).expect("rows differ");
            let value = wrong[0].1.clone();
            wrong[0].1 = std::mem::replace(&mut wrong[at].1, value);
            assert!(system.explained(&keys, &wrong.into_iter().collect()).is_err(), "{} {n}", system.name);
        }
    }
}
