//! A table whose source topic is its changelog: what a restore finds there, and what it must not look at.

use millstream::{
    fault::Result,
    operator::OnError,
    record::{Headers, RawRecord},
    testing::{DriverOptions, TestDriver},
    topology::{Consumed, Grouped, Materialized, Optimization, StreamsBuilder, Topology},
    worker::{Guarantee, Planted, Settings},
};
use std::collections::BTreeMap;

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Members by name with their team, and how many each team has. A row's old value decides which team loses a member.
fn teams(optimizations: &[Optimization]) -> Topology {
    let builder = StreamsBuilder::new();
    let consumed = Consumed::default().on_decode_error(OnError::Continue);
    let members = builder.table_with::<String, i64>("members", consumed, Materialized::as_store("rows"));
    let by_team = |_: &String, team: &i64| (Some(team.to_string()), Some(*team));
    let counts = members.group_by_with(by_team, Grouped::default()).count_with(Materialized::as_store("counts"));
    counts.to_stream().to("teams");
    builder.build_optimized(optimizations).expect("a sound topology")
}

fn driver(optimizations: &[Optimization], settings: Settings) -> TestDriver {
    let settings = Settings { commit_interval_ms: 0, ..settings };
    TestDriver::with(teams(optimizations), DriverOptions { settings, ..DriverOptions::default() }).expect("a driver")
}

fn record(key: u64, team: Option<u64>, timestamp: i64) -> RawRecord {
    let value = team.map(|team| team.to_be_bytes().to_vec().into());
    RawRecord { offset: 0, timestamp, key: Some(format!("m{key}").into()), value, headers: Headers::new() }
}

fn counts(driver: &mut TestDriver) -> BTreeMap<String, i64> {
    let rows = driver.rows("counts").expect("a store");
    let count = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("a number"));
    rows.into_iter().map(|(key, row)| (String::from_utf8_lossy(&key).into_owned(), count(&row.value))).collect()
}

/// Joins, changes of team and departures, with crashes before or amid the steps; what is not a number, not keyed or not
/// timed lies in between. Gives rows and counts by the model and by the driver.
fn run(seed: u64, settings: Settings) -> Result<()> {
    let mut numbers = Numbers(seed);
    let mut driver = driver(&[Optimization::ReuseKtableSourceTopics], settings);
    let mut model: BTreeMap<String, u64> = BTreeMap::new();
    for at in 0..40 {
        let (key, team) = (numbers.below(4), Some(numbers.below(3)).filter(|_| numbers.below(4) > 0));
        let whole = record(key, team, at);
        let whole = match numbers.below(8) {
            0 => RawRecord { value: Some("x".into()), ..whole },
            1 => RawRecord { key: None, ..whole },
            _ => {
                model.remove(&format!("m{key}"));
                model.extend(team.map(|team| (format!("m{key}"), team)));
                whole
            }
        };
        match numbers.below(3) {
            0 => driver.pipe_raw_and_crash("members", whole, numbers.below(9) as usize)?,
            1 => {
                driver.pipe_raw("members", whole)?;
                driver.crash()?;
            }
            _ => driver.pipe_raw("members", whole)?,
        }
    }
    let rows = driver.rows("rows")?;
    let held: Vec<_> = rows.iter().map(|(key, row)| (key.to_vec(), row.value.to_vec())).collect();
    let wanted: Vec<_> =
        model.iter().map(|(key, team)| (key.clone().into_bytes(), team.to_be_bytes().to_vec())).collect();
    assert_eq!(held, wanted, "seed {seed}");
    let mut teams: BTreeMap<String, i64> = BTreeMap::new();
    model.values().for_each(|team| *teams.entry(team.to_string()).or_default() += 1);
    let counts: BTreeMap<_, _> = counts(&mut driver).into_iter().filter(|(_, count)| *count != 0).collect();
    assert_eq!(counts, teams, "seed {seed}");
    assert_eq!(driver.read_raw("members")?.len(), 40, "nothing is written to the source");
    Ok(())
}

/// Some runs keep each commit on disk at once, some never: their restores read all of the source.
fn settings(guarantee: Guarantee, seed: u64) -> Settings {
    let persist_interval_ms = if seed.is_multiple_of(2) { 0 } else { 30_000 };
    Settings { guarantee, persist_interval_ms, ..Settings::default() }
}

#[test]
fn r91_there_is_no_changelog_topic() {
    let mut with = driver(&[Optimization::ReuseKtableSourceTopics], Settings::default());
    let mut without = driver(&[], Settings::default());
    let own = |driver: &TestDriver| driver.topics().iter().any(|topic| &**topic == "app-rows-changelog");
    assert!(own(&without) && !own(&with));
    for driver in [&mut with, &mut without] {
        driver.pipe_raw("members", record(1, Some(7), 5)).expect("a sound record");
    }
    assert_eq!(with.rows("rows").expect("rows"), without.rows("rows").expect("rows"));
    assert_eq!(with.read_raw("members").expect("the source").len(), 1);
}

#[test]
fn r91_crashes_leave_no_trace_exactly_once() {
    for seed in 0..60 {
        run(seed, settings(Guarantee::ExactlyOnceV2, seed)).expect("no fault");
    }
}

/// At least once a repeat after a crash may count a member twice; rows are what the input says.
#[test]
fn r91_rows_survive_crashes_at_least_once() {
    let mut driver = driver(
        &[Optimization::ReuseKtableSourceTopics],
        Settings { guarantee: Guarantee::AtLeastOnce, ..Settings::default() },
    );
    for (at, team) in [Some(1), Some(2), None, Some(3)].into_iter().enumerate() {
        driver.pipe_raw_and_crash("members", record(1, team, at as i64), at + 1).expect("a sound record");
        let held: Vec<_> = driver.rows("rows").expect("rows").iter().map(|(_, row)| row.value.to_vec()).collect();
        assert_eq!(held, team.map(|team: u64| team.to_be_bytes().to_vec()).into_iter().collect::<Vec<_>>());
    }
}

/// A store restored from the source's end instead would find the new row as its own old one.
#[test]
fn r70_a_restore_ends_at_the_committed_offset() {
    let beyond = (0..20).find(|seed| {
        let planted = Planted::SourceBeyondCommitted;
        let run = || run(*seed, Settings { planted, ..settings(Guarantee::ExactlyOnceV2, *seed) });
        std::panic::catch_unwind(run).is_err()
    });
    assert!(beyond.is_some(), "the planted bug is not seen");
}
