//! `notifications-email`, `notifications-push`, `notifications-audit`: one topic, read by three groups.
//!
//! Shows when none of this library's machinery is needed. There is no key to group by, no state, no time: each group reads
//! the whole topic at its own pace, takes what is for it, and writes what is to be sent. That a topic is read by many costs
//! it nothing; adding a reader changes no other one. The group is the application id.
//!
//! A plain consumer does the same in a loop, and is the better choice where the work is a call to somewhere else: no
//! transaction covers an e-mail. What a topology adds even here is that output and position move together, dead letters,
//! and the metrics of every other worker. What really sends the mail should be told the notification's id, so that it can
//! leave out what it has sent already.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    topology::{Consumed, KStream, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

const fn entry(
    name: &'static str,
    about: &'static str,
    outputs: &'static [Topic],
    build: fn(&Params) -> Result<Topology>,
) -> Entry {
    const INPUTS: &[Topic] = &[Topic::new("notifications", Format::String, Format::Json)];
    Entry { name, about, inputs: INPUTS, outputs, settings: &[], build }
}

pub const EMAIL: Entry = entry(
    "notifications-email",
    "plain consumer: notifications that are sent as mail",
    &[Topic::new("emails", Format::String, Format::Json)],
    email,
);

pub const PUSH: Entry = entry(
    "notifications-push",
    "plain consumer: notifications that are pushed to a device",
    &[Topic::new("pushes", Format::String, Format::Json)],
    push,
);

pub const AUDIT: Entry = entry(
    "notifications-audit",
    "plain consumer: a line for each notification",
    &[Topic::new("notifications-log", Format::String, Format::String)],
    audit,
);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Channel {
    Email,
    Push,
}

/// A notification for a user, the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Notification {
    id: String,
    channels: Vec<Channel>,
    text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Message {
    notification: String,
    text: String,
}

fn notifications(builder: &StreamsBuilder, params: &Params) -> KStream<String, Notification> {
    builder.stream_with(params.input(0), Consumed::with(serdes::string(), serdes::json()))
}

/// The notifications of a channel as messages to send.
fn sent_by(channel: Channel, params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    notifications(&builder, params)
        .filter(move |_, notification| notification.is_some_and(|n| n.channels.contains(&channel)))
        .map_values(|n| n.map(|n| Message { notification: n.id.clone(), text: n.text.clone() }))
        .to_with(params.output(0), Produced::with(serdes::string(), serdes::json()));
    builder.build()
}

fn email(params: &Params) -> Result<Topology> {
    sent_by(Channel::Email, params)
}

fn push(params: &Params) -> Result<Topology> {
    sent_by(Channel::Push, params)
}

fn audit(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    notifications(&builder, params)
        .map_values(|n| n.map(|n| format!("{} by {:?}", n.id, n.channels)))
        .to_with(params.output(0), Produced::with(serdes::string(), serdes::string()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn each_group_takes_what_is_for_it() {
        let found = [&EMAIL, &PUSH, &AUDIT].map(|entry| {
            let mut driven = Driven::new(entry);
            let notify = |driven: &mut Driven, channels: &[&str]| {
                driven.pipe(0, json!("ann"), json!({"id": "n", "channels": channels, "text": "hi"})).len()
            };
            [notify(&mut driven, &["email"]), notify(&mut driven, &["email", "push"]), notify(&mut driven, &[])]
        });
        assert_eq!(found, [[1, 1, 0], [0, 1, 0], [1, 1, 1]]);
    }
}
