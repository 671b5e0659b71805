//! Records that a processor fails on: tried again in time and in order, given up in the end, and all of it once, whatever
//! crashes.

use millstream::{
    codec::{Serde, serdes},
    fault::{Fault, Result},
    operator::OnError,
    record::{Headers, RawRecord, Record},
    testing::{DriverOptions, TestDriver},
    topology::{Processor, ProcessorContext, Retry, StoreBuilder, StreamsBuilder},
    worker::Settings,
};
use std::{panic, time::Duration};

/// Passes records on. A value `boom 2 x` fails two attempts, `panic 1 x` panics once, `hopeless` is not tried again.
struct Flaky;

type Cx<'a> = ProcessorContext<'a, String, String>;

impl Processor<String, String, String, String> for Flaky {
    fn process(&mut self, cx: &mut Cx<'_>, record: Record<'_, String, String>) -> Result<()> {
        let value = record.value.cloned().unwrap_or_default();
        let mut tries = cx.store::<String, i64>("tries")?;
        let tried = tries.get(&value)?.unwrap_or(0) + 1;
        tries.put(&value, &tried)?;
        let mut words = value.split(' ');
        let (what, times) = (words.next(), words.next().and_then(|n| n.parse::<i64>().ok()).unwrap_or(0));
        match what {
            Some("boom") if tried <= times => Err(Fault::stop(format!("attempt {tried}"))),
            Some("panic") if tried <= times => panic!("attempt {tried}"),
            Some("hopeless") => Err(Fault::skip("no hope")),
            _ => cx.forward(record),
        }
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn retry() -> Retry<String, String> {
    Retry::as_store("retries").delay(secs(1)).dead_letter_topic("dead").topic("failed")
}

fn builder(retry: Retry<String, String>) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder.add_state_store(StoreBuilder::key_value("tries", serdes::string(), serdes::i64()));
    builder.stream::<String, String>("in").process_with_retries(|| Flaky, &["tries"], retry).to("out");
    builder
}

/// A driver that commits after each record, on a topology with these retries.
struct Scene(TestDriver);

impl Scene {
    fn new(retry: Retry<String, String>) -> Self {
        Self(TestDriver::new(builder(retry).build().expect("it is sound")).expect("it starts"))
    }

    fn pipe(&mut self, key: &str, value: &str) {
        let text = serdes::string();
        self.0.pipe("in", &text, &text, Some(&key.to_owned()), Some(&value.to_owned()), 5).expect("it is processed");
    }

    fn wait(&mut self, time: Duration) {
        self.0.advance(time).expect("it runs");
    }

    fn values(&mut self, topic: &str) -> Vec<String> {
        let text = |raw: RawRecord| String::from_utf8(raw.value.expect("a value").to_vec()).expect("text");
        self.0.read_raw(topic).expect("a topic").into_iter().map(text).collect()
    }

    /// Rows of records that wait.
    fn waiting(&mut self) -> usize {
        self.0.rows("retries").expect("a store").len()
    }
}

fn header(record: &RawRecord, name: &str) -> String {
    let value = record.headers.last(name).flatten().unwrap_or_else(|| panic!("no header {name}"));
    String::from_utf8(value.to_vec()).expect("text")
}

#[test]
fn a_record_is_tried_again_in_time_and_later_ones_of_its_key_wait() {
    let mut scene = Scene::new(retry());
    for (key, value) in [("a", "boom 2 1"), ("a", "2"), ("b", "3"), ("a", "boom 1 4"), ("a", "5")] {
        scene.pipe(key, value);
    }
    assert_eq!(scene.values("out"), ["3"], "other keys go on");
    scene.wait(Duration::from_millis(999));
    assert!(scene.values("out").is_empty());
    scene.wait(Duration::from_millis(1));
    assert!(scene.values("out").is_empty(), "the second attempt fails too");
    scene.wait(secs(1));
    assert_eq!(scene.values("out"), ["boom 2 1", "2"]);
    scene.pipe("a", "6");
    scene.wait(secs(1));
    assert_eq!(scene.values("out"), ["boom 1 4", "5", "6"]);
    assert_eq!(scene.waiting(), 0, "nothing is left behind");
    scene.pipe("a", "7");
    assert_eq!((scene.values("out"), scene.values("dead")), (vec!["7".to_owned()], vec![]));
}

#[test]
fn the_order_can_be_given_up() {
    let mut scene = Scene::new(retry().without_order());
    for value in ["boom 1 1", "2", "boom 2 3", "4"] {
        scene.pipe("a", value);
    }
    assert_eq!(scene.values("out"), ["2", "4"]);
    scene.wait(secs(1));
    assert_eq!(scene.values("out"), ["boom 1 1"]);
    scene.wait(secs(1));
    assert_eq!((scene.values("out"), scene.waiting()), (vec!["boom 2 3".to_owned()], 0));
}

#[test]
fn records_without_a_key_never_wait_for_each_other() {
    let (mut scene, text) = (Scene::new(retry()), serdes::string());
    for value in ["boom 1 1", "2"] {
        scene.0.pipe("in", &text, &text, None, Some(&value.to_owned()), 5).unwrap();
    }
    assert_eq!(scene.values("out"), ["2"]);
    scene.wait(secs(1));
    assert_eq!(scene.values("out"), ["boom 1 1"]);
}

#[test]
fn what_fails_too_often_becomes_a_dead_letter_as_it_came_and_the_stream_goes_on() {
    let mut scene = Scene::new(retry());
    scene.pipe("b", "1");
    let headers: Headers = [("h".to_owned(), Some("1".into()))].into_iter().collect();
    let (key, value) = (Some("a".into()), Some("boom 9 2".into()));
    scene.0.pipe_raw("in", RawRecord { offset: 0, timestamp: 5, key, value, headers }).unwrap();
    scene.pipe("a", "3");
    scene.wait(secs(1));
    assert_eq!((scene.values("out").len(), scene.values("dead").len()), (1, 0));
    scene.wait(secs(1));
    let [dead] = &scene.0.read_raw("dead").unwrap()[..] else { panic!("one dead letter") };
    assert_eq!((dead.key.as_deref(), dead.value.as_deref()), (Some(&b"a"[..]), Some(&b"boom 9 2"[..])));
    for (name, value) in [
        ("h", "1"),
        ("millstream.retry.attempts", "3"),
        ("millstream.retry.first.failure.ms", "0"),
        ("__streams.errors.message", "attempt 3"),
        ("__streams.errors.topic", "in"),
        ("__streams.errors.partition", "0"),
        ("__streams.errors.offset", "1"),
    ] {
        assert_eq!(header(dead, name), value, "{name}");
    }
    assert_eq!((scene.values("out"), scene.waiting(), scene.0.dropped()), (vec!["3".to_owned()], 0, 1));
}

#[test]
fn each_failure_that_an_attempt_follows_is_told() {
    let mut scene = Scene::new(retry().backoff(10, secs(5)).attempts(4));
    scene.pipe("a", "boom 3 x");
    for wait in [1, 5, 5] {
        scene.wait(secs(wait));
    }
    assert_eq!(scene.values("out"), ["boom 3 x"]);
    let told = scene.0.read_raw("failed").unwrap();
    let all = |name: &str| told.iter().map(|record| header(record, name)).collect::<Vec<_>>();
    assert_eq!(all("millstream.retry.attempts"), ["1", "2", "3"]);
    assert_eq!(
        all("millstream.retry.due.ms"),
        ["1000", "6000", "11000"],
        "ten times as long, but not above five seconds"
    );
    assert_eq!(all("millstream.retry.first.failure.ms"), ["0", "0", "0"]);
    assert_eq!(all("millstream.retry.error")[1], "attempt 2 (processor KSTREAM-PROCESSOR-0000000001)");
    assert_eq!(all("millstream.retry.offset"), ["0", "0", "0"]);
}

#[test]
fn panics_are_tried_again_and_what_is_hopeless_is_not() {
    panic::set_hook(Box::new(|_| {}));
    let mut scene = Scene::new(retry());
    scene.pipe("a", "panic 1 x");
    scene.pipe("b", "hopeless");
    assert_eq!(scene.values("dead"), ["hopeless"]);
    scene.wait(secs(1));
    assert_eq!(scene.values("out"), ["panic 1 x"]);
    drop(panic::take_hook());
}

#[test]
fn only_so_many_records_wait() {
    let mut scene = Scene::new(retry().waiting_max(2));
    for (key, value) in [("a", "boom 1 1"), ("a", "2"), ("a", "3"), ("b", "boom 1 4"), ("c", "5")] {
        scene.pipe(key, value);
    }
    let dead = scene.0.read_raw("dead").unwrap();
    let messages: Vec<_> = dead.iter().map(|record| header(record, "__streams.errors.message")).collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], "a record of its key failed, and 2 records wait already");
    assert!(
        messages[1].starts_with("attempt 1 ") && messages[1].ends_with(", and 2 records wait already"),
        "{messages:?}"
    );
    scene.wait(secs(1));
    assert_eq!(scene.values("out"), ["5", "boom 1 1", "2"]);
    scene.pipe("b", "boom 1 6");
    assert_eq!(scene.values("dead").len(), 0, "there is room again");
}

/// The thread has other things to do than to try what has gathered.
#[test]
fn only_so_many_attempts_are_made_at_once() {
    let mut scene = Scene::new(retry());
    for n in 0..150 {
        scene.pipe(&format!("k{n}"), &format!("boom 1 {n}"));
    }
    for n in 0..120 {
        scene.pipe("k0", &n.to_string());
    }
    let ms = Duration::from_millis(1);
    scene.wait(secs(1));
    assert_eq!(scene.values("out").len(), 100);
    scene.wait(ms);
    assert_eq!(scene.values("out").len(), 100);
    scene.wait(ms);
    assert_eq!((scene.values("out").len(), scene.waiting()), (70, 0));
}

#[test]
fn without_a_dead_letter_topic_the_handler_decides() {
    let mut kept = Scene::new(Retry::as_store("retries").attempts(1));
    let text = serdes::string();
    let fault = kept.0.pipe("in", &text, &text, None, Some(&"boom 1 x".to_owned()), 0).unwrap_err();
    assert!(fault.to_string().starts_with("attempt 1"), "{fault}");
    let builder = builder(Retry::as_store("retries").attempts(2).delay(secs(1)));
    builder.on_processing_error(|_, _| OnError::Continue);
    let mut scene = Scene(TestDriver::new(builder.build().unwrap()).unwrap());
    scene.pipe("a", "boom 2 1");
    scene.pipe("a", "2");
    scene.wait(secs(1));
    assert_eq!((scene.values("out"), scene.0.dropped()), (vec!["2".to_owned()], 1));
}

#[test]
fn mistakes_are_named() {
    for (retry, wanted) in [
        (retry().attempts(0), "no attempt is made (retries retries)"),
        (retry().waiting_max(0), "no record may wait (retries retries)"),
        (retry().backoff(0, secs(1)), "a backoff of 0 times is no delay (retries retries)"),
        (retry().topic("a b"), "name `a b` has a character"),
    ] {
        let fault = builder(retry).build().err().expect("it is refused").to_string();
        assert!(fault.starts_with(wanted), "{fault}");
    }
    // A type without a default serde needs one.
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Order;
    struct Drop;
    impl Processor<String, Order, String, String> for Drop {
        fn process(&mut self, _: &mut Cx<'_>, _: Record<'_, String, Order>) -> Result<()> {
            Ok(())
        }
    }
    let orders = |serde: Option<Serde<Order>>| {
        let builder = StreamsBuilder::new();
        let retry = Retry::as_store("retries");
        let retry = match serde {
            Some(serde) => retry.serdes(serdes::string(), serde),
            None => retry,
        };
        let orders = builder.stream::<String, String>("in").map_values(|_| Some(Order));
        orders.process_with_retries(|| Drop, &[], retry).to("out");
        builder.build()
    };
    assert!(orders(None).err().unwrap().to_string().contains("no value serde"));
    orders(Some(serdes::json())).unwrap();
}

/// The process dies after each number of turns while records fail, wait, are tried again, and are given up.
#[test]
fn crashes_lose_no_attempt_and_make_none_twice() {
    for turns in 0..60 {
        let settings = Settings { commit_interval_ms: 20, ..Settings::default() };
        let options = DriverOptions { settings, ..DriverOptions::default() };
        let retry = retry().delay(Duration::from_millis(40));
        let mut driver = TestDriver::with(builder(retry).build().unwrap(), options).unwrap();
        let input = [("a", "boom 2 1"), ("a", "2"), ("b", "boom 9 3"), ("a", "boom 1 4"), ("b", "5"), ("a", "6")];
        for (key, value) in input {
            let (key, value) = (Some(key.into()), Some(value.into()));
            let record = RawRecord { offset: 0, timestamp: 5, key, value, headers: Headers::new() };
            driver.pipe_raw_and_crash("in", record, turns).unwrap();
            driver.advance(Duration::from_millis(15)).unwrap();
        }
        for _ in 0..100 {
            driver.advance(Duration::from_millis(10)).unwrap();
        }
        let mut scene = Scene(driver);
        let of = |key: &str, all: &[RawRecord]| -> Vec<String> {
            let own = all.iter().filter(|record| record.key.as_deref() == Some(key.as_bytes()));
            own.map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()).collect()
        };
        let out = scene.0.read_raw("out").unwrap();
        assert_eq!(of("a", &out), ["boom 2 1", "2", "boom 1 4", "6"], "{turns} turns");
        assert_eq!(of("b", &out), ["5"], "{turns} turns");
        assert_eq!((scene.values("dead"), scene.waiting()), (vec!["boom 9 3".to_owned()], 0), "{turns} turns");
        let told = scene.0.read_raw("failed").unwrap();
        let attempts = |value: &str| {
            let own = told.iter().filter(|record| record.value.as_deref() == Some(value.as_bytes()));
            own.map(|record| header(record, "millstream.retry.attempts")).collect::<Vec<_>>()
        };
        assert_eq!(attempts("boom 2 1"), ["1", "2"], "{turns} turns");
        assert_eq!(attempts("boom 9 3"), ["1", "2"], "{turns} turns");
        assert_eq!(attempts("boom 1 4"), ["1"], "{turns} turns");
    }
}
