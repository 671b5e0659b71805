//! `channel-stats`: chat messages per channel in windows of ten minutes, and the messages themselves in PostgreSQL.
//!
//! Shows an aggregate for dashboards beside a sink beyond Kafka: where `CHANNEL_STATS_POSTGRES` says how to connect, each
//! message becomes a row of the table `messages`, under its place in the topic (topic, partition, offset). A message is
//! processed again after a crash, and finds its own row: it is there once.
//!
//! Use it where others ask SQL of what happened. Counts belong into the topic, or behind the worker's own HTTP: a row that
//! changes with every message makes the database the slowest part.

#[cfg(feature = "postgres")]
use millstream::{
    adapters::PostgresTable,
    fault::Fault,
    operator::{Processor, ProcessorContext},
    record::Record,
    topology::KStream,
};
use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::TimeWindows,
    topology::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(600);
const WINDOW_MS: i64 = 600_000;
const GRACE: Duration = Duration::from_secs(60);

pub const ENTRY: Entry = Entry {
    name: "channel-stats",
    about: "chat messages per channel in 10-minute windows",
    inputs: &[Topic::new("chat", Format::String, Format::Json)],
    outputs: &[Topic::new("channel-stats", Format::Windowed { size_ms: WINDOW_MS }, Format::Long)],
    settings: &[],
    build,
};

/// A chat message; `ts` is its event time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Message {
    channel: String,
    user: String,
    text: String,
    ts: i64,
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let message = serdes::json::<Message>();
    let consumed = Consumed::with(serdes::string(), message.clone())
        .timestamp_extractor(|_, message, broker, _| message.map_or(broker, |m: &Message| m.ts));
    let messages = builder.stream_with(params.input(0), consumed);
    #[cfg(feature = "postgres")]
    if let Ok(database) = std::env::var("CHANNEL_STATS_POSTGRES") {
        keep(&messages, database);
    }
    messages
        .group_by_with(
            |_, message| message.map(|m: &Message| m.channel.clone()),
            Grouped::with(serdes::string(), message).name("by-channel"),
        )
        .windowed_by(TimeWindows::of_size_and_grace(WINDOW, GRACE))
        .count_with(Materialized::as_store("messages-per-channel"))
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::windowed(serdes::string(), WINDOW_MS), serdes::i64()));
    builder.build()
}

/// Each message into a table, under its place.
#[cfg(feature = "postgres")]
fn keep(messages: &KStream<String, Message>, database: String) {
    let table = PostgresTable::new(database, "messages").key("place");
    let table = table.column("channel", "text").column("user", "text").column("text", "text").column("ts", "bigint");
    let placed = messages.named("by-place").process(|| ByPlace, &[]);
    placed.to_sink("messages", table, Produced::with(serdes::string(), serdes::json()));
}

/// Gives each message its place in the topic as its key.
#[cfg(feature = "postgres")]
struct ByPlace;

#[cfg(feature = "postgres")]
impl Processor<String, Message, String, Message> for ByPlace {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Message>,
        record: Record<'_, String, Message>,
    ) -> Result<()> {
        let at = cx.record_metadata().ok_or_else(|| Fault::stop("a message without a place"))?;
        let place = format!("{}-{}-{}", at.topic, at.partition, at.offset);
        cx.forward(record.with_key(Some(&place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Driven, last, run};
    use serde_json::json;

    fn message(channel: &str, ts: i64) -> String {
        format!("{{\"channel\":\"{channel}\",\"user\":\"u\",\"text\":\"t\",\"ts\":{ts}}}\n")
    }

    #[test]
    fn counts_per_channel_and_window_by_event_time() {
        let lines = [
            message("a", 0),
            message("b", 599_999),
            message("a", 600_000),
            message("a", 1_000),   // late, within grace
            message("a", 700_000), // closes the first window
            message("a", 2_000),   // too late
        ]
        .concat();
        let counts = last(&run(&ENTRY, &[&lines]));
        let window =
            |channel: &str, start: i64| json!({"key": channel, "start": start, "end": start + WINDOW_MS}).to_string();
        assert_eq!(counts.len(), 3);
        assert_eq!(counts[&window("a", 0)], json!(2));
        assert_eq!(counts[&window("b", 0)], json!(1));
        assert_eq!(counts[&window("a", 600_000)], json!(2));
    }

    #[test]
    fn a_message_after_the_grace_is_left_out_and_counted() {
        let mut driven = Driven::new(&ENTRY);
        let mut send =
            |ts: i64| driven.pipe(0, json!(null), json!({"channel": "a", "user": "u", "text": "t", "ts": ts})).len();
        assert_eq!([send(1), send(659_999), send(2), send(660_000), send(3)], [1, 1, 1, 1, 0]);
        assert_eq!(driven.driver.dropped(), 1);
    }
}
