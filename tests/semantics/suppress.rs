//! `suppress` against models that know nothing of stores and tasks, over crashes.

use crate::{driver, ms, numbers, pipe, texts};
use millstream::{
    operator::TimeWindows,
    record::{Timestamp, Windowed},
    topology::{BufferConfig, Consumed, Materialized, StreamsBuilder, Suppressed},
};
use proptest::{
    collection::vec,
    prelude::{ProptestConfig, prop_assert_eq},
};
use std::collections::BTreeMap;

const KEYS: [&str; 3] = ["a", "aa", "b"];
const WAIT_MS: i64 = 10;

/// A row that waits: its time, by which it leaves; and its newest value with that one's time.
type Waiting = BTreeMap<&'static str, (Timestamp, String, Timestamp)>;

/// What a table of `records` lets go: the rows whose time is over, and the oldest while there are more than `max`.
fn let_go(records: &[(usize, Timestamp, Option<u8>)], max: usize) -> Vec<String> {
    let (mut waiting, mut time, mut told) = (Waiting::new(), -1, Vec::new());
    for (key, at, value) in records {
        time = time.max(*at);
        let since = waiting.get(KEYS[*key]).map_or(*at, |row| row.0);
        waiting.insert(KEYS[*key], (since, value.map_or("-".to_owned(), |v| v.to_string()), *at));
        while let Some((since, key)) = waiting.iter().map(|(key, row)| (row.0, *key)).min()
            && (since <= time - WAIT_MS || waiting.len() > max)
        {
            let (_, value, at) = waiting.remove(key).unwrap();
            told.push(format!("{key}={value}@{at}"));
        }
    }
    told
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    /// D-145, D-147, D-149: a key waits from its first change; the last one is told, deletions too; a full buffer lets
    /// the oldest go.
    #[test]
    fn d145_d149_a_time_limit_lets_go_what_a_look_at_all_rows_says(
        records in vec((0..KEYS.len(), 0..60i64, proptest::option::weighted(0.8, 0..9u8)), 1..30),
        max in 1..5usize,
        crash in 0..30usize,
    ) {
        let builder = StreamsBuilder::new();
        // A cache would keep deletions of what is not there to itself (P-64).
        let rows = Materialized::as_store("rows").with_caching_disabled();
        let table = builder.table_with::<String, String>("in", Consumed::default(), rows);
        let buffer = BufferConfig::max_records(max).emit_early_when_full();
        table.suppress(Suppressed::until_time_limit(ms(WAIT_MS.unsigned_abs()), buffer)).to_stream().to("out");
        let mut driver = driver(&builder);
        for (n, (key, at, value)) in records.iter().enumerate() {
            if n == crash {
                driver.crash().unwrap();
            }
            pipe(&mut driver, "in", KEYS[*key], &value.map_or("-".to_owned(), |v| v.to_string()), *at);
        }
        prop_assert_eq!(texts(&mut driver, "out"), let_go(&records, max));
    }

    /// D-146, D-148: each window that has closed is told once, with its final count, in the order of the ends.
    #[test]
    fn d146_final_results_are_those_of_a_look_at_all_records(
        records in vec((0..KEYS.len(), 0..80i64), 1..30),
        crash in 0..30usize,
    ) {
        let (size, grace) = (10, 7);
        let builder = StreamsBuilder::new();
        let windows = TimeWindows::of_size_and_grace(ms(10), ms(7));
        let counts = builder.stream::<String, String>("in").group_by_key().windowed_by(windows).count();
        let end = |w: Option<&Windowed<String>>, n: Option<&i64>| (w.map(|w| format!("{:02}{}", w.end, w.key)), n.copied());
        counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())).to_stream().map(end).to("out");
        let mut driver = driver(&builder);
        let (mut time, mut open) = (-1, BTreeMap::<(Timestamp, &str), (i64, Timestamp)>::new());
        let mut wanted = Vec::new();
        for (n, (key, at)) in records.iter().enumerate() {
            if n == crash {
                driver.crash().unwrap();
            }
            pipe(&mut driver, "in", KEYS[*key], "v", *at);
            time = time.max(*at);
            let end = at - at % size + size;
            if end + grace > time {
                let window = open.entry((end, KEYS[*key])).or_insert((0, -1));
                *window = (window.0 + 1, window.1.max(*at));
            }
            // Records that are late for their window move no time of `suppress`, but they are behind its time anyway.
            while let Some(((end, key), (count, latest))) = open.first_key_value().map(|(k, v)| (*k, *v))
                && end + grace <= time
            {
                wanted.push(format!("{end:02}{key}={count}@{latest}"));
                open.remove(&(end, key));
            }
        }
        prop_assert_eq!(numbers(&mut driver, "out"), wanted);
    }
}

#[test]
fn the_model_tells_a_limit_from_another() {
    let records: Vec<_> = (0..6).map(|n| (n % 3, n as i64 * 4, Some(1))).collect();
    assert_eq!(let_go(&records, 1).len(), 5);
    assert_eq!(let_go(&records, 4).len(), 3);
}
