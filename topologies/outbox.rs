//! `outbox`: what a service tells of its own changes, and who hears it. [`relay.rs`](outbox/relay.rs) is the sender: a
//! program that writes the events of a PostgreSQL table to a topic, each once. This is the receiver, an inbox: it takes each
//! event of an aggregate once, in order, and keeps what came last.
//!
//! Shows an idempotent receiver. Ids of an aggregate rise (the table's own numbers, in the header `id`), so one number per
//! aggregate tells what is new, where `deduplicator` keeps every id for an hour. What is not new was copied by hand, or
//! sent again after the table was restored from a backup: it goes to a topic of its own, and nobody counts it twice. After
//! such a restore the table's numbers must go on above the greatest that was ever given, or new events pass for repeats.
//!
//! Use it where the sender is not a Kafka transaction that you trust. Behind the relay alone, `read_committed` is enough.
//! It does not help where ids of an aggregate can overtake each other: a late lower one would be taken for a repeat.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::{Fault, Result},
    operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord},
    topology::{Consumed, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

pub const ENTRY: Entry = Entry {
    name: "outbox",
    about: "events of a PostgreSQL outbox (written by the program outbox-relay), each taken once per aggregate",
    inputs: &[Topic::new("shop-events", Format::String, Format::String)],
    outputs: &[
        Topic::new("shop-aggregates", Format::String, Format::Json),
        Topic::new("shop-repeats", Format::String, Format::Json),
        Topic::new("shop-rejected", Format::String, Format::String),
    ],
    settings: &[("processing.exception.handler", "continue"), ("errors.dead.letter.queue.topic.name", "shop-rejected")],
    build,
};

/// An aggregate as its events tell of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Aggregate {
    /// Events so far.
    events: u64,
    /// The id of the last one, and what it says.
    id: i64,
    last: String,
    /// The event that made this came before.
    #[serde(skip)]
    repeated: bool,
}

struct Inbox;

impl FixedKeyProcessor<String, String, Aggregate> for Inbox {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, Aggregate>,
        record: FixedKeyRecord<'_, String, String>,
    ) -> Result<()> {
        let (Some(key), Some(event)) = (record.key(), record.value()) else {
            return Err(Fault::skip("an event without an aggregate, or without a payload"));
        };
        let id = record.headers().last("id").flatten().and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
        let id: i64 = id.ok_or_else(|| Fault::skip("no number in the header `id`"))?;
        let mut aggregates = cx.store::<String, Aggregate>("aggregates")?;
        let (events, known) = aggregates.get(key)?.map_or((0, i64::MIN), |known| (known.events, known.id));
        let repeated = id <= known;
        let aggregate = Aggregate { events: events + u64::from(!repeated), id, last: event.clone(), repeated };
        if !repeated {
            aggregates.put(key, &aggregate)?;
        }
        cx.forward(record.with_value(Some(&aggregate)))
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (text, json) = (serdes::string, serdes::json::<Aggregate>);
    builder.add_state_store(StoreBuilder::key_value("aggregates", text(), json()));
    let events =
        builder.stream_with(params.input(0), Consumed::with(text(), text())).process_values(|| Inbox, &["aggregates"]);
    let repeated = |_: Option<&String>, a: Option<&Aggregate>| a.is_some_and(|a| a.repeated);
    events.filter_not(repeated).to_with(params.output(0), Produced::with(text(), json()));
    events.filter(repeated).to_with(params.output(1), Produced::with(text(), json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use bytes::Bytes;
    use millstream::record::{Headers, RawRecord};
    use serde_json::{Value, json};

    /// What an event brings: aggregates, repeats, and how many are rejected.
    fn told(driven: &mut Driven, key: &str, id: Option<&str>, event: &str) -> (Vec<Value>, Vec<Value>, usize) {
        let bytes = |text: &str| Some(Bytes::from(text.to_owned()));
        let headers: Headers = id.map(|id| ("id".to_owned(), bytes(id))).into_iter().collect();
        let record = RawRecord { offset: 0, timestamp: 0, key: bytes(key), value: bytes(event), headers };
        driven.driver.pipe_raw("shop-events", record).unwrap();
        let [aggregates, repeats] = [0, 1].map(|output| driven.read(output).into_iter().map(|(_, v)| v).collect());
        (aggregates, repeats, driven.read(2).len())
    }

    #[test]
    fn an_event_is_taken_once_over_a_crash() {
        let mut driven = Driven::new(&ENTRY);
        let aggregate = |events: u64, id: i64, last: &str| json!({"events": events, "id": id, "last": last});
        assert_eq!(told(&mut driven, "o1", Some("7"), "placed").0, [aggregate(1, 7, "placed")]);
        assert_eq!(
            told(&mut driven, "o2", Some("3"), "placed").0,
            [aggregate(1, 3, "placed")],
            "ids are an aggregate's own"
        );
        driven.driver.crash().unwrap();
        let repeat = told(&mut driven, "o1", Some("7"), "placed");
        assert_eq!(repeat, (vec![], vec![aggregate(1, 7, "placed")], 0));
        assert_eq!(told(&mut driven, "o1", Some("9"), "paid").0, [aggregate(2, 9, "paid")]);
    }

    #[test]
    fn an_event_without_a_number_is_kept() {
        let mut driven = Driven::new(&ENTRY);
        assert_eq!(told(&mut driven, "o1", None, "placed"), (vec![], vec![], 1));
        assert_eq!(told(&mut driven, "o1", Some("x"), "placed"), (vec![], vec![], 1));
    }
}
