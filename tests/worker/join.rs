//! A stream and a table that is joined with it, whose records lie a million records apart.

use super::{LIMIT, broker::Broker, number, replica::Launch};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i64 = 2;
const KEYS: i64 = 1_000;
/// Records of one side between two of the other.
const APART: i64 = 1_000_000;
/// Event time of the first price.
const START_MS: i64 = 1_760_000_000_000;
const LAST_ORDERS: i64 = 100_000;
const QUEUE_BYTES_MAX: u64 = 256 << 10;
/// A side held in memory takes more than 250 MiB.
const MEMORY_MAX: u64 = 160 << 20;

/// Each record carries this, so that a side kept in memory would show.
const PADDING: &str =
    "a hundred bytes of what an order or a price says besides its number, and which nobody here reads";

type Record = (i32, String, String, i64);

fn record(n: i64, value: i64, time: i64) -> Record {
    let key = n % KEYS;
    ((key % PARTITIONS) as i32, format!("item-{key:04}"), format!("{value} {PADDING}"), time)
}

fn quantity(n: i64) -> i64 {
    n % 7 + 1
}

fn price(n: i64) -> i64 {
    n % 9_973 + 1
}

/// A million orders at the first prices, and, when all prices have changed a thousand times, some more.
fn orders() -> impl Iterator<Item = Record> {
    let early = (0..APART).map(|n| record(n, quantity(n), START_MS + 1 + n));
    early.chain((0..LAST_ORDERS).map(|n| record(n, quantity(n), START_MS + 1 + 2 * APART + n)))
}

/// The first price of each key, and a million changes after the first million orders.
fn prices() -> impl Iterator<Item = Record> {
    let first = (0..KEYS).map(|n| record(n, price(n), START_MS));
    first.chain((0..APART).map(|n| record(n, price(KEYS + n), START_MS + 1 + APART + n)))
}

/// The sum of each key, from the two sides as written and in order of time.
fn expected() -> BTreeMap<Vec<u8>, i64> {
    let (mut known, mut sums) = (BTreeMap::new(), BTreeMap::new());
    let mut prices = prices().peekable();
    let first = |value: &str| value.split(' ').next().and_then(|n| n.parse::<i64>().ok()).expect("a number");
    for (_, key, value, time) in orders() {
        while let Some((_, key, value, _)) = prices.next_if(|(.., at)| *at <= time) {
            known.insert(key, first(&value));
        }
        *sums.entry(key.clone().into_bytes()).or_default() += first(&value) * known[&key];
    }
    sums
}

#[test]
fn sides_a_million_records_apart_join_exactly_in_bounded_memory() {
    let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
    for topic in ["orders", "prices", "bills"] {
        broker.create_topic(topic, PARTITIONS as i32);
    }
    broker.write("orders", orders(), None);
    broker.write("prices", prices(), None);
    let mut replica = Launch::new("bills", "bills", &broker.address, directory.path())
        .of_tests()
        .set("http.listen", "127.0.0.1:0")
        .set("partition.queue.max.bytes", &QUEUE_BYTES_MAX.to_string())
        .flag("--until-end")
        .start(0);
    let deadline = Instant::now() + LIMIT;
    let (mut memory, mut queued) = (0, 0);
    while replica.alive() {
        assert!(Instant::now() < deadline, "it does not end:\n{}", replica.log());
        memory = replica.peak_memory().max(memory);
        queued = replica.tasks().iter().filter_map(|t| t["queued_bytes"].as_u64()).max().unwrap_or(0).max(queued);
        thread::park_timeout(Duration::from_millis(50));
    }
    let status = replica.wait(LIMIT);
    assert!(status.success(), "{status}; its log:\n{}", replica.log());
    let bills: BTreeMap<_, _> = broker.fold("bills").into_iter().map(|(key, sum)| (key, number(&sum))).collect();
    let expected = expected();
    let wrong: Vec<_> = expected.iter().filter(|(key, sum)| bills.get(*key) != Some(sum)).take(5).collect();
    assert!(
        bills.len() == expected.len() && wrong.is_empty(),
        "{} sums; wrong: {wrong:?}\n{}",
        bills.len(),
        replica.log()
    );
    eprintln!("{} MiB resident at most, {} KiB queued in a task at most", memory >> 20, queued >> 10);
    assert!(memory > 0 && memory < MEMORY_MAX, "{} MiB resident", memory >> 20);
    // Both queues of a task full, and what the fetch that filled them brought at once.
    assert!(queued > QUEUE_BYTES_MAX && queued < 3 * QUEUE_BYTES_MAX, "{queued} bytes in the queues of one task");
}
