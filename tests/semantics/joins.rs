//! Joins: where Kafka Streams' documentation says another thing than the program does, and what needs no repartitioning.

use crate::{driver, ms, pipe, texts};
use millstream::{operator::JoinWindows, topology::StreamsBuilder};

/// D-91: the last rows of the truth table of the documentation: a window of 15 s and a grace of 5 s are over when stream
/// time is past both, not when it reaches them.
#[test]
fn d91_rows_without_a_partner_come_when_window_and_grace_are_past() {
    let builder = StreamsBuilder::new();
    let (left, right) = (builder.stream::<String, String>("left"), builder.stream::<String, String>("right"));
    let windows = JoinWindows::of_time_difference_and_grace(ms(15_000), ms(5_000));
    let pair = |l: Option<&String>, r: Option<&String>| {
        let text = |part: Option<&String>| part.map_or("null".to_owned(), Clone::clone);
        Some(format!("{},{}", text(l), text(r)))
    };
    left.outer_join_stream(&right, pair, windows).to("out");
    let mut driver = driver(&builder);
    let mut step = |side: &str, value: &str, second: i64| {
        pipe(&mut driver, side, "k", value, second * 1_000);
        texts(&mut driver, "out")
    };
    assert_eq!(step("left", "E", 40), [""; 0]);
    // Exactly 40 + 15 + 5: not yet.
    assert_eq!(step("left", "F", 60), [""; 0]);
    assert_eq!(step("right", "f", 80), ["k=E,null@40000"]);
    assert_eq!(step("left", "G", 100), ["k=F,null@60000"]);
    assert_eq!(step("left", "H", 101), ["k=null,f@80000"]);
}

/// D-97: a join with a global table needs no repartition topic, whatever became of the key.
#[test]
fn d97_a_global_table_is_joined_without_a_repartition_topic() {
    let builder = StreamsBuilder::new();
    let names = builder.global_table::<String, String>("names");
    let calls = builder.stream::<String, String>("calls").select_key(|_, v| v.cloned());
    calls.join_global(&names, |key, _| key.cloned(), |_, call, name| Some(format!("{call} {name}"))).to("out");
    let topology = builder.build().unwrap();
    assert!(!topology.describe().contains("repartition"), "{}", topology.describe());
    let mut driver = driver(&builder);
    pipe(&mut driver, "names", "c", "name", 1_000);
    // No time is waited for: the row is there, though it is younger.
    pipe(&mut driver, "calls", "k", "c", 1);
    assert_eq!(texts(&mut driver, "out"), ["c=c name@1"]);
}
