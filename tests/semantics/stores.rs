//! Stores and caches.

use crate::{driver, ms, numbers, pipe, slow_driver};
use millstream::{
    codec::serdes,
    fault::Result,
    operator::{Processor, ProcessorContext},
    record::Record,
    testing::{DriverOptions, TestDriver},
    topology::{Materialized, StoreBuilder, StreamsBuilder},
    worker::Settings,
};

fn counts(store: Materialized<String, i64>) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").group_by_key().count_with(store).to_stream().to("out");
    builder
}

/// P-60, P-62: what the DSL keeps is cached unless told otherwise: one update of a key and commit.
#[test]
fn p60_stores_of_the_dsl_are_cached_by_default() {
    for (cached, wanted) in [(true, vec!["k=3@3"]), (false, vec!["k=1@1", "k=2@2", "k=3@3"])] {
        let store = Materialized::as_store("counts");
        let mut driver = slow_driver(&counts(if cached { store } else { store.with_caching_disabled() }));
        for at in 1..4 {
            pipe(&mut driver, "in", "k", "v", at);
        }
        driver.advance(ms(100)).unwrap();
        assert_eq!(numbers(&mut driver, "out"), wanted);
    }
}

/// P-63: a cache that is full tells what it holds before the commit.
#[test]
fn p63_a_full_cache_forwards_early() {
    let settings = Settings { commit_interval_ms: 100, cache_bytes_max: 1, ..DriverOptions::default().settings };
    let built = counts(Materialized::as_store("counts")).build().unwrap();
    let mut driver = TestDriver::with(built, DriverOptions { settings, ..DriverOptions::default() }).unwrap();
    for at in 1..4 {
        pipe(&mut driver, "in", "k", "v", at);
    }
    driver.advance(ms(100)).unwrap();
    assert_eq!(numbers(&mut driver, "out"), ["k=1@1", "k=2@2", "k=3@3"]);
}

/// P-30: rows lie in the order of their key's bytes, unsigned, and a row that is deleted is gone.
#[test]
fn p30_rows_are_in_the_order_of_their_bytes() {
    let mut driver = driver(&counts(Materialized::as_store("counts").in_memory()));
    for key in ["b", "ä", "a", "aa", "Z"] {
        pipe(&mut driver, "in", key, "v", 1);
    }
    let (text, number) = (serdes::string(), serdes::i64());
    let mut store = driver.key_value_store("counts", &text, &number).unwrap();
    let keys: Vec<_> = store.all().unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["Z", "a", "aa", "b", "ä"]);
}

/// Keeps prices, and tells what the price was 10 ms before each record.
struct Prices;

impl Processor<String, String, String, String> for Prices {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, String>,
        record: Record<'_, String, String>,
    ) -> Result<()> {
        let (Some(key), at) = (record.key, record.timestamp) else { return Ok(()) };
        let mut prices = cx.versioned_store::<String, String>("prices")?;
        prices.put(key, record.value, at)?;
        let before = prices.get_as_of(key, at - 10)?.map(|version| version.value);
        cx.forward(record.with_value(before.as_ref()))
    }
}

/// P-33, P-34: a processor's versioned store answers for a time, also what came out of order, and outlives crashes.
#[test]
fn p34_a_processor_keeps_versions_that_outlive_a_crash() {
    let builder = StreamsBuilder::new();
    builder.add_state_store(StoreBuilder::versioned("prices", ms(100), serdes::string(), serdes::string()));
    builder.stream::<String, String>("in").process(|| Prices, &["prices"]).to("out");
    let mut driver = driver(&builder);
    // 9 is 100 ms behind 110 and more: it is too late, and so is the question for its time.
    for (price, at) in [("1", 10), ("-", 20), ("3", 30), ("2", 25), ("4", 36), ("5", 111), ("6", 121), ("0", 9)] {
        pipe(&mut driver, "in", "k", price, at);
        driver.crash().unwrap();
    }
    let seen = crate::texts(&mut driver, "out");
    assert_eq!(seen, ["k=-@10", "k=1@20", "k=-@30", "k=1@25", "k=2@36", "k=4@111", "k=5@121", "k=-@9"]);
}
