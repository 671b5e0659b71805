//! `event-router`: each event goes to the topic of its type.
//!
//! Shows topics chosen per record. Only the type is read; the event goes on byte for byte, with its key and headers.
//! Events of a type that nobody has told the router of, and what is no event at all, go to a topic of their own, which
//! somebody looks at: that nothing gets lost is the point of having a router.
//!
//! Use it to break up a topic that carries everything. The topics must exist. When a reader wants two types in their
//! order, leave them in one topic: between topics there is none.

use bytes::Bytes;
use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    topology::{Consumed, Produced, StreamsBuilder, Topology},
};
use serde::Deserialize;

pub const ENTRY: Entry = Entry {
    name: "event-router",
    about: "each event to the topic of its type, unknown types to a topic of their own",
    inputs: &[Topic::new("events", Format::String, Format::Bytes)],
    outputs: &[
        Topic::new("events-order", Format::String, Format::Json),
        Topic::new("events-payment", Format::String, Format::Json),
        Topic::new("events-customer", Format::String, Format::Json),
        Topic::new("events-unknown", Format::String, Format::Bytes),
    ],
    settings: &[],
    build,
};

/// All that the router reads of an event.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

/// The topic of an event: that of the part of its type before the first dot.
fn route(event: Option<&Bytes>) -> &'static str {
    let envelope: Option<Envelope<'_>> = event.and_then(|bytes| serde_json::from_slice(bytes).ok());
    match envelope.as_ref().and_then(|e| e.kind.split('.').next()) {
        Some("order") => "events-order",
        Some("payment") => "events-payment",
        Some("customer") => "events-customer",
        _ => "events-unknown",
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let topics: Vec<String> = (0..ENTRY.outputs.len()).map(|index| params.output(index).to_owned()).collect();
    let topic_of = move |event: Option<&Bytes>| {
        let index = ENTRY.outputs.iter().position(|topic| topic.name == route(event)).unwrap_or(topics.len() - 1);
        topics[index].clone()
    };
    builder
        .stream_with(params.input(0), Consumed::with(serdes::bytes(), serdes::bytes()))
        .to_topic_of_with(move |_, event| topic_of(event), Produced::with(serdes::bytes(), serdes::bytes()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn every_event_arrives_somewhere() {
        let mut driven = Driven::new(&ENTRY);
        let events =
            [r#"{"type":"order.placed", "n":1}"#, r#"{"type":"payment"}"#, r#"{"type":"ship.left"}"#, "{}", "no event"];
        for event in events {
            driven.pipe(0, json!("k"), json!(event));
        }
        let count = |output: usize, driven: &mut Driven| driven.driver.read_raw(ENTRY.outputs[output].name).unwrap();
        assert_eq!(count(1, &mut driven).len(), 1);
        assert_eq!(count(2, &mut driven).len(), 0);
        let unknown: Vec<_> = count(3, &mut driven).into_iter().filter_map(|r| r.value).collect();
        assert_eq!(unknown, events[2..].iter().map(|e| Bytes::from(*e)).collect::<Vec<_>>());
        assert_eq!(route(Some(&events[0].into())), "events-order");
        assert_eq!(route(None), "events-unknown");
    }

    #[test]
    fn an_event_goes_on_byte_for_byte() {
        let mut driven = Driven::new(&ENTRY);
        let event = "{\"type\":\"order.placed\",  \"n\":1.0}";
        driven.pipe_at(0, json!("k"), json!(event), 5);
        let found = driven.driver.read_raw("events-order").unwrap();
        assert_eq!((found[0].value.as_deref(), found[0].timestamp), (Some(event.as_bytes()), 5));
    }
}
