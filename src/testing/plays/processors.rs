//! Processors with a store of each kind, and schedules by stream time.

use super::{Play, keyed, listed, ms};
use crate::{
    codec::serdes,
    fault::Result,
    operator::{
        FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, Processor, ProcessorContext, Punctuation, ScheduleId,
    },
    record::{Record, Timestamp, Windowed},
    topology::{StoreBuilder, StreamsBuilder},
};

pub(super) const PROCESSORS: Play = Play {
    name: "processors",
    inputs: &["in"],
    before: 0,
    build: processors,
    optimizations: &[],
    record: keyed,
    restamped: &[],
    mixed: &[],
    linger_ms: 0,
};

const WINDOW_MS: i64 = 100;
const GAP_MS: i64 = 30;

fn processors(builder: &StreamsBuilder) {
    let text = serdes::string;
    builder.add_state_store(StoreBuilder::key_value("lists", text(), text()));
    builder.add_state_store(StoreBuilder::key_value("counts", text(), serdes::i64()).in_memory());
    builder.add_state_store(StoreBuilder::window("windows", ms(300), ms(WINDOW_MS.unsigned_abs()), text(), text()));
    builder.add_state_store(StoreBuilder::session("sessions", ms(300), text(), text()));
    builder.add_state_store(StoreBuilder::versioned("versions", ms(300), text(), text()));
    builder.add_state_store(StoreBuilder::lru("recent", 3, text(), text()));
    let input = builder.stream::<String, String>("in");
    input.process(|| Recent, &["recent"]).to("recent-out");
    input.process(|| Keeper, &["lists", "windows", "sessions", "versions"]).to("kept-out");
    input.process_values(|| Counter, &["counts"]).to("counts-out");
}

/// Keeps each record in four stores, tells what was there, and empties one of them by stream time.
struct Keeper;

type Cx<'a> = ProcessorContext<'a, String, String>;

impl Processor<String, String, String, String> for Keeper {
    fn init(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        cx.schedule(ms(70), Punctuation::StreamTime).map(drop)
    }

    fn process(&mut self, cx: &mut Cx<'_>, record: Record<'_, String, String>) -> Result<()> {
        let (Some(key), Some(value), at) = (record.key, record.value, record.timestamp) else { return Ok(()) };
        let mut lists = cx.store::<String, String>("lists")?;
        let list = listed(lists.get(key)?.unwrap_or_default(), Some(value));
        lists.put(key, &list)?;

        let start = at - at % WINDOW_MS;
        let mut windows = cx.window_store::<String, String>("windows")?;
        let window = listed(windows.fetch(key, start)?.map(|row| row.value).unwrap_or_default(), Some(value));
        windows.put(key, Some(&window), start, at)?;

        let mut sessions = cx.session_store::<String, String>("sessions")?;
        let (mut session, mut list_of_session) = (Windowed { key: key.clone(), start: at, end: at }, value.clone());
        for (found, older) in sessions.find_sessions(key, at - GAP_MS, at + GAP_MS)? {
            session.start = session.start.min(found.start);
            session.end = session.end.max(found.end);
            list_of_session = listed(older, Some(&list_of_session));
            sessions.remove(&found)?;
        }
        sessions.put(&session, Some(&list_of_session))?;

        let mut versions = cx.versioned_store::<String, String>("versions")?;
        versions.put(key, Some(value), at)?;
        let before = versions.get_as_of(key, at - WINDOW_MS)?.map(|version| version.value);
        let told = format!("{list}|{window}|{list_of_session}|{}", before.unwrap_or_default());
        cx.forward(Record::new(Some(key), Some(&told), at))
    }

    fn punctuate(&mut self, cx: &mut Cx<'_>, _: ScheduleId, timestamp: Timestamp) -> Result<()> {
        for (key, list) in cx.store::<String, String>("lists")?.all()? {
            cx.forward(Record::new(Some(&key), Some(&list), timestamp))?;
            cx.store::<String, String>("lists")?.delete(&key)?;
        }
        Ok(())
    }
}

/// Tells the keys that were written last. It reads none of them alone: a restore would not know that.
struct Recent;

impl Processor<String, String, String, String> for Recent {
    fn process(&mut self, cx: &mut Cx<'_>, record: Record<'_, String, String>) -> Result<()> {
        let (Some(key), Some(value)) = (record.key, record.value) else { return Ok(()) };
        let mut recent = cx.store::<String, String>("recent")?;
        recent.put(key, value)?;
        let told: Vec<_> = recent.all()?.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        cx.forward(record.with_value(Some(&told.join(" "))))
    }
}

/// Counts in memory.
struct Counter;

impl FixedKeyProcessor<String, String, i64> for Counter {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, i64>,
        record: FixedKeyRecord<'_, String, String>,
    ) -> Result<()> {
        let Some(key) = record.key() else { return Ok(()) };
        let mut counts = cx.store::<String, i64>("counts")?;
        let count = counts.get(key)?.unwrap_or(0) + 1;
        counts.put(key, &count)?;
        cx.forward(record.with_value(Some(&count)))
    }
}
