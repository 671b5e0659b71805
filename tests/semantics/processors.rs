//! Processors: commits, schedules, children and rows of their own.

use crate::{driver, ms, numbers, pipe, slow_driver, texts, try_pipe};
use millstream::{
    fault::{Fault, Result},
    operator::{OnError, Processor, ProcessorContext, Punctuation, ScheduleId},
    record::{Record, Timestamp},
    topology::StreamsBuilder,
};
use std::time::Duration;

type Cx<'a> = ProcessorContext<'a, String, String>;

/// Does what values tell it; its schedules tell their name and time.
#[derive(Default)]
struct Told {
    every: Option<Duration>,
    wall: Option<Duration>,
    calls: usize,
}

impl Processor<String, String, String, String> for Told {
    fn init(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        self.every.map(|every| cx.schedule(every, Punctuation::StreamTime)).transpose()?;
        self.wall.map(|every| cx.schedule(every, Punctuation::WallClock)).transpose()?;
        Ok(())
    }

    fn process(&mut self, cx: &mut Cx<'_>, record: Record<'_, String, String>) -> Result<()> {
        match record.value.map(String::as_str) {
            Some("commit") => cx.commit(),
            Some("where") => {
                let at = cx.record_metadata().ok_or_else(|| Fault::stop("no record in hand"))?;
                let text = format!("{}/{}/{} {}", at.topic, at.partition, at.offset, cx.task_id());
                return cx.forward(record.with_value(Some(&text)));
            }
            Some("first") => return cx.forward_to("first", record),
            _ => {}
        }
        cx.forward(record)
    }

    fn punctuate(&mut self, cx: &mut Cx<'_>, schedule: ScheduleId, timestamp: Timestamp) -> Result<()> {
        self.calls += 1;
        if self.calls == 2 {
            cx.cancel(schedule);
        }
        if timestamp == 13 {
            return Err(Fault::stop("13 is bad luck"));
        }
        let place = if cx.record_metadata().is_some() { "a record" } else { "none" };
        let text = format!("{place} {}", cx.stream_time());
        cx.forward(Record::new(None, Some(&text), timestamp))
    }
}

fn told(every: Option<Duration>, wall: Option<Duration>) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let processed = builder.stream::<String, String>("in").process(move || Told { every, wall, calls: 0 }, &[]);
    processed.to("out");
    builder
}

/// P-8: a commit is asked for, and comes with what the record did.
#[test]
fn p8_a_processor_asks_for_a_commit() {
    let mut driver = slow_driver(&told(None, None));
    pipe(&mut driver, "in", "k", "v", 1);
    assert_eq!(texts(&mut driver, "out"), [""; 0]);
    pipe(&mut driver, "in", "k", "commit", 2);
    assert_eq!(texts(&mut driver, "out"), ["k=v@1", "k=commit@2"]);
}

/// P-9: where a record came from; a punctuation has come from nowhere.
#[test]
fn p9_the_context_tells_topic_partition_offset_and_times() {
    let mut driver = driver(&told(Some(ms(10)), None));
    pipe(&mut driver, "in", "k", "v", 3);
    pipe(&mut driver, "in", "k", "where", 2);
    assert_eq!(texts(&mut driver, "out"), ["k=v@3", "-=none 3@3", "k=in/0/1 0_0@2"]);
}

/// P-20: an interval is a millisecond at least.
#[test]
fn p20_an_interval_below_a_millisecond_is_refused() {
    let built = told(Some(Duration::from_micros(999)), None).build().unwrap();
    let fault = millstream::testing::TestDriver::new(built).err().unwrap();
    assert!(fault.to_string().contains("shorter than a millisecond"), "{fault}");
}

/// P-25: a schedule may end itself, and what it did is committed.
#[test]
fn p25_a_schedule_ends_from_within() {
    let mut driver = driver(&told(None, Some(ms(10))));
    pipe(&mut driver, "in", "k", "v", 1);
    for _ in 0..4 {
        driver.advance(ms(10)).unwrap();
    }
    let out = texts(&mut driver, "out");
    assert_eq!(out.iter().filter(|text| text.starts_with("-=none 1@")).count(), 2, "{out:?}");
}

/// P-28: a failure of a schedule goes to the handler of processing; without one it stops the worker.
#[test]
fn p28_the_handler_decides_about_a_punctuation_that_fails() {
    for goes_on in [true, false] {
        let builder = told(Some(ms(10)), None);
        if goes_on {
            builder.on_processing_error(|cx, _| {
                assert!(cx.node.starts_with("KSTREAM-PROCESSOR-"));
                OnError::Continue
            });
        }
        let mut driver = driver(&builder);
        pipe(&mut driver, "in", "k", "v", 1);
        let end = try_pipe(&mut driver, "in", "k", "w", 13);
        assert_eq!(end.is_ok(), goes_on, "{end:?}");
        let out = texts(&mut driver, "out");
        assert_eq!(out, if goes_on { vec!["k=v@1", "-=none 1@1", "k=w@13"] } else { vec!["k=v@1", "-=none 1@1"] });
    }
}

/// P-7: a record goes to one child by its name, or to all in order of connection.
#[test]
fn p7_a_child_is_chosen_by_name() {
    let builder = StreamsBuilder::new();
    let processed = builder.stream::<String, String>("in").process(Told::default, &[]);
    processed.named("second").map_values(|_| Some("2".to_owned())).to("out");
    processed.named("first").map_values(|_| Some("1".to_owned())).to("out");
    let mut driver = driver(&builder);
    pipe(&mut driver, "in", "k", "first", 1);
    pipe(&mut driver, "in", "k", "all", 2);
    assert_eq!(texts(&mut driver, "out"), ["k=1@1", "k=2@2", "k=1@2"]);
}

/// How many records of a key there were, told each time.
struct Count;

impl Processor<String, String, String, i64> for Count {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, i64>,
        record: Record<'_, String, String>,
    ) -> Result<()> {
        let Some(key) = record.key else { return Ok(()) };
        // A store of this processor's own form: the count in decimal text.
        let rows = cx.rows("counts")?;
        let old = rows.get(key.as_bytes())?.and_then(|row| std::str::from_utf8(&row.value).ok()?.parse::<i64>().ok());
        let count = old.unwrap_or(0) + 1;
        rows.put(key.clone().into_bytes().into(), Some(count.to_string().into()), record.timestamp)?;
        cx.forward(record.with_value(Some(&count)))
    }
}

/// P-48: rows as bytes carry a store of any form; they are logged and outlive a crash. P-66: the cache holds nothing back
/// that a processor forwards.
#[test]
fn p48_p66_a_store_of_ones_own_outlives_a_crash_and_forwards_at_once() {
    use millstream::{codec::serdes, topology::StoreBuilder};
    let builder = StreamsBuilder::new();
    builder.add_state_store(StoreBuilder::key_value("counts", serdes::string(), serdes::bytes()));
    builder.stream::<String, String>("in").process(|| Count, &["counts"]).to("out");
    let mut driver = slow_driver(&builder);
    for at in 1..4 {
        pipe(&mut driver, "in", "k", "v", at);
    }
    driver.advance(ms(100)).unwrap();
    driver.crash().unwrap();
    pipe(&mut driver, "in", "k", "v", 4);
    driver.advance(ms(100)).unwrap();
    assert_eq!(numbers(&mut driver, "out"), ["k=1@1", "k=2@2", "k=3@3", "k=4@4"]);
    let changelog: Vec<_> =
        driver.read_raw("app-counts-changelog").unwrap().into_iter().filter_map(|r| r.value).collect();
    assert_eq!(changelog, ["3", "4"]);
}
