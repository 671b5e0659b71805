//! Stores and caches.

use crate::{driver, ms, numbers, pipe, slow_driver};
use millstream::{
    codec::serdes,
    testing::{DriverOptions, TestDriver},
    topology::{Materialized, StreamsBuilder},
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
