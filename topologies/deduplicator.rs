//! `deduplicator`: the first of events that come more than once.
//!
//! Shows state that expires: an event is known by its id for an hour of event time, and then forgotten. An event without
//! an id is known by its content. The store is read and written in the transaction that forwards the event, so a crash
//! lets neither a repeat through nor the first one be lost.
//!
//! Use it where repeats come from outside: a client that retries, a source that is read again. A repeat must have the
//! same key as the first, else it may be on another partition. What a producer of your own repeats is better not written:
//! `enable.idempotence=true` keeps a retried batch from being stored twice, and a transaction (`transactional.id`) that
//! also carries the position in its source, as this library's own commits do, keeps a restarted one from writing it again.

use bytes::Bytes;
use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::{murmur3, serdes},
    fault::Result,
    operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord},
    topology::{Consumed, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::Deserialize;
use std::time::Duration;

/// Repeats come within this time of the first, earlier or later.
const WITHIN: Duration = Duration::from_secs(3_600);
const WITHIN_MS: i64 = 3_600_000;

pub const ENTRY: Entry = Entry {
    name: "deduplicator",
    about: "the first of events with the same id, or the same content, within an hour",
    inputs: &[Topic::new("events", Format::String, Format::Json)],
    outputs: &[Topic::new("events-once", Format::String, Format::Json)],
    settings: &[],
    build,
};

/// All that is read of an event.
#[derive(Deserialize)]
struct Identity {
    id: Option<String>,
}

/// What an event is known by: its id, else a hash of its bytes.
fn identity(event: &Bytes) -> Vec<u8> {
    let id = serde_json::from_slice::<Identity>(event).ok().and_then(|identity| identity.id);
    id.map_or_else(|| [b"#", &murmur3(event)[..]].concat(), |id| format!("={id}").into_bytes())
}

struct Once;

impl FixedKeyProcessor<Bytes, Bytes, Bytes> for Once {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, Bytes, Bytes>,
        record: FixedKeyRecord<'_, Bytes, Bytes>,
    ) -> Result<()> {
        let Some(event) = record.value() else { return Ok(()) };
        let (identity, now) = (identity(event), record.timestamp());
        let mut seen = cx.window_store::<Vec<u8>, bool>("seen")?;
        if !seen.fetch_range(&identity, now - WITHIN_MS, now + WITHIN_MS)?.is_empty() {
            return Ok(());
        }
        seen.put(&identity, Some(&true), now, now)?;
        cx.forward(record)
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    // An event may come as late as it may be repeated, and still find the first.
    let retention = WITHIN * 2;
    builder.add_state_store(StoreBuilder::window("seen", retention, WITHIN, serdes::byte_vec(), serdes::bool()));
    builder
        .stream_with(params.input(0), Consumed::with(serdes::bytes(), serdes::bytes()))
        .process_values(|| Once, &["seen"])
        .to_with(params.output(0), Produced::with(serdes::bytes(), serdes::bytes()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::{Value, json};

    #[test]
    fn one_of_each_within_the_hour() {
        let mut driven = Driven::new(&ENTRY);
        let mut once = |event: Value, at: i64| {
            driven.pipe_at(0, json!("k"), event, at);
            driven.read(0).len()
        };
        let (a, changed) = (json!({"id": "a", "n": 1}), json!({"id": "a", "n": 2}));
        assert_eq!(once(a.clone(), 10), 1);
        assert_eq!(once(changed, 20), 0, "the id decides");
        assert_eq!(once(json!({"id": "b"}), 30), 1);
        assert_eq!(once(json!({"n": 1}), 40), 1);
        assert_eq!(once(json!({"n": 1}), 50), 0, "the content decides where there is no id");
        assert_eq!(once(json!({"n": 2}), 60), 1);
        assert_eq!(once(a.clone(), WITHIN_MS + 10), 0);
        assert_eq!(once(a.clone(), WITHIN_MS + 11), 1, "more than an hour after the first");
        assert_eq!(once(a, 5), 0, "earlier than the first, by its time");
    }

    #[test]
    fn what_was_seen_is_forgotten() {
        let mut driven = Driven::new(&ENTRY);
        for n in 0..1_000 {
            driven.pipe_at(0, json!("k"), json!({"n": n}), n * 60_000);
        }
        let rows = driven.driver.rows("seen").unwrap().len();
        assert!(rows <= 200, "{rows} events of 1000 minutes are kept");
    }
}
