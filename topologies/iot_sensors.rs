//! `iot-sensors`: readings become minutes, and a sensor that falls silent an alert. [`bridge.rs`](iot_sensors/bridge.rs)
//! brings the readings from an MQTT broker: `mqtt-bridge localhost:1883 sensors/+ readings bootstrap.servers=…`.
//!
//! Shows two clocks. The minutes follow the time of the readings, so a gateway that delivers up to ten minutes late fills
//! the right minute, and a replay gives the same ones; what is later goes to a topic of its own. That a sensor is dead only the wall clock can tell, as nothing arrives: a schedule
//! looks every ten seconds, and tells once that a sensor was silent for five minutes, and once that it is back. MQTT tells
//! some readings twice, so a minute holds its readings by time, and not their sum.
//!
//! Use it where absence matters. An alert here says that nothing was processed from the sensor, which may be the worker's
//! own standing still; so the limit is well above the time of a restart. Readings that no sensor can have measured, or at no
//! such time, go to the dead-letter topic. Where `IOT_SENSORS_POSTGRES` says how to connect, each minute is a row of the table
//! `sensor_minutes` too, updated as readings come.

mod watch;

#[cfg(feature = "postgres")]
use millstream::{adapters::PostgresTable, record::Windowed};
use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::{Fault, Result},
    operator::{Processor, ProcessorContext, TimeWindows},
    record::{Record, Timestamp},
    topology::{Consumed, Grouped, Materialized, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use watch::{Heard, Watch};

const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;
const GRACE: Duration = Duration::from_secs(600);
/// How far a sensor's clock may be ahead of the broker's: one that is wrong must not end the minutes of all others.
const AHEAD_MS: i64 = 60_000;
/// Readings of a sensor's minute that are kept: a row must fit into a record.
const MOST: usize = 6_000;
/// What the sensors can measure, in thousandths of a degree Celsius.
const RANGE: std::ops::RangeInclusive<i64> = -60_000..=125_000;

pub const ENTRY: Entry = Entry {
    name: "iot-sensors",
    about: "sensor readings in 1-minute aggregates, and alerts on sensors that fall silent",
    inputs: &[Topic::new("readings", Format::String, Format::Json)],
    outputs: &[
        Topic::new("sensor-minutes", Format::Windowed { size_ms: MINUTE_MS }, Format::Json),
        Topic::new("sensor-alerts", Format::String, Format::Json),
        Topic::new("readings-rejected", Format::String, Format::Json),
        Topic::new("readings-late", Format::String, Format::Json),
    ],
    settings: &[
        ("deserialization.exception.handler", "continue"),
        ("processing.exception.handler", "continue"),
        ("errors.dead.letter.queue.topic.name", "readings-rejected"),
        ("errors.late.topic.name", "readings-late"),
    ],
    build,
};

/// A reading in thousandths of a degree Celsius, keyed by its sensor; `ts` is its event time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reading {
    millis: i64,
    ts: i64,
}

/// Thousandths of a degree of a sensor's minute by time, so that a reading that is told again changes nothing.
type Minute = BTreeMap<Timestamp, i64>;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Summary {
    readings: i64,
    min: i64,
    max: i64,
    mean: i64,
}

impl Summary {
    fn of(minute: &Minute) -> Option<Self> {
        let (min, max) = (*minute.values().min()?, *minute.values().max()?);
        let readings = minute.len() as i64;
        Some(Self { readings, min, max, mean: minute.values().sum::<i64>() / readings })
    }
}

/// A minute as a row of the database.
#[cfg(feature = "postgres")]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    sensor: String,
    start: Timestamp,
    #[serde(flatten)]
    of: Summary,
}

/// Lets through what a sensor can have measured.
struct Check;

impl Processor<String, Reading, String, Reading> for Check {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Reading>,
        record: Record<'_, String, Reading>,
    ) -> Result<()> {
        match record.value {
            Some(reading) if !RANGE.contains(&reading.millis) => {
                Err(Fault::skip(format!("{} thousandths of a degree", reading.millis)))
            }
            Some(reading) if reading.ts != record.timestamp => Err(Fault::skip("the sensor's clock is wrong")),
            _ => cx.forward(record),
        }
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (text, reading) = (serdes::string, serdes::json::<Reading>());
    builder.add_state_store(StoreBuilder::key_value("heard", text(), serdes::json::<Heard>()));
    let readings = Consumed::with(text(), reading.clone()).timestamp_extractor(|_, reading, broker, _| {
        reading.filter(|r: &&Reading| (0..=broker + AHEAD_MS).contains(&r.ts)).map_or(broker, |r| r.ts)
    });
    let readings = builder.stream_with(params.input(0), readings);
    readings.process(|| Watch, &["heard"]).to_with(params.output(1), Produced::with(text(), serdes::json()));
    let minutes = readings
        .process(|| Check, &[])
        .group_by_key_with(Grouped::with(text(), reading).name("sound"))
        .windowed_by(TimeWindows::of_size_and_grace(MINUTE, GRACE))
        .aggregate_with(
            Minute::new,
            |_, reading, mut minute: Minute| {
                let reading: &Reading = reading?;
                if minute.len() < MOST {
                    minute.insert(reading.ts, reading.millis);
                }
                Some(minute)
            },
            Materialized::as_store("minutes").with_key_serde(text()).with_value_serde(serdes::json()),
        )
        .to_stream()
        .map_values(|minute: Option<&Minute>| minute.and_then(Summary::of));
    #[cfg(feature = "postgres")]
    if let Ok(database) = std::env::var("IOT_SENSORS_POSTGRES") {
        let numbers = ["start", "readings", "min", "max", "mean"];
        let table = PostgresTable::new(database, "sensor_minutes").key("minute").column("sensor", "text");
        let table = numbers.into_iter().fold(table, |table, name| table.column(name, "bigint"));
        minutes
            .map(|window: Option<&Windowed<String>>, summary| {
                let key = window.map(|w| format!("{}@{}", w.key, w.start));
                (key, window.zip(summary).map(|(w, s)| Row { sensor: w.key.clone(), start: w.start, of: s.clone() }))
            })
            .to_sink("sensor-minutes-table", table, Produced::with(text(), serdes::json()));
    }
    minutes.to_with(params.output(0), Produced::with(serdes::windowed(text(), MINUTE_MS), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    fn read(driven: &mut Driven, millis: i64, ts: i64) {
        driven.pipe_at(0, json!("s1"), json!({"millis": millis, "ts": ts}), 0);
    }

    #[test]
    fn minutes_follow_the_time_of_the_readings() {
        let mut driven = Driven::new(&ENTRY);
        for (millis, ts) in [(20_000, 0), (22_000, 59_999), (30_000, 60_000), (-3_000, 5), (-3_000, 5), (900_000, 6)] {
            read(&mut driven, millis, ts);
        }
        let first = json!({"readings": 3, "min": -3_000, "max": 22_000, "mean": 13_000});
        assert_eq!(driven.read(0).last().unwrap().1, first);
        assert_eq!(driven.read_header(2, "__streams.errors.message"), ["900000 thousandths of a degree"]);
    }

    #[test]
    fn a_sensor_with_a_wrong_clock_harms_no_other_and_late_readings_are_kept() {
        let mut driven = Driven::new(&ENTRY);
        let mut at = |ts: i64, broker: i64| {
            driven.pipe_at(0, json!("s1"), json!({"millis": 1, "ts": ts}), broker);
            [0, 2, 3].map(|output| driven.read(output).len())
        };
        assert_eq!(at(1_200_000, 1_200_000), [1, 0, 0]);
        assert_eq!(at(9_000_000, 1_200_000), [0, 1, 0], "ahead");
        assert_eq!(at(-1, 1_200_000), [0, 1, 0], "before 1970");
        assert_eq!(at(600_000, 1_200_000), [1, 0, 0], "ten minutes late");
        assert_eq!(at(0, 1_200_000), [0, 0, 1], "later");
    }

    #[test]
    fn silence_is_told_once_and_so_is_its_end_over_a_crash() {
        let mut driven = Driven::new(&ENTRY);
        let alerts = |driven: &mut Driven| -> Vec<_> {
            driven.read(1).into_iter().map(|(_, alert)| alert["silent"].as_bool().unwrap()).collect()
        };
        read(&mut driven, 0, 0);
        driven.advance(280);
        assert_eq!(alerts(&mut driven), [false; 0]);
        driven.advance(40);
        assert_eq!(alerts(&mut driven), [true]);
        driven.driver.crash().unwrap();
        driven.advance(600);
        assert_eq!(alerts(&mut driven), [false; 0], "told once");
        read(&mut driven, 0, 0);
        assert_eq!(alerts(&mut driven), [false; 0], "what is told again is no sign of life");
        read(&mut driven, 0, 1);
        read(&mut driven, 0, 2);
        assert_eq!(alerts(&mut driven), [false]);
    }
}
