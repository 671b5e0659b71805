//! Stores that a topic fills: read-only ones of a task, and global ones.

use crate::{driver, numbers, pipe, texts, try_pipe};
use millstream::{
    codec::serdes,
    fault::{Fault, Result},
    operator::{Processor, ProcessorContext},
    record::Record,
    testing::TestDriver,
    topology::{Consumed, Materialized, StoreBuilder, StreamsBuilder},
};

type Cx<'a> = ProcessorContext<'a, String, String>;

/// Gives each record the value that the store `rows` has for its key; `!` writes to it.
struct LookUp;

impl Processor<String, String, String, String> for LookUp {
    fn process(&mut self, cx: &mut Cx<'_>, record: Record<'_, String, String>) -> Result<()> {
        let Some(key) = record.key else { return Ok(()) };
        let mut rows = cx.store::<String, String>("rows")?;
        if record.value.is_some_and(|value| value == "!") {
            rows.delete(key)?;
        }
        let found = rows.get(key)?;
        cx.forward(record.with_value(found.as_ref()))
    }
}

fn text_store(name: &str) -> StoreBuilder<String, String> {
    StoreBuilder::key_value(name, serdes::string(), serdes::string())
}

fn read_only() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder.add_read_only_state_store(text_store("rows"), "rows", Consumed::default());
    builder.stream::<String, String>("in").process(|| LookUp, &["rows"]).to("out");
    builder
}

/// P-2: the topic is the store's changelog, also over crashes; nothing else is.
#[test]
fn p2_a_read_only_store_is_restored_from_its_topic() {
    let mut driver = driver(&read_only());
    for (topic, key, value) in
        [("rows", "a", "1"), ("rows", "b", "2"), ("rows", "-", "3"), ("rows", "a", "4"), ("rows", "b", "-")]
    {
        pipe(&mut driver, topic, key, value, 5);
        driver.crash().unwrap();
    }
    for key in ["a", "b"] {
        pipe(&mut driver, "in", key, "?", 7);
    }
    assert_eq!(texts(&mut driver, "out"), ["a=4@7", "b=-@7"]);
    assert_eq!(driver.dropped(), 1, "a record without a key");
    assert_eq!(driver.read_raw("rows").unwrap().len(), 5, "nothing is written to the topic");
    assert!(driver.topics().iter().all(|topic| !topic.ends_with("-changelog")));
    let text = read_only().build().unwrap().describe().to_owned();
    assert!(
        text.contains("Source: KSTREAM-SOURCE-0000000000 (topics: [rows])\n      --> KTABLE-SOURCE-0000000001"),
        "{text}"
    );
    assert!(text.contains("Processor: KTABLE-SOURCE-0000000001 (stores: [rows])"), "{text}");
}

/// P-2: a write would not be in the topic, and so be lost with the next restore.
#[test]
fn p2_processors_only_read_a_read_only_store() {
    let fault = try_pipe(&mut driver(&read_only()), "in", "a", "!", 5).unwrap_err();
    assert!(fault.to_string().starts_with("the store is read-only (store rows"), "{fault}");
}

/// P-2: versions too are the topic's; windows are not, as a topic has no windows by key.
#[test]
fn p2_kinds_of_read_only_stores() {
    struct Before;
    impl Processor<String, String, String, String> for Before {
        fn process(&mut self, cx: &mut Cx<'_>, record: Record<'_, String, String>) -> Result<()> {
            let Some(key) = record.key else { return Ok(()) };
            let at = record.timestamp;
            let found = cx.versioned_store::<String, String>("rows")?.get_as_of(key, at)?.map(|version| version.value);
            cx.forward(record.with_value(found.as_ref()))
        }
    }
    let hour = crate::ms(3_600_000);
    let builder = StreamsBuilder::new();
    let versions = StoreBuilder::versioned("rows", hour, serdes::string(), serdes::string());
    builder.add_read_only_state_store(versions, "rows", Consumed::with_name("prices"));
    builder.stream::<String, String>("in").process(|| Before, &["rows"]).to("out");
    let mut driver = driver(&builder);
    for (topic, value, at) in [("rows", "new", 30), ("rows", "old", 10), ("in", "?", 20), ("in", "?", 30)] {
        pipe(&mut driver, topic, "k", value, at);
        driver.crash().unwrap();
    }
    assert_eq!(texts(&mut driver, "out"), ["k=old@20", "k=new@30"]);

    let builder = StreamsBuilder::new();
    let windows = StoreBuilder::window("windows", hour, hour, serdes::string(), serdes::string());
    builder.add_read_only_state_store(windows, "rows", Consumed::default());
    assert!(builder.build().err().unwrap().to_string().contains("can't be a store of windows"));
}

/// Gives each record what the global store `sums` has for its key.
struct Sum;

impl Processor<String, String, String, i64> for Sum {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, i64>,
        record: Record<'_, String, String>,
    ) -> Result<()> {
        let Some(key) = record.key else { return Ok(()) };
        let sums = cx.global_store::<String, i64>("sums")?;
        let (sum, all) = (sums.get(key)?, sums.all()?);
        assert_eq!(all.len() as u64, sums.approximate_num_entries());
        cx.forward(record.with_value(sum.as_ref()))
    }
}

fn sums(on_odd: fn(String) -> Fault) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let store = StoreBuilder::key_value("sums", serdes::string(), serdes::i64());
    builder.add_global_store(store, "numbers", Consumed::<String, String>::default(), move |sums, record| {
        let (Some(key), Some(number)) = (record.key, record.value) else {
            return record.key.map_or(Ok(()), |key| sums.delete(key));
        };
        let number: i64 = number.parse().map_err(|_| on_odd(format!("`{number}` is no number")))?;
        let sum = sums.get(key)?.unwrap_or(0) + number;
        sums.put(key, &sum)
    });
    builder.stream::<String, String>("in").process(|| Sum, &[]).to("out");
    builder
}

/// D-4, P-2: the update runs for what the topic held before the start as well, and sees its own earlier writes.
#[test]
fn d4_a_global_store_is_made_by_its_own_update() {
    let mut driver = driver(&sums(Fault::skip));
    for (key, number) in [("a", "1"), ("a", "2"), ("b", "5"), ("c", "x"), ("d", "9"), ("d", "-"), ("a", "4")] {
        pipe(&mut driver, "numbers", key, number, 3);
    }
    assert_eq!(driver.dropped(), 1, "what the update skips");
    for crash in [false, true] {
        if crash {
            driver.crash().unwrap();
        }
        for key in ["a", "b", "d"] {
            pipe(&mut driver, "in", key, "?", 7);
        }
        assert_eq!(numbers(&mut driver, "out"), ["a=7@7", "b=5@7", "d=-@7"]);
    }
    let held: Vec<_> = driver.rows("sums").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(held, ["a", "b"]);
}

/// D-4: what the update can't do ends the process, and says where.
#[test]
fn d4_a_failing_update_ends_the_process() {
    let mut driver = driver(&sums(Fault::stop));
    pipe(&mut driver, "numbers", "a", "1", 3);
    let fault = try_pipe(&mut driver, "numbers", "c", "x", 3).unwrap_err();
    assert_eq!(fault.to_string(), "`x` is no number (numbers-0, processor KTABLE-SOURCE-0000000001, offset 1)",);
}

/// P-2: global tables are read by every processor too; naming a global store as connected is refused with the remedy.
#[test]
fn p2_a_global_table_is_read_by_processors() {
    struct Name;
    impl Processor<String, String, String, String> for Name {
        fn process(&mut self, cx: &mut Cx<'_>, record: Record<'_, String, String>) -> Result<()> {
            let names = cx.global_store::<String, String>("names")?;
            let name = names.range(record.value, record.value)?.pop().map(|(_, name)| name);
            cx.forward(record.with_value(name.as_ref()))
        }
    }
    let topology = |connected: &[&str]| {
        let builder = StreamsBuilder::new();
        builder.global_table_with::<String, String>("names", Consumed::default(), Materialized::as_store("names"));
        builder.stream::<String, String>("in").process(|| Name, connected).to("out");
        builder.build()
    };
    let mut driver = TestDriver::new(topology(&[]).unwrap()).unwrap();
    pipe(&mut driver, "names", "OSL", "Oslo", 1);
    pipe(&mut driver, "in", "k", "OSL", 2);
    assert_eq!(texts(&mut driver, "out"), ["k=Oslo@2"]);
    let fault = topology(&["names"]).err().unwrap();
    assert!(fault.to_string().contains("ask ProcessingContext::global_store for it"), "{fault}");
}
