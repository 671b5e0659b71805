//! The reader of global tables: it reads everything before a record is processed, follows what is committed, and says what
//! is wrong. The topology is `invoices`; its ledger has a record for each payment in a currency with a rate.

use super::{
    BASE_MS, LIMIT,
    broker::Broker,
    replica::{Launch, Replica},
};
use rdkafka::producer::Producer;
use serde_json::Value;
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 2;
/// What the broker lets the reader have in a second; at first it tolerates ten seconds' worth at once.
const BYTES_A_SECOND: u32 = 100_000;
const CURRENCIES: i64 = 20_000;
const READS_FOR: Duration = Duration::from_secs(2);

struct Scene {
    broker: Arc<Broker>,
    name: &'static str,
    launch: Launch,
    _directory: tempfile::TempDir,
}

impl Scene {
    /// Without its topic of rates.
    fn new(name: &'static str) -> Self {
        let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
        let topics = |names: &[&str]| -> Vec<String> { names.iter().map(|topic| format!("{name}-{topic}")).collect() };
        let (inputs, outputs) = (["orders", "customers", "payments", "rates"], ["invoices", "receipts", "ledger"]);
        topics(&inputs[..3]).iter().chain(&topics(&outputs)).for_each(|topic| broker.create_topic(topic, PARTITIONS));
        let launch = Launch::new("invoices", name, &broker.address, directory.path())
            .set("input.topic", &topics(&inputs).join(","))
            .set("output.topic", &topics(&outputs).join(","))
            .set("process.id", "one");
        Self { broker, name, launch, _directory: directory }
    }

    fn with_rates(self, partitions: i32) -> Self {
        self.broker.create_topic(&self.rates(), partitions);
        self
    }

    fn rates(&self) -> String {
        format!("{}-rates", self.name)
    }

    fn pay(&self, currencies: impl Iterator<Item = String>) {
        let payment = |(n, currency): (usize, String)| {
            let value = format!(r#"{{"currency":"{currency}","cents":1000000,"ts":{BASE_MS}}}"#);
            (n as i32 % PARTITIONS, format!("order-{n}"), value, BASE_MS)
        };
        self.broker.write(&format!("{}-payments", self.name), currencies.enumerate().map(payment), None);
    }

    /// Currencies and cents of the ledger, sorted.
    fn ledger(&self) -> Vec<(String, i64)> {
        let booking = |(_, value): (Vec<u8>, Option<Vec<u8>>)| {
            let value: Value = serde_json::from_slice(&value.expect("a booking")).expect("JSON");
            (value["currency"].as_str().expect("text").to_owned(), value["cents"].as_i64().expect("a number"))
        };
        let mut ledger: Vec<_> = self.broker.read(&format!("{}-ledger", self.name)).into_iter().map(booking).collect();
        ledger.sort();
        ledger
    }

    /// Pays in a currency until the last booking is that one.
    fn pay_until(&self, replica: &mut Replica, currency: &str, cents: i64) {
        wait(replica, "a booking at the new rate", |_| {
            self.pay([currency.to_owned()].into_iter());
            self.ledger().contains(&(currency.to_owned(), cents))
        });
    }
}

fn wait(replica: &mut Replica, what: &str, mut done: impl FnMut(&Replica) -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done(replica) {
        assert!(replica.alive() && Instant::now() < deadline, "{what} does not come:\n{}", replica.log());
        thread::park_timeout(Duration::from_millis(50));
    }
}

fn rate(n: i64, micros: i64) -> (i32, String, String, i64) {
    (n as i32 % PARTITIONS, format!("C{n}"), format!(r#"{{"micros":{micros}}}"#), BASE_MS)
}

fn stop(mut replica: Replica) {
    replica.signal("TERM");
    let status = replica.wait(LIMIT);
    assert!(status.success(), "{status}; its log:\n{}", replica.log());
}

/// What a worker says that can't start.
fn last_words(scene: &Scene) -> String {
    let mut replica = scene.launch.start(0);
    let status = replica.wait(Duration::from_secs(60));
    assert!(!status.success(), "{}", replica.log());
    replica.log()
}

#[test]
fn no_payment_is_processed_before_the_last_rate_is_there() {
    let scene = Scene::new("globals-whole").with_rates(PARTITIONS);
    scene.broker.write(&scene.rates(), (0..2 * CURRENCIES).map(|n| rate(n % CURRENCIES, n)), None);
    scene.pay((0..1_000).map(|n| format!("C{}", CURRENCIES - 1 - n)));
    scene.broker.slow_down("globals-whole-one-global", BYTES_A_SECOND);
    let mut replica = scene.launch.start(0);
    wait(&mut replica, "the reader", |replica| replica.whole_log().contains("restoring global tables"));
    let begun = Instant::now();
    wait(&mut replica, "the first task", |replica| replica.whole_log().contains("assigned generation="));
    let read_for = begun.elapsed();
    assert!(replica.whole_log().contains(&format!("restored global tables rows={CURRENCIES}")), "{}", replica.log());
    wait(&mut replica, "the ledger", |_| scene.ledger().len() == 1_000);
    stop(replica);
    let mut expected: Vec<_> =
        (0..1_000).map(|n| CURRENCIES - 1 - n).map(|n| (format!("C{n}"), CURRENCIES + n)).collect();
    expected.sort();
    assert_eq!(scene.ledger(), expected);
    assert!(read_for > READS_FOR, "the broker did not slow the reader down: {read_for:?}");
}

#[test]
fn committed_changes_are_followed_and_open_ones_hold_nothing_up() {
    let scene = Scene::new("globals-open").with_rates(PARTITIONS);
    scene.broker.write(&scene.rates(), (0..4).map(|n| rate(n, 10 + n)), None);
    let open = scene.broker.open_transaction_with(&scene.rates(), rate(0, 99));
    scene.pay((0..4).map(|n| format!("C{n}")));
    let mut replica = scene.launch.start(0);
    wait(&mut replica, "the ledger", |_| scene.ledger().len() == 4);
    let booked = |n: i64, cents: i64| (format!("C{n}"), cents);
    assert_eq!(scene.ledger(), [booked(0, 10), booked(1, 11), booked(2, 12), booked(3, 13)]);
    // The other partition goes on beside the open transaction.
    scene.broker.write(&scene.rates(), [rate(1, 21)].into_iter(), None);
    scene.pay_until(&mut replica, "C1", 21);
    open.commit_transaction(Duration::from_secs(30)).expect("commits");
    scene.pay_until(&mut replica, "C0", 99);
    // A deleted rate, too, and then each payment is left out.
    scene.broker.write_values(&scene.rates(), [(0, "C2".to_owned(), None, BASE_MS)].into_iter());
    scene.broker.write(&scene.rates(), [rate(0, 100)].into_iter(), None);
    scene.pay_until(&mut replica, "C0", 100);
    scene.pay(["C2".to_owned(), "C3".to_owned()].into_iter());
    wait(&mut replica, "the last payment", |_| scene.ledger().iter().filter(|b| **b == booked(3, 13)).count() == 2);
    assert_eq!(scene.ledger().iter().filter(|b| **b == booked(2, 12)).count(), 1);
    assert!(!replica.whole_log().contains("WARN"), "{}", replica.log());
    stop(replica);
}

#[test]
fn a_missing_global_topic_is_one_clear_error() {
    let log = last_words(&Scene::new("globals-missing"));
    assert!(log.contains("topics do not exist: globals-missing-rates ") && !log.contains("panicked"), "{log}");
}

#[test]
fn a_global_topic_that_may_not_be_read_is_told() {
    let scene = Scene::new("globals-denied").with_rates(1);
    scene.broker.write(&scene.rates(), [(0, "EUR".to_owned(), "{}".to_owned(), BASE_MS)].into_iter(), None);
    scene.broker.deny(&scene.rates(), "Read");
    let log = last_words(&scene);
    let told = "the broker does not let this application read a global table: ";
    assert!(log.contains(told) && log.contains("globals-denied-rates-0"), "{log}");
}

#[test]
fn a_global_record_that_can_not_be_read_is_told_with_its_place() {
    let scene = Scene::new("globals-unreadable").with_rates(1);
    let rates = ["{\"micros\":1}", "one"].map(|rate| (0, "EUR".to_owned(), rate.to_owned(), BASE_MS));
    scene.broker.write(&scene.rates(), rates.into_iter(), None);
    let log = last_words(&scene);
    assert!(log.contains("a record can't be read: ") && log.contains("globals-unreadable-rates-0, "), "{log}");
    assert!(log.contains("offset 1") && log.contains("mend the serde"), "{log}");
}
