//! The processors of the scenarios.

use crate::{
    build::{Build, Handle, field},
    expr,
    streams::stream,
    value::{Kind, Val},
};
use millstream::{
    fault::Result,
    operator::{
        FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, Processor, ProcessorContext, Punctuation, ScheduleId,
    },
    record::{Headers, Record, Timestamp},
    topology::{KStream, StoreBuilder},
};
use serde_json::Value as Json;
use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

/// All of them: what a processor does is in `what`.
struct Scripted {
    /// See [`Build::offsets`].
    offsets: Arc<BTreeMap<(String, i64), i64>>,
    what: String,
    store: String,
    every: Duration,
    clock: Punctuation,
    clear: bool,
    ttl_ms: i64,
    header: (String, String),
    shift_ms: i64,
}

type Cx<'a> = ProcessorContext<'a, Val, Val>;

/// Adds a processor and its store.
pub fn process(h: &KStream<Val, Val>, node: &Json, build: &Build, kt: &Kind, vt: &Kind) -> Rc<dyn Handle> {
    let what = field(node, "processor").expect("a processor").to_owned();
    let store = field(node, "store_name").unwrap_or_default().to_owned();
    let counts = what == "punctuate_count";
    if !store.is_empty() {
        let value = if counts { Kind::Long } else { Kind::Text };
        build.builder.add_state_store(builder(node, &store, &value));
    }
    let number = |name: &str| node.get(name).and_then(Json::as_i64).unwrap_or(0);
    let text = |name: &str| field(node, name).unwrap_or_default().to_owned();
    let (every, ttl_ms, shift_ms) = (number("every_ms"), number("ttl_ms"), number("shift_ms"));
    let header = (text("header"), text("header_value"));
    let clock = if field(node, "time") == Some("wall") { Punctuation::WallClock } else { Punctuation::StreamTime };
    let clear = node.get("clear") == Some(&Json::Bool(true));
    let vt = match &*what {
        "punctuate_count" => Kind::Long,
        "meta" | "fan_out" => Kind::Text,
        _ => vt.clone(),
    };
    let stores: Vec<&str> = if store.is_empty() { Vec::new() } else { vec![&store] };
    let (name, offsets) = (store.clone(), build.offsets.clone());
    let supplier = move || Scripted {
        offsets: offsets.clone(),
        what: what.clone(),
        store: name.clone(),
        every: Duration::from_millis(every.unsigned_abs()),
        clock,
        clear,
        ttl_ms,
        header: header.clone(),
        shift_ms,
    };
    stream(h.process(supplier, &stores), kt, &vt)
}

/// `last_seen`: the value before, and this one.
struct LastSeen(String);

/// Adds a processor that keeps the key, and its store.
pub fn process_values(h: &KStream<Val, Val>, node: &Json, build: &Build, kt: &Kind) -> Rc<dyn Handle> {
    let store = field(node, "store_name").expect("a store").to_owned();
    build.builder.add_state_store(builder(node, &store, &Kind::Text));
    let name = store.clone();
    stream(h.process_values(move || LastSeen(name.clone()), &[&store]), kt, &Kind::Text)
}

impl FixedKeyProcessor<Val, Val, Val> for LastSeen {
    fn process(&mut self, cx: &mut FixedKeyContext<'_, Val, Val>, record: FixedKeyRecord<'_, Val, Val>) -> Result<()> {
        let Some(key) = record.key().map(|k| Val::Text(k.text())) else { return Ok(()) };
        let mut store = cx.store::<Val, Val>(&self.0)?;
        let change = Val::Text(format!("{}>{}", text(store.get(&key)?.as_ref()), text(record.value())));
        match record.value() {
            Some(value) => store.put(&key, &Val::Text(value.text()))?,
            None => drop(store.delete(&key)?),
        }
        cx.forward(record.with_value(Some(&change)))
    }
}

/// The store that a processor's node describes.
fn builder(node: &Json, store: &str, value: &Kind) -> StoreBuilder<Val, Val> {
    let mut spec = StoreBuilder::key_value(store, Kind::Text.serde(), value.serde());
    if field(node, "store_type") == Some("in_memory") {
        spec = spec.in_memory();
    }
    if node.get("logging") == Some(&Json::Bool(false)) {
        spec = spec.with_logging_disabled();
    }
    spec
}

fn text(value: Option<&Val>) -> String {
    expr::text(&value.cloned())
}

impl Processor<Val, Val, Val, Val> for Scripted {
    fn init(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        if !self.every.is_zero() {
            let clock = if self.what == "ttl" { Punctuation::StreamTime } else { self.clock };
            cx.schedule(self.every, clock)?;
        }
        Ok(())
    }

    fn process(&mut self, cx: &mut Cx<'_>, record: Record<'_, Val, Val>) -> Result<()> {
        let key = record.key.map(|k| Val::Text(k.text()));
        match (&*self.what, &key) {
            ("dedup", Some(key)) => {
                let Some(value) = record.value else { return Ok(()) };
                let mut store = cx.store::<Val, Val>(&self.store)?;
                if store.get(key)?.is_none() {
                    store.put(key, &Val::Text(value.text()))?;
                    cx.forward(record)?;
                }
                Ok(())
            }
            ("punctuate_count", Some(key)) => {
                let mut store = cx.store::<Val, Val>(&self.store)?;
                let count = match store.get(key)? {
                    Some(Val::Long(n)) => n,
                    _ => 0,
                };
                store.put(key, &Val::Long(count + 1))
            }
            ("ttl", Some(key)) => {
                let value = Val::Text(format!("{}@{}", record.timestamp, text(record.value)));
                cx.store::<Val, Val>(&self.store)?.put(key, &value)?;
                cx.forward(record)
            }
            ("dedup" | "punctuate_count" | "ttl", None) => Ok(()),
            ("header_add", _) => {
                let mut headers: Headers = record.headers.clone();
                headers.add(self.header.0.clone(), Some(self.header.1.clone().into()));
                cx.forward(Record { headers: &headers, ..record })
            }
            ("shift_ts", _) => cx.forward(record.with_timestamp(record.timestamp + self.shift_ms)),
            ("meta", _) => {
                // Kafka Streams tells punctuators of a record that there isn't.
                let place = cx.record_metadata().map_or_else(
                    || "null/-1/-1".to_owned(),
                    |at| {
                        let offset = self.offsets.get(&(at.topic.to_string(), at.offset)).unwrap_or(&at.offset);
                        format!("{}/{}/{offset}", at.topic, at.partition)
                    },
                );
                let place = format!("{place}/{}", cx.stream_time());
                let value = Val::Text(format!("{}@{place}", text(record.value)));
                cx.forward(record.with_value(Some(&value)))
            }
            ("fan_out", _) => {
                let value = record.value.map(|v| Val::Text(v.text()));
                cx.forward(record.with_value(value.as_ref()))?;
                cx.forward(record.with_value(Some(&Val::Text("copy".into()))))
            }
            (other, _) => panic!("unknown processor {other}"),
        }
    }

    fn punctuate(&mut self, cx: &mut Cx<'_>, _: ScheduleId, now: Timestamp) -> Result<()> {
        let rows = cx.store::<Val, Val>(&self.store)?.all()?;
        for (key, value) in &rows {
            if self.what == "ttl" {
                let written: i64 = value.text().split('@').next().and_then(|t| t.parse().ok()).expect("TS@value");
                if written <= now - self.ttl_ms {
                    cx.store::<Val, Val>(&self.store)?.delete(key)?;
                    cx.forward(Record::new(Some(key), None, now))?;
                }
            } else {
                cx.forward(Record::new(Some(key), Some(value), now))?;
            }
        }
        if self.clear {
            for (key, _) in &rows {
                cx.store::<Val, Val>(&self.store)?.delete(key)?;
            }
        }
        Ok(())
    }
}
