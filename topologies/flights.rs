//! `flights`: departures of New York's airports, and their mean delay, per hour of actual departure.
//!
//! The input lies in `data/`, in order of the schedule; event time is the actual departure, so it is out of order by
//! up to 22 hours. A grace of a day loses none.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::TimeWindows,
    topology::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_MS: i64 = 3_600_000;
const GRACE: Duration = Duration::from_secs(86_400);

pub const ENTRY: Entry = Entry {
    name: "flights",
    about: "hourly departures and mean delay per airport",
    inputs: &[Topic::new("flights", Format::String, Format::Json)],
    outputs: &[Topic::new("departures", Format::Windowed { size_ms: HOUR_MS }, Format::Json)],
    settings: &[],
    build,
};

/// A departure, as far as it matters here. `dep` is the actual time in milliseconds, `dep_delay` in minutes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Flight {
    origin: String,
    dep: i64,
    dep_delay: i64,
}

/// What the store keeps per window.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sum {
    departures: i64,
    delay_minutes: i64,
}

/// What goes out per window.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Departures {
    departures: i64,
    mean_delay_minutes: f64,
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let flight = serdes::json::<Flight>();
    let consumed = Consumed::with(serdes::string(), flight.clone())
        .timestamp_extractor(|_, flight, broker, _| flight.map_or(broker, |f: &Flight| f.dep));
    builder
        .stream_with(params.input(0), consumed)
        .group_by_with(
            |_, flight| flight.map(|f: &Flight| f.origin.clone()),
            Grouped::with(serdes::string(), flight).name("by-airport"),
        )
        .windowed_by(TimeWindows::of_size_and_grace(HOUR, GRACE))
        .aggregate_with(
            Sum::default,
            |_, flight, sum: Sum| {
                let delay = flight.map_or(0, |f: &Flight| f.dep_delay);
                Some(Sum { departures: sum.departures + 1, delay_minutes: sum.delay_minutes + delay })
            },
            Materialized::as_store("departures").with_key_serde(serdes::string()).with_value_serde(serdes::json()),
        )
        .to_stream()
        .map_values(|sum: Option<&Sum>| {
            let sum = sum?;
            let mean_delay_minutes = sum.delay_minutes as f64 / sum.departures as f64;
            Some(Departures { departures: sum.departures, mean_delay_minutes })
        })
        .to_with(params.output(0), Produced::with(serdes::windowed(serdes::string(), HOUR_MS), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{last, run_on};
    use flate2::read::GzDecoder;
    use serde_json::{Value, json};
    use std::{
        collections::BTreeMap,
        io::{BufRead, BufReader},
    };

    const DATA: &[u8] = include_bytes!("data/flights-2013-01.jsonl.gz");

    fn lines() -> impl BufRead {
        BufReader::new(GzDecoder::new(DATA))
    }

    #[test]
    fn every_window_of_january_equals_a_plain_recount() {
        let mut expected: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
        for line in lines().lines() {
            let flight: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let start = flight["dep"].as_i64().unwrap() / HOUR_MS * HOUR_MS;
            let window = expected.entry((flight["origin"].as_str().unwrap().to_owned(), start)).or_default();
            window.0 += 1;
            window.1 += flight["dep_delay"].as_i64().unwrap();
        }
        assert_eq!(expected.len(), 1_763);
        let actual = last(&run_on(&ENTRY, vec![Box::new(lines())]));
        assert_eq!(actual.len(), expected.len());
        for ((origin, start), (departures, delay)) in expected {
            let window = &actual[&json!({"key": origin, "start": start, "end": start + HOUR_MS}).to_string()];
            assert_eq!(window["departures"], json!(departures), "{origin} {start}");
            // Back to whole minutes: JSON's decimals need not be the same float to the last bit.
            let minutes = window["mean_delay_minutes"].as_f64().unwrap() * departures as f64;
            assert!((minutes - delay as f64).abs() < 1e-6, "{origin} {start}: {minutes} and {delay}");
        }
    }
}
