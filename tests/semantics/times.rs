//! Which time is whose: of partitions, of operators, over a restart.

use crate::{driver, ms, numbers, pipe, texts};
use millstream::{
    operator::{EmitStrategy, TimeWindows},
    record::Windowed,
    topology::{BufferConfig, Consumed, KTable, Materialized, StreamsBuilder, Suppressed},
};

/// Counts in topic `out`, by key and window start.
fn out(counts: &KTable<Windowed<String>, i64>) {
    let start =
        |w: Option<&Windowed<String>>, n: Option<&i64>| (w.map(|w| format!("{}{}", w.key, w.start)), n.copied());
    counts.to_stream().map(start).to("out");
}

fn windows() -> TimeWindows {
    TimeWindows::of_size_with_no_grace(ms(10))
}

/// D-50: a partition's time is that of its latest record, and is restored from the committed offset's metadata.
#[test]
fn d50_partition_time_outlives_a_crash() {
    let builder = StreamsBuilder::new();
    let consumed = Consumed::<String, String>::default().partition_time_on_invalid_timestamp();
    builder.stream_with("in", consumed).to("out");
    let mut driver = driver(&builder);
    for at in [20, 7] {
        pipe(&mut driver, "in", "k", "v", at);
    }
    driver.crash().unwrap();
    pipe(&mut driver, "in", "k", "late", -1);
    assert_eq!(texts(&mut driver, "out"), ["k=v@20", "k=v@7", "k=late@20"]);
}

/// D-52: each operator has a time of its own, which only records that reach it move. Unlike Kafka Streams' it is restored.
#[test]
fn d52_an_operator_has_its_own_time_which_outlives_a_crash() {
    let builder = StreamsBuilder::new();
    let passed = builder.stream::<String, String>("in").filter(|_, v| v.is_some_and(|v| v != "x"));
    out(&passed.group_by_key().windowed_by(windows()).count());
    let mut driver = driver(&builder);
    pipe(&mut driver, "in", "k", "v", 5);
    pipe(&mut driver, "in", "k", "x", 100);
    pipe(&mut driver, "in", "k", "v", 6);
    pipe(&mut driver, "in", "other", "v", 30);
    driver.crash().unwrap();
    pipe(&mut driver, "in", "k", "v", 7);
    assert_eq!(numbers(&mut driver, "out"), ["k0=1@5", "k0=2@6", "other30=1@30"]);
    assert_eq!(driver.dropped(), 1);
}

/// D-143: what has been emitted is known after a crash, so that no window is told twice.
#[test]
fn d143_a_window_that_was_emitted_on_close_is_not_emitted_again_after_a_crash() {
    let builder = StreamsBuilder::new();
    let grouped = builder.stream::<String, String>("in").group_by_key();
    out(&grouped.windowed_by(windows()).emit_strategy(EmitStrategy::on_window_close()).count());
    let mut driver = driver(&builder);
    for (key, at) in [("a", 5), ("b", 12)] {
        pipe(&mut driver, "in", key, "v", at);
    }
    assert_eq!(numbers(&mut driver, "out"), ["a0=1@5"]);
    driver.crash().unwrap();
    pipe(&mut driver, "in", "b", "v", 13);
    pipe(&mut driver, "in", "c", "v", 25);
    assert_eq!(numbers(&mut driver, "out"), ["b10=2@13"]);
}

/// D-150: what does not reach `suppress` does not move its time.
#[test]
fn d150_suppress_goes_by_the_rows_it_sees() {
    let builder = StreamsBuilder::new();
    let table = builder.stream::<String, String>("in").filter(|_, v| v.is_some_and(|v| v != "x")).to_table();
    table.suppress(Suppressed::until_time_limit(ms(10), BufferConfig::unbounded())).to_stream().to("out");
    let mut driver = driver(&builder);
    pipe(&mut driver, "in", "k", "v", 5);
    pipe(&mut driver, "in", "k", "x", 100);
    assert_eq!(texts(&mut driver, "out"), [""; 0]);
    pipe(&mut driver, "in", "other", "v", 15);
    assert_eq!(texts(&mut driver, "out"), ["k=v@5"]);
}

/// D-57: a late record is counted, and told once to those who ask for it; the window that is open takes the next one.
#[test]
fn d57_late_records_are_counted() {
    let builder = StreamsBuilder::new();
    let store = Materialized::as_store("counts").with_caching_disabled();
    out(&builder.stream::<String, String>("in").group_by_key().windowed_by(windows()).count_with(store));
    let mut driver = driver(&builder);
    for at in [25, 5, 21] {
        pipe(&mut driver, "in", "k", "v", at);
    }
    assert_eq!(numbers(&mut driver, "out"), ["k20=1@25", "k20=2@25"]);
    assert_eq!(driver.dropped(), 1);
}
