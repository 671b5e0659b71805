//! `cdc-users`: a database's change stream becomes a table, updates of a search index, and updates of a cache.
//!
//! Shows Debezium's envelopes, with and without the schema around them: rows created, updated, deleted, read by a snapshot;
//! the tombstone after a deletion, which says nothing more; columns that a schema change adds, which go along untouched.
//! A change that was told already (by its position in the database's log) is left out, so a connector that starts again
//! does no harm, and a snapshot does not bring back what was deleted since. An update that changes nothing one can search
//! for is not sent to the index. What is no envelope goes to the dead-letter topic. Where `CDC_USERS_REDIS` names a server
//! (`redis://host/`), the cache is kept there too: `HGET user:7 value`.
//!
//! Use it to keep copies of a table up to date. For events with a meaning (`customer moved`), write them in the database's
//! own transaction, to an outbox table: what changed in a row seldom says why.

mod envelope;

use envelope::{Envelope, Key, Op, Told, User};
use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{Processor, ProcessorContext},
    record::Record,
    topology::{Consumed, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

pub const ENTRY: Entry = Entry {
    name: "cdc-users",
    about: "Debezium changes of a users table become a table, search-index updates and cache updates",
    inputs: &[Topic::new("db.public.users", Format::Json, Format::Json)],
    outputs: &[
        Topic::new("users", Format::String, Format::Json),
        Topic::new("users-search", Format::String, Format::Json),
        Topic::new("users-cache", Format::String, Format::Json),
        Topic::new("users-rejected", Format::Json, Format::Json),
    ],
    settings: &[
        ("deserialization.exception.handler", "continue"),
        ("errors.dead.letter.queue.topic.name", "users-rejected"),
    ],
    build,
};

/// A document of the search index, or its deletion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Search {
    Index { name: String, email: String },
    Delete,
}

impl From<Option<&User>> for Search {
    fn from(user: Option<&User>) -> Self {
        user.map_or(Self::Delete, |u| Self::Index { name: u.name.clone(), email: u.email.clone() })
    }
}

/// A row before and after a change.
struct Change {
    old: Option<User>,
    new: Option<User>,
}

/// The newest state of a row that was told; a deleted row is remembered by its position.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    lsn: i64,
    user: Option<User>,
}

struct Apply;

impl Processor<Told<Key>, Told<Envelope>, String, Change> for Apply {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Change>,
        record: Record<'_, Told<Key>, Told<Envelope>>,
    ) -> Result<()> {
        // A tombstone follows a deletion for the topic's compaction.
        let (Some(key), Some(envelope)) = (record.key, record.value.map(Told::get)) else { return Ok(()) };
        let id = key.get().id.to_string();
        let mut rows = cx.store::<String, Row>("rows")?;
        let row = rows.get(&id)?;
        if row.as_ref().is_some_and(|row| row.lsn >= envelope.source.lsn) {
            return Ok(());
        }
        let new = envelope.after.clone().filter(|_| envelope.op != Op::Delete);
        rows.put(&id, &Row { lsn: envelope.source.lsn, user: new.clone() })?;
        let change = Change { old: row.and_then(|row| row.user), new };
        cx.forward(record.with_key(Some(&id)).with_value(Some(&change)))
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    builder.add_state_store(StoreBuilder::key_value("rows", text(), serdes::json::<Row>()));
    let changes = builder
        .stream_with(params.input(0), Consumed::with(serdes::json(), serdes::json()))
        .process(|| Apply, &["rows"])
        .filter(|_, change: Option<&Change>| change.is_some_and(|c| c.old != c.new));
    changes.map_values(|change| change?.new.clone()).to_with(params.output(0), Produced::with(text(), serdes::json()));
    changes
        .flat_map_values(|change| {
            let (old, new) = (Search::from(change?.old.as_ref()), Search::from(change?.new.as_ref()));
            (old != new).then_some(new)
        })
        .to_with(params.output(1), Produced::with(text(), serdes::json()));
    let cache = changes.map(|id, change| (id.map(|id| format!("user:{id}")), change.and_then(|c| c.new.clone())));
    #[cfg(feature = "redis")]
    if let Ok(url) = std::env::var("CDC_USERS_REDIS") {
        let hashes = millstream::adapters::RedisHashes::new(url);
        cache.to_sink("users-redis", hashes, Produced::with(text(), serdes::json()));
    }
    cache.to_with(params.output(2), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::{Value, json};

    fn change(op: &str, lsn: i64, after: Value) -> Value {
        json!({"op": op, "before": null, "after": after, "source": {"lsn": lsn, "db": "shop"}, "ts_ms": 1})
    }

    /// What a change brings to table, index and cache.
    fn told(driven: &mut Driven, value: Value) -> [Vec<Value>; 3] {
        driven.pipe_at(0, json!({"id": 1}), value, 0);
        [0, 1, 2].map(|output| driven.read(output).into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn every_kind_of_change() {
        let mut driven = Driven::new(&ENTRY);
        let (ann, anna) = (json!({"name": "Ann", "email": "a@x.org"}), json!({"name": "Anna", "email": "a@x.org"}));
        let more = json!({"name": "Anna", "email": "a@x.org", "plan": "pro"});
        let index = |name: &str| json!({"action": "index", "name": name, "email": "a@x.org"});
        let none: [Vec<Value>; 3] = [vec![], vec![], vec![]];
        let wrapped = json!({"schema": {}, "payload": change("r", 5, ann.clone())});
        assert_eq!(told(&mut driven, wrapped), [vec![ann.clone()], vec![index("Ann")], vec![ann.clone()]]);
        assert_eq!(told(&mut driven, change("c", 5, ann.clone())), none, "told already");
        let update = change("u", 7, anna.clone());
        assert_eq!(told(&mut driven, update), [vec![anna.clone()], vec![index("Anna")], vec![anna]]);
        let added = change("u", 8, more.clone());
        assert_eq!(told(&mut driven, added), [vec![more.clone()], vec![], vec![more]], "a column is added");
        let delete = change("d", 9, Value::Null);
        assert_eq!(
            told(&mut driven, delete),
            [vec![json!(null)], vec![json!({"action": "delete"})], vec![json!(null)]]
        );
        assert_eq!(told(&mut driven, Value::Null), none, "the tombstone");
        assert_eq!(told(&mut driven, change("r", 6, ann.clone())), none, "a snapshot from before");
        assert_eq!(told(&mut driven, change("c", 10, ann.clone()))[0], [ann]);
    }

    #[test]
    fn what_is_no_envelope_is_kept() {
        let mut driven = Driven::new(&ENTRY);
        told(&mut driven, change("t", 1, Value::Null));
        told(&mut driven, json!({"op": "c"}));
        assert_eq!(driven.read(3).len(), 2);
    }
}
