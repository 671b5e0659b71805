//! Kafka Streams' own results, scenario by scenario: the text of the topology, every record it writes to any topic, what
//! its stores hold, and how many records it drops.

mod build;
mod cogroups;
mod differences;
mod expr;
mod groups;
mod joins;
mod processors;
mod rows;
mod run;
mod scenarios;
mod streams;
mod tables;
mod value;
mod windows;

use differences::differences;
use millstream::{fault::Result, topology::Topology, worker::Guarantee};
use run::{Crashes, dynamic_topics, outlives_a_process};
use scenarios::{Cache, elsewhere, judge, scenarios};

/// The text without the name of a topic extractor: Kafka Streams prints the object, this the closure's type.
fn described(topology: &Topology) -> String {
    let known = |line: &str| match line.split_once("(extractor class: ") {
        Some((head, _)) => format!("{head}(extractor class: topic_expr)\n"),
        None => format!("{line}\n"),
    };
    let text = topology.describe();
    let ends = if text.ends_with('\n') { "" } else { "\n" };
    let text: String = text.lines().map(known).collect();
    text.strip_suffix(ends).unwrap_or(&text).to_owned()
}

#[test]
fn describe_is_that_of_kafka_streams() {
    let (mut wrong, mut right) = (Vec::new(), 0);
    for (name, scenario, expected) in scenarios(Cache::Off) {
        let Ok(built) = uncaught(|| build::topology(&scenario)) else {
            wrong.push(format!("{name}: panicked"));
            continue;
        };
        match (built, expected["describe"].as_str()) {
            (Ok(topology), Some(text)) if described(&topology) == text => right += 1,
            (Err(_), None) => right += 1,
            (Ok(topology), text) => {
                wrong.push(format!("{name}:\n{}expected\n{}", described(&topology), text.unwrap_or("an error")))
            }
            (Err(fault), Some(_)) => wrong.push(format!("{name}: {fault}")),
        }
    }
    judge(right, &wrong);
}

#[test]
fn records_and_rows_are_those_of_kafka_streams_at_least_once() {
    compare(Guarantee::AtLeastOnce, Cache::Off, None, &[]);
}

#[test]
fn records_and_rows_are_those_of_kafka_streams_exactly_once() {
    // It writes offsets, and the oracle's at-least-once run has no markers that take one.
    compare(Guarantee::ExactlyOnceV2, Cache::Off, None, &["processor-punctuate/meta-behind-repartition"]);
}

#[test]
fn records_and_rows_are_those_of_kafka_streams_with_the_record_cache_at_its_default() {
    compare(Guarantee::AtLeastOnce, Cache::Default, None, &[]);
}

#[test]
fn crashes_of_a_process_leave_no_trace_at_least_once() {
    for crashes in [Crashes::Even, Crashes::Odd] {
        compare(Guarantee::AtLeastOnce, Cache::Off, Some(crashes), &[]);
    }
}

#[test]
fn crashes_of_a_process_leave_no_trace_exactly_once() {
    for crashes in [Crashes::Even, Crashes::Odd, Crashes::Amid] {
        compare(Guarantee::ExactlyOnceV2, Cache::Off, Some(crashes), &["processor-punctuate/meta-behind-repartition"]);
    }
}

#[test]
fn a_store_that_is_not_logged_shows_that_crashes_lose_what_is_not_restored() {
    if elsewhere().is_some() {
        return;
    }
    let (_, scenario, expected) = scenarios(Cache::Off)
        .into_iter()
        .find(|(name, ..)| name == "aggregate/logging-disabled")
        .expect("the scenario");
    let run = |crashes| {
        let topology = build::topology(&scenario).expect("a sound topology");
        differences(topology, &scenario, &expected, Guarantee::ExactlyOnceV2, crashes)
    };
    assert_eq!(run(None), Vec::<String>::new());
    assert!(!run(Some(Crashes::Even)).is_empty());
}

fn compare(guarantee: Guarantee, cache: Cache, crashes: Option<Crashes>, but: &[&str]) {
    // What functions of scenarios throw is expected, and nobody wants to read where.
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload().downcast_ref::<String>().is_none_or(|text| text != expr::BOOM) {
            eprintln!("{panic}");
        }
    }));
    let (mut wrong, mut right) = (Vec::new(), 0);
    for (name, scenario, expected) in scenarios(cache) {
        let Ok(Ok(topology)) = uncaught(|| build::topology(&scenario)) else { continue };
        let skipped = crashes.is_some() && !outlives_a_process(&scenario);
        if (topology.external_sources().is_empty() && dynamic_topics(&scenario).is_empty())
            || but.contains(&&*name)
            || skipped
        {
            continue;
        }
        let differences = uncaught(|| differences(topology, &scenario, &expected, guarantee, crashes))
            .unwrap_or_else(|()| vec!["  panicked".into()]);
        if differences.is_empty() {
            right += 1;
        } else {
            wrong.push(format!("{name}\n{}", differences.join("\n")));
        }
    }
    judge(right, &wrong);
}

/// A panic in one scenario leaves the others their turn.
fn uncaught<T>(run: impl FnOnce() -> T) -> Result<T, ()> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(drop)
}
