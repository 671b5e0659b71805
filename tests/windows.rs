//! Sliding windows, sessions and cogroups through the whole worker.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use millstream::{
    codec::serdes,
    fault::Result,
    operator::{EmitStrategy, UnlimitedWindows},
    record::{Record, Timestamp, Windowed},
    testing::TestDriver,
    topology::{
        KGroupedStream, Materialized, Processor, ProcessorContext, SessionWindows, SlidingWindows, StoreBuilder,
        StreamsBuilder,
    },
};
use std::{collections::BTreeMap, time::Duration};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pipe(driver: &mut TestDriver, topic: &str, key: &str, value: i64, at: Timestamp) {
    driver
        .pipe(topic, &serdes::string(), &serdes::i64(), Some(&key.to_owned()), Some(&value), at)
        .expect("a record that is processed");
}

/// The last value of each windowed key in topic `out`.
fn results(driver: &mut TestDriver) -> BTreeMap<(String, Timestamp, Timestamp), i64> {
    let key = serdes::windowed(serdes::string(), 10);
    let mut last = BTreeMap::new();
    for record in driver.read("out", &key, &serdes::i64()).expect("counts") {
        let Windowed { key, start, end } = record.key.expect("a windowed key");
        match record.value {
            Some(value) => last.insert((key, start, end), value),
            None => last.remove(&(key, start, end)),
        };
    }
    last
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    /// T-6: windows are those that a look at all records gives. Records come early, late within the grace, and together.
    #[test]
    fn d43_sliding_windows_hold_what_lies_in_them(
        records in proptest::collection::vec((0..2usize, 0..40i64, 1..9i64), 1..25),
        crash in 0..25usize,
    ) {
        let builder = StreamsBuilder::new();
        let windows = SlidingWindows::of_time_difference_and_grace(ms(10), ms(1_000));
        let store = Materialized::default().with_caching_disabled();
        let input = builder.stream::<String, i64>("in").group_by_key();
        input.windowed_by(windows).reduce_with(|a, b| Some(a + b.unwrap_or(&0)), store).to_stream().to("out");
        let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
        for (at, (key, time, value)) in records.iter().enumerate() {
            if at == crash {
                driver.crash().unwrap();
            }
            pipe(&mut driver, "in", ["k", "kk"][*key], *value, *time);
        }
        let mut wanted = BTreeMap::new();
        for (key, time, _) in &records {
            for start in [(time - 10).max(0), time + 1] {
                let inside = records.iter().filter(|(k, t, _)| k == key && (start..=start + 10).contains(t));
                let sum: i64 = inside.map(|(.., value)| value).sum();
                if sum > 0 {
                    wanted.insert((["k", "kk"][*key].to_owned(), start, start + 10), sum);
                }
            }
        }
        proptest::prop_assert_eq!(results(&mut driver), wanted);
    }

    /// Sessions are those that a look at all records gives, whatever the order in which they come.
    #[test]
    fn d47_sessions_hold_what_lies_within_the_gap(
        records in proptest::collection::vec((0..2usize, 0..80i64, 1..9i64), 1..25),
        crash in 0..25usize,
    ) {
        let builder = StreamsBuilder::new();
        let windows = SessionWindows::of_inactivity_gap_and_grace(ms(5), ms(1_000));
        let input = builder.stream::<String, i64>("in").group_by_key();
        input
            .windowed_by(windows)
            .aggregate(|| 0, |_, value, sum| Some(sum + value.unwrap_or(&0)), |_, a, b| a + b)
            .to_stream()
            .to("out");
        let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
        for (at, (key, time, value)) in records.iter().enumerate() {
            if at == crash {
                driver.crash().unwrap();
            }
            pipe(&mut driver, "in", ["k", "kk"][*key], *value, *time);
        }
        let mut found = BTreeMap::new();
        for record in driver.read("out", &serdes::session_windowed(serdes::string()), &serdes::i64()).expect("counts") {
            let Windowed { key, start, end } = record.key.expect("a windowed key");
            proptest::prop_assert_eq!(record.timestamp, end);
            match record.value {
                Some(value) => found.insert((key, start, end), value),
                None => found.remove(&(key, start, end)),
            };
        }
        let mut wanted = BTreeMap::new();
        for (index, key) in ["k", "kk"].into_iter().enumerate() {
            let mut times: Vec<_> = records.iter().filter(|(k, ..)| *k == index).map(|(_, t, v)| (*t, *v)).collect();
            times.sort_unstable();
            for session in times.chunk_by(|a, b| b.0 - a.0 <= 5) {
                let (start, end) = (session[0].0, session[session.len() - 1].0);
                wanted.insert((key.to_owned(), start, end), session.iter().map(|(_, value)| value).sum::<i64>());
            }
        }
        proptest::prop_assert_eq!(found, wanted);
    }
}

#[test]
fn windows_that_make_no_sense_are_refused() {
    let fails = |build: &dyn Fn(&KGroupedStream<String, i64>)| {
        let builder = StreamsBuilder::new();
        build(&builder.stream::<String, i64>("in").group_by_key());
        builder.build().err().map(|fault| fault.to_string()).unwrap_or_default()
    };
    let gap = SessionWindows::of_inactivity_gap_with_no_grace;
    let sliding = SlidingWindows::of_time_difference_and_grace(ms(10), ms(1));
    assert!(fails(&|g| drop(g.windowed_by(gap(ms(0))).count())).contains("gap"));
    assert!(fails(&|g| drop(g.windowed_by(UnlimitedWindows::of().start_on(-1)).count())).contains("-1"));
    let closing = EmitStrategy::on_window_close();
    assert!(fails(&|g| drop(g.windowed_by(UnlimitedWindows::of()).emit_strategy(closing).count())).contains("never"));
    // P-42: sessions are of use for gap and grace, sliding windows for twice the difference and grace.
    let kept = |n| Materialized::as_store("s").with_retention(ms(n));
    assert!(fails(&|g| drop(g.windowed_by(gap(ms(10))).count_with(kept(9)))).contains("10 ms"));
    assert_eq!(fails(&|g| drop(g.windowed_by(gap(ms(10))).count_with(kept(10)))), "");
    assert!(fails(&|g| drop(g.windowed_by(sliding).count_with(kept(20)))).contains("21 ms"));
    assert_eq!(fails(&|g| drop(g.windowed_by(sliding).count_with(kept(21)))), "");
}

#[test]
fn a_row_of_a_session_table_has_the_time_of_its_end() {
    let builder = StreamsBuilder::new();
    let sessions = builder
        .stream::<String, i64>("in")
        .group_by_key()
        .windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(ms(5)))
        .count_with(Materialized::as_store("sessions").with_caching_disabled());
    let joined = sessions.join(&sessions.map_values(|n| Some(n * 10)), |a, b| Some(a + b));
    joined.to_stream().to("out");
    let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    pipe(&mut driver, "in", "k", 0, 10);
    pipe(&mut driver, "in", "k", 0, 13);
    let out = driver.read("out", &serdes::session_windowed(serdes::string()), &serdes::i64()).unwrap();
    let seen: Vec<_> = out.into_iter().map(|r| (r.key.unwrap().to_string(), r.value, r.timestamp)).collect();
    assert!(seen.contains(&("[k@10/13]".to_owned(), Some(22), 13)), "{seen:?}");
}

#[test]
fn each_stream_of_a_cogroup_gets_the_last_aggregator_that_was_given_for_it() {
    let builder = StreamsBuilder::new();
    let input = builder.stream::<String, i64>("in").group_by_key();
    let add = |factor: i64| move |_: &String, value: Option<&i64>, sum: i64| Some(sum + factor * value.unwrap_or(&0));
    input.cogroup(add(1)).cogroup(&input, add(10)).aggregate(|| 0).to_stream().to("out");
    let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    pipe(&mut driver, "in", "k", 2, 0);
    let out = driver.read("out", &serdes::string(), &serdes::i64()).unwrap();
    assert_eq!(out.into_iter().map(|r| r.value).collect::<Vec<_>>(), [Some(20)]);
}

/// Keeps visits in a session store, and in a window store how many there were.
struct Visits;

impl Processor<String, i64, String, i64> for Visits {
    fn process(&mut self, cx: &mut ProcessorContext<'_, String, i64>, record: Record<'_, String, i64>) -> Result<()> {
        let (Some(key), at) = (record.key, record.timestamp) else { return Ok(()) };
        let mut visits = cx.session_store::<String, i64>("visits")?;
        let near = visits.find_sessions(key, at - 5, at + 5)?;
        let (mut joined, mut sum) = (Windowed::new(key.clone(), at, at), *record.value.unwrap_or(&0));
        for (session, value) in near {
            visits.remove(&session)?;
            joined = Windowed::new(key.clone(), joined.start.min(session.start), joined.end.max(session.end));
            sum += value;
        }
        visits.put(&joined, Some(&sum))?;
        let open = visits.fetch(key)?.len() as i64;
        let mut counts = cx.window_store::<String, i64>("counts")?;
        counts.put(key, Some(&open), at - at % 10, at)?;
        let windows = counts.fetch_range(key, 0, at)?.len() as i64;
        cx.forward(Record::new(Some(key), Some(&(sum * 100 + open * 10 + windows)), at))
    }
}

/// P-31, P-32, P-34.
#[test]
fn processors_have_window_and_session_stores_that_outlive_a_crash() {
    let builder = StreamsBuilder::new();
    let (text, number) = (serdes::string(), serdes::i64());
    builder.add_state_store(StoreBuilder::session("visits", ms(1_000), text.clone(), number.clone()).in_memory());
    builder.add_state_store(StoreBuilder::window("counts", ms(1_000), ms(10), text.clone(), number.clone()));
    builder.stream::<String, i64>("in").process(|| Visits, &["visits", "counts"]).to("out");
    let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    for at in [3, 20, 7, 12] {
        pipe(&mut driver, "in", "k", 1, at);
        driver.crash().unwrap();
    }
    pipe(&mut driver, "in", "k", 1, 16);
    let values: Vec<_> = driver.read("out", &text, &number).unwrap().into_iter().filter_map(|r| r.value).collect();
    assert_eq!(values, [111, 122, 221, 322, 512]);
}

/// P-31.
#[test]
fn a_window_store_that_forgets_its_windows_is_refused() {
    let builder = StreamsBuilder::new();
    builder.add_state_store(StoreBuilder::window("w", ms(9), ms(10), serdes::string(), serdes::i64()));
    assert!(builder.build().err().unwrap().to_string().contains("9 ms"));
}

/// The last values of `k`'s sessions in topic `out`, after a record of another key that makes `k`'s first session late.
fn late_session(cached: bool) -> Vec<(String, Option<i64>)> {
    let builder = StreamsBuilder::new();
    let store = Materialized::as_store("sessions");
    builder
        .stream::<String, i64>("in")
        .group_by_key()
        .windowed_by(SessionWindows::of_inactivity_gap_and_grace(ms(5), ms(5)))
        .count_with(if cached { store } else { store.with_caching_disabled() })
        .to_stream()
        .filter(|key, _| key.is_some_and(|key| key.key == "k"))
        .to("out");
    let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    for (key, at) in [("j", 111), ("k", 101), ("k", 106)] {
        pipe(&mut driver, "in", key, 0, at);
    }
    let out = driver.read("out", &serdes::session_windowed(serdes::string()), &serdes::i64()).unwrap();
    out.into_iter().map(|record| (record.key.unwrap().to_string(), record.value)).collect()
}

#[test]
fn with_its_cache_on_a_late_record_finds_what_the_retention_has_expired() {
    let (first, second) = (("[k@101/101]".to_owned(), Some(1)), ("[k@106/106]".to_owned(), Some(1)));
    assert_eq!(late_session(false), [first.clone(), second]);
    let joined = ("[k@101/106]".to_owned(), Some(2));
    let mut cached = late_session(true);
    // One flush forwards both; Kafka Streams would keep the deletion to itself.
    cached.sort();
    assert_eq!(cached, [("[k@101/101]".to_owned(), None), first, joined]);
}
