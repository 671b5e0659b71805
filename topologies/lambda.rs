//! `lambda` and `lambda-batch`: a batch view of the past and a speed view of the rest, merged when somebody asks.
//!
//! Shows the two-layer answer to views per page. `lambda-batch` is a job: run it each night from the start of the topic
//! with `--until-end`, under an application id of its own for each night; per page it gives the views of all hours that are
//! closed, and until when they count. `lambda` runs all the time, counts views per hour, keeps the hours of two days, and
//! answers a question with the batch row plus its own hours from where that ends: so no view is counted twice or not at all.
//!
//! Use it where the batch is worth its own machinery: a model that takes hours to train, a source that is corrected
//! afterwards. Where both layers are the same count, as here, there are two programs to keep in step for one figure:
//! `kappa` gives the same answers with one (its tests hold the two against each other).

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{EmitStrategy, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, TimeWindows},
    record::Windowed,
    topology::{Consumed, Grouped, KTable, Materialized, Produced, StreamsBuilder, TimeWindowedKStream, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
/// Views up to this late still count, in both layers.
const GRACE: Duration = Duration::from_secs(600);
/// How old a batch may be before its hours are gone from the speed view.
const KEPT: Duration = Duration::from_secs(2 * 86_400);

const VIEWS: Topic = Topic::new("page-views", Format::String, Format::Json);
const BATCH_VIEWS: Topic = Topic::new("batch-views", Format::String, Format::Json);

pub const BATCH: Entry = Entry {
    name: "lambda-batch",
    about: "lambda's batch layer: views per page of all closed hours, from the start of the topic",
    inputs: &[VIEWS],
    outputs: &[BATCH_VIEWS],
    settings: &[],
    build: batch,
};

pub const ENTRY: Entry = Entry {
    name: "lambda",
    about: "lambda's speed layer: views since the last batch, merged with it when a question comes",
    inputs: &[VIEWS, BATCH_VIEWS, Topic::new("view-questions", Format::String, Format::Json)],
    outputs: &[Topic::new("view-answers", Format::String, Format::Json)],
    settings: &[],
    build: speed,
};

/// A view of a page, the key; `ts` is its event time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct View {
    user: String,
    ts: i64,
}

/// The views of a page in all hours before `until`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    until: i64,
    views: i64,
}

/// A question about the page that is the key; `as_of` is the time up to which views count.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Question {
    as_of: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answer {
    views: i64,
    of_them_from_batch: i64,
}

fn hours(builder: &StreamsBuilder, params: &Params) -> TimeWindowedKStream<String, View> {
    let view = serdes::json::<View>();
    let views = Consumed::with(serdes::string(), view.clone())
        .timestamp_extractor(|_, view, broker, _| view.map_or(broker, |v: &View| v.ts));
    builder
        .stream_with(params.input(0), views)
        .group_by_key_with(Grouped::with(serdes::string(), view))
        .windowed_by(TimeWindows::of_size_and_grace(HOUR, GRACE))
}

fn batch(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    hours(&builder, params)
        .emit_strategy(EmitStrategy::on_window_close())
        .count_with(Materialized::as_store("hours"))
        .to_stream()
        .map(|hour: Option<&Windowed<String>>, views: Option<&i64>| {
            let closed = hour.zip(views).map(|(hour, views)| Batch { until: hour.end, views: *views });
            (hour.map(|hour| hour.key.clone()), closed)
        })
        .group_by_key_with(Grouped::with(serdes::string(), serdes::json()).name("closed-hours"))
        .aggregate_with(
            Batch::default,
            |_, hour, sum: Batch| {
                hour.map(|hour| Batch { until: sum.until.max(hour.until), views: sum.views + hour.views })
            },
            Materialized::as_store("batch").with_key_serde(serdes::string()).with_value_serde(serdes::json()),
        )
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::string(), serdes::json()));
    builder.build()
}

/// Answers with what both views know.
struct Merge;

impl FixedKeyProcessor<String, Question, Answer> for Merge {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, Answer>,
        record: FixedKeyRecord<'_, String, Question>,
    ) -> Result<()> {
        let (Some(page), Some(question)) = (record.key(), record.value()) else { return Ok(()) };
        let batch = cx.store::<String, Batch>("batch")?.get(page)?.unwrap_or_default();
        let since = cx.window_store::<String, i64>("speed")?.fetch_range(page, batch.until, question.as_of)?;
        let views = batch.views + since.iter().map(|(_, hour)| hour.value).sum::<i64>();
        let answer = Answer { views, of_them_from_batch: batch.views };
        cx.forward(record.with_value(Some(&answer)))
    }
}

fn speed(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let kept = Materialized::as_store("speed").with_retention(KEPT);
    let _speed: KTable<Windowed<String>, i64> = hours(&builder, params).count_with(kept);
    let batch = Consumed::with(serdes::string(), serdes::json::<Batch>());
    let _batch: KTable<String, Batch> = builder.table_with(params.input(1), batch, Materialized::as_store("batch"));
    let questions = Consumed::with(serdes::string(), serdes::json::<Question>())
        .timestamp_extractor(|_, question, broker, _| question.map_or(broker, |q: &Question| q.as_of));
    builder
        .stream_with(params.input(2), questions)
        .process_values(|| Merge, &["speed", "batch"])
        .to_with(params.output(0), Produced::with(serdes::string(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::{Value, json};

    const HOUR_MS: i64 = 3_600_000;

    fn view(driven: &mut Driven, page: &str, ts: i64) {
        driven.pipe_at(0, json!(page), json!({"user": "u", "ts": ts}), ts);
    }

    fn ask(driven: &mut Driven, as_of: i64) -> Value {
        driven.pipe(2, json!("a"), json!({"as_of": as_of})).pop().unwrap().1
    }

    #[test]
    fn batch_and_speed_meet_without_gap_or_overlap() {
        let mut speed = Driven::new(&ENTRY);
        let mut batch = Driven::new(&BATCH);
        for hour in 0..5 {
            for n in 0..=hour {
                view(&mut speed, "a", hour * HOUR_MS + n);
                view(&mut batch, "a", hour * HOUR_MS + n);
            }
        }
        let now = 4 * HOUR_MS + 10;
        assert_eq!(ask(&mut speed, now), json!({"views": 15, "of_them_from_batch": 0}));
        let mut from_batch = 0;
        for (page, row) in batch.read(0) {
            from_batch = row["views"].as_i64().unwrap();
            speed.pipe_at(1, page, row, now);
            assert_eq!(ask(&mut speed, now), json!({"views": 15, "of_them_from_batch": from_batch}));
        }
        assert_eq!(from_batch, 1 + 2 + 3, "an hour is closed when the grace after it is over");
    }
}
