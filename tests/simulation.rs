//! Thousands of seeds of crashes, aborts, zombies and rebalances, and planted bugs that must be seen.
//!
//! `MILLSTREAM_SEEDS` sets the number of seeds; `MILLSTREAM_SEED` runs one with its trace (`replay`).

#![expect(clippy::disallowed_methods, reason = "a test may use all cores and say how long it took")]

use millstream::{
    testing::{Options, Play, Report, Simulator, replay_line},
    worker::{Guarantee, Planted},
};
use std::{
    panic,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

fn seeds(dev: u64, release: u64) -> u64 {
    let wanted = std::env::var("MILLSTREAM_SEEDS").ok().and_then(|n| n.parse().ok());
    wanted.unwrap_or(if cfg!(debug_assertions) { dev } else { release })
}

/// Runs seeds on all cores until `stop` says so of a report. Returns the reports in no order.
fn run_all(count: u64, options: Options, stop: impl Fn(&Report) -> bool + Sync) -> Vec<(u64, Report)> {
    run_on(Simulator::new, count, options, stop)
}

fn run_on(
    simulator: impl Fn() -> Simulator + Sync,
    count: u64,
    options: Options,
    stop: impl Fn(&Report) -> bool + Sync,
) -> Vec<(u64, Report)> {
    let next = AtomicU64::new(0);
    let reports = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let simulator = simulator();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        break;
                    }
                    let report = simulator.run(seed, options);
                    if stop(&report) {
                        next.store(count, Ordering::Relaxed);
                    }
                    reports.lock().expect("no panic while held").push((seed, report));
                }
            });
        }
    });
    reports.into_inner().expect("no panic while held")
}

fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

/// Honest workers: every seed must pass, and the seeds must have been hard enough.
fn honest(guarantee: Guarantee, count: u64) {
    let options = Options { guarantee, ..Options::default() };
    let start = Instant::now();
    let reports = run_all(count, options, |_| false);
    let seconds = start.elapsed().as_secs_f64();
    let failed: Vec<_> = reports.iter().filter_map(|(seed, r)| Some((seed, r.failure.as_ref()?))).collect();
    for (seed, failure) in failed.iter().take(5) {
        eprintln!("seed {seed}: {failure}\n  replay: {}", replay_line(**seed, options));
    }
    let of = |f: fn(&Report) -> u64| median(reports.iter().map(|(_, r)| f(r)).collect());
    let records = of(|r| r.records as u64);
    let faults = of(|r| r.faults as u64);
    let commits = of(|r| r.commits);
    let rebalances = of(|r| r.rebalances as u64);
    let beside = of(|r| r.beside);
    eprintln!(
        "{guarantee:?}: {count} seeds in {seconds:.1} s ({:.0} a minute), medians: {records} records, {faults} faults, \
         {commits} commits, {rebalances} rebalances, {beside} records beside a commit",
        count as f64 * 60.0 / seconds
    );
    assert!(failed.is_empty(), "{} of {count} seeds failed", failed.len());
    assert!(records >= 200 && faults >= 4 && commits >= 20 && rebalances >= 2, "the seeds are too easy");
    assert!(beside >= 15, "commits stop the work");
    let share = |f: fn(&Report) -> bool| reports.iter().filter(|(_, r)| f(r)).count() as u64;
    let (purged, kept) = (share(|r| r.purged), share(|r| r.kept_forever));
    eprintln!("{guarantee:?}: {purged} seeds purged a repartition topic, {kept} raised a changelog's retention");
    assert!(purged > count / 10 && kept > count / 10, "topics were left alone");
    let refused = share(|r| r.refused_beside > 0);
    eprintln!("{guarantee:?}: in {refused} seeds a commit did not end well beside which more was processed");
    assert!(refused > count / 10, "only good commits were worked beside");
    let stale = share(|r| r.stale_rows > 0);
    eprintln!("{guarantee:?}: in {stale} seeds a row came to a sink that had a newer one");
    assert!(stale > count / 10, "no row was late");
    if guarantee == Guarantee::ExactlyOnceV2 {
        let answers = of(|r| r.answers as u64);
        eprintln!("{guarantee:?}: in the median seed {answers} queries were answered");
        assert!(answers >= 20, "nobody asked");
    }
    if guarantee == Guarantee::AtLeastOnce {
        let zombies = reports.iter().filter(|(_, r)| r.stale_writes > 0).count() as u64;
        eprintln!("{guarantee:?}: in {zombies} seeds a member wrote after others had taken over");
        assert!(zombies > 0 && zombies < count / 2, "both kinds of seeds are wanted");
    }
}

#[test]
fn exactly_once_holds() {
    honest(Guarantee::ExactlyOnceV2, seeds(150, 10_000));
}

#[test]
fn at_least_once_skips_nothing() {
    // One seed in a hundred has a member that writes after others have taken over.
    honest(Guarantee::AtLeastOnce, seeds(1_000, 5_000));
}

/// Seeds within which each planted bug must be seen: as many as the honest workers run.
const PLANTED_SEEDS: u64 = 10_000;

#[test]
fn every_planted_bug_is_caught() {
    // Planted bugs may panic; their reports are failures like any other.
    panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    let exactly_once = Planted::EXACTLY_ONCE.map(|planted| (Guarantee::ExactlyOnceV2, planted));
    let at_least_once = Planted::AT_LEAST_ONCE.map(|planted| (Guarantee::AtLeastOnce, planted));
    for (guarantee, planted) in exactly_once.into_iter().chain(at_least_once) {
        let options = Options { guarantee, planted, ..Options::default() };
        let reports = run_all(PLANTED_SEEDS, options, |r| r.failure.is_some());
        match reports.iter().filter_map(|(seed, r)| Some((seed, r.failure.as_ref()?))).min() {
            Some((seed, failure)) => eprintln!("{guarantee:?} {planted:?}: caught by seed {seed}: {failure:.300}"),
            None => missed.push((guarantee, planted)),
        }
    }
    drop(panic::take_hook());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// Every stateful operator: what crashes leave behind is what an uninterrupted run of the test driver leaves.
#[test]
fn operators_end_as_if_nothing_had_happened() {
    let (count, options) = (seeds(6, 200), Options::default());
    let mut failed = Vec::new();
    for play in Play::ALL {
        let start = Instant::now();
        let reports = run_on(|| Simulator::of(play), count, options, |_| false);
        let seconds = start.elapsed().as_secs_f64();
        let of = |f: fn(&Report) -> u64| median(reports.iter().map(|(_, r)| f(r)).collect());
        let (records, commits) = (of(|r| r.records as u64), of(|r| r.commits));
        let (faults, rebalances) = (of(|r| r.faults as u64), of(|r| r.rebalances as u64));
        eprintln!(
            "{}: {count} seeds in {seconds:.1} s, medians: {records} records, {faults} faults, {commits} commits, \
             {rebalances} rebalances",
            play.name
        );
        assert!(records >= 200 && faults >= 4 && commits >= 8 && rebalances >= 2, "the seeds are too easy");
        for (seed, failure) in reports.iter().filter_map(|(seed, r)| Some((seed, r.failure.as_ref()?))) {
            let line = replay_line(*seed, options);
            failed.push(format!(
                "{} seed {seed}: {failure}\n  replay: MILLSTREAM_PLAY='{}' {line}",
                play.name, play.name
            ));
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

/// Each play can fail: it sees lost input, rows on disk that it can't trust, rows of aborted transactions, and where there
/// are such things operators' times and a changelog that is read too far. What foreign keys join is seen by last values
/// only, which hide a wrong row for long.
#[test]
fn every_play_catches_planted_bugs() {
    panic::set_hook(Box::new(|_| {}));
    let everywhere = [Planted::FetchedOffsets, Planted::PositionAboveData];
    let rows: &[Planted] = match cfg!(debug_assertions) {
        true => &[Planted::OverlayAfterAbort],
        false => &[Planted::OverlayAfterAbort, Planted::StoreBeforeCommit],
    };
    let some = [
        ("sessions", Planted::TimesAfterAbort),
        ("suppress", Planted::TimesAfterAbort),
        ("stream-stream joins", Planted::TimesAfterAbort),
        ("source topic as changelog", Planted::SourceBeyondCommitted),
    ];
    let mut missed = Vec::new();
    for play in Play::ALL {
        let of_play = some.iter().filter(|(name, _)| *name == play.name).map(|(_, planted)| *planted);
        let rows = rows.iter().copied().filter(|_| play.name != "foreign-key joins");
        for planted in everywhere.into_iter().chain(rows).chain(of_play) {
            let options = Options { planted, ..Options::default() };
            let reports = run_on(|| Simulator::of(play), PLANTED_SEEDS, options, |r| r.failure.is_some());
            match reports.iter().filter_map(|(seed, r)| Some((seed, r.failure.as_ref()?))).min() {
                Some((seed, failure)) => eprintln!("{} {planted:?}: caught by seed {seed}: {failure:.200}", play.name),
                None => missed.push((play.name, planted)),
            }
        }
    }
    drop(panic::take_hook());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// Runs the seed of `MILLSTREAM_SEED` with a trace; without it there is nothing to replay.
#[test]
fn replay() {
    let Some(seed) = std::env::var("MILLSTREAM_SEED").ok().and_then(|s| s.parse().ok()) else { return };
    let named = |name: &str| std::env::var(name).unwrap_or_default();
    let mut planted = Planted::EXACTLY_ONCE.into_iter().chain(Planted::AT_LEAST_ONCE);
    let planted = planted.find(|p| format!("{p:?}") == named("MILLSTREAM_PLANTED"));
    let guarantee = match named("MILLSTREAM_GUARANTEE").as_str() {
        "AtLeastOnce" => Guarantee::AtLeastOnce,
        _ => Guarantee::ExactlyOnceV2,
    };
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().without_time().init();
    let options = Options { guarantee, planted: planted.unwrap_or_default(), trace: true };
    let play = Play::ALL.into_iter().find(|play| play.name == named("MILLSTREAM_PLAY"));
    let report = play.map_or_else(Simulator::new, Simulator::of).run(seed, options);
    assert!(report.failure.is_none(), "seed {seed}: {report:?}");
}
