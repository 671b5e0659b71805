//! `log-alerts`: lines of many services are parsed, indexed, counted by level, and watched.
//!
//! Shows an alert with hysteresis. Each minute of a service is judged once, when it is over: an alert is raised at 20 %
//! errors and cleared below 5 %, so that a rate which swings around one limit does not ring all night. Few lines prove
//! nothing: a minute of less than ten leaves things as they are. A line that can't be parsed goes to a topic of its own.
//!
//! Use it where logs come through Kafka anyway. A minute is judged when a later line arrives in its partition: a service
//! that falls silent raises nothing; for that see the dead sensors of `iot-sensors`.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{EmitStrategy, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, TimeWindows},
    record::Windowed,
    topology::{Consumed, Grouped, Materialized, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;
const GRACE: Duration = Duration::from_secs(10);
const LINES_MIN: i64 = 10;
const RAISE_PERCENT: i64 = 20;
const CLEAR_PERCENT: i64 = 5;

pub const ENTRY: Entry = Entry {
    name: "log-alerts",
    about: "log lines parsed, indexed, counted by level, and an alert on the error rate with hysteresis",
    inputs: &[Topic::new("logs", Format::String, Format::String)],
    outputs: &[
        Topic::new("log-alerts", Format::String, Format::Json),
        Topic::new("log-counts", Format::Windowed { size_ms: MINUTE_MS }, Format::Long),
        Topic::new("log-index", Format::String, Format::Json),
        Topic::new("logs-unparsed", Format::String, Format::String),
    ],
    settings: &[],
    build,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// A line, keyed by its service: milliseconds since 1970, level, text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    ts: i64,
    level: Level,
    text: String,
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.splitn(3, ' ');
    let ts = words.next()?.parse().ok()?;
    let level = match words.next()? {
        "DEBUG" => Level::Debug,
        "INFO" => Level::Info,
        "WARN" => Level::Warn,
        "ERROR" => Level::Error,
        _ => return None,
    };
    Some(Line { ts, level, text: words.next().unwrap_or_default().to_owned() })
}

/// A minute of a service.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Minute {
    lines: i64,
    errors: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Alert {
    raised: bool,
    errors: i64,
    lines: i64,
}

/// Judges minutes; the store holds the services with an alert.
struct Judge;

impl FixedKeyProcessor<String, Minute, Alert> for Judge {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, Alert>,
        record: FixedKeyRecord<'_, String, Minute>,
    ) -> Result<()> {
        let (Some(service), Some(Minute { lines, errors })) = (record.key(), record.value().cloned()) else {
            return Ok(());
        };
        let mut raised = cx.store::<String, bool>("raised")?;
        let was = raised.get(service)?.is_some();
        let is = match was {
            _ if lines < LINES_MIN => was,
            false => errors * 100 >= lines * RAISE_PERCENT,
            true => errors * 100 >= lines * CLEAR_PERCENT,
        };
        match (was, is) {
            (false, true) => raised.put(service, &true)?,
            (true, false) => drop(raised.delete(service)?),
            _ => return Ok(()),
        }
        cx.forward(record.with_value(Some(&Alert { raised: is, errors, lines })))
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (text, line) = (serdes::string, serdes::json::<Line>());
    let window = || TimeWindows::of_size_and_grace(MINUTE, GRACE);
    builder.add_state_store(StoreBuilder::key_value("raised", text(), serdes::bool()));
    let time = |line: &String| parse(line).map(|line| line.ts);
    let logs = Consumed::with(text(), text())
        .timestamp_extractor(move |_, line, broker, _| line.and_then(time).unwrap_or(broker));
    let raw = builder.stream_with(params.input(0), logs);
    raw.filter(|_, line| line.is_none_or(|line| parse(line).is_none()))
        .to_with(params.output(3), Produced::with(text(), text()));
    let lines = raw.flat_map_values(|line| line.and_then(|line| parse(line)));
    lines.to_with(params.output(2), Produced::with(text(), line.clone()));

    lines
        .group_by_with(
            |service, line| Some(format!("{} {:?}", service?, line?.level)),
            Grouped::with(text(), line.clone()).name("by-level"),
        )
        .windowed_by(window())
        .count_with(Materialized::as_store("counts"))
        .to_stream()
        .to_with(params.output(1), Produced::with(serdes::windowed(text(), MINUTE_MS), serdes::i64()));

    lines
        .group_by_key_with(Grouped::with(text(), line))
        .windowed_by(window())
        .emit_strategy(EmitStrategy::on_window_close())
        .aggregate_with(
            Minute::default,
            |_, line, minute: Minute| {
                let error = line.is_some_and(|line| line.level == Level::Error);
                Some(Minute { lines: minute.lines + 1, errors: minute.errors + i64::from(error) })
            },
            Materialized::as_store("minutes").with_key_serde(text()).with_value_serde(serdes::json()),
        )
        .to_stream()
        .select_key(|minute: Option<&Windowed<String>>, _| minute.map(|minute| minute.key.clone()))
        .process_values(|| Judge, &["raised"])
        .to_with(params.output(0), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn an_alert_is_raised_at_one_rate_and_cleared_at_another() {
        let mut driven = Driven::new(&ENTRY);
        // Lines and errors of each minute, and what is told when it is over.
        let minutes =
            [(20, 3, None), (20, 4, Some(true)), (20, 1, None), (9, 0, None), (20, 9, None), (20, 0, Some(false))];
        for (minute, (lines, errors, _)) in minutes.iter().enumerate() {
            for n in 0..*lines {
                let level = if n < *errors { "ERROR" } else { "INFO" };
                driven.pipe_at(0, json!("shop"), json!(format!("{} {level} text", minute * 60_000 + 100 * n)), 0);
            }
        }
        driven.pipe_at(0, json!("shop"), json!(format!("{} INFO end", 10 * MINUTE_MS)), 0);
        let alerts: Vec<_> = driven.read(0).into_iter().map(|(_, alert)| alert["raised"].as_bool()).collect();
        let expected: Vec<_> = minutes.iter().map(|m| m.2).filter(Option::is_some).collect();
        assert_eq!(alerts, expected);
    }

    #[test]
    fn what_is_no_line_is_kept() {
        let mut driven = Driven::new(&ENTRY);
        for line in ["1000 WARN low on ink", "1000 LOUD x", "WARN x", "", "1000 INFO"] {
            driven.pipe_at(0, json!("shop"), json!(line), 5);
        }
        assert_eq!(driven.read(3).len(), 3);
        let index = driven.read(2);
        assert_eq!(index[0].1, json!({"ts": 1000, "level": "WARN", "text": "low on ink"}));
        assert_eq!((index.len(), driven.read(1).len()), (2, 2));
    }
}
