//! A context without a task, and a child that remembers, for the operators' own tests.

use super::{
    Children, Context, Dropped, Edge, ErrorContext, ErrorSettings, OnError, Process, Punctuation, ScheduleId, Stage,
    TimeSlot,
};
use crate::{
    codec::serdes,
    fault::{Fault, Result},
    operator::{
        rows::{KeyRows, WindowRows},
        table_store::{TableStore, Updates},
    },
    record::{Change, OutRecord, RawRecord, Record, SourceContext, StoreIx, TaskId, Timestamp, Windowed},
    sink::SinkRow,
    state::{MemoryBackend, Store, StoreKind, StoreSpec},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

/// A task of one store and a few times.
pub struct Kit {
    pub store: Store,
    pub times: [Timestamp; 4],
    pub source: Option<SourceContext>,
    pub stream_time: Timestamp,
    pub sent: Vec<OutRecord>,
    pub rows: Vec<(Arc<str>, SinkRow)>,
    pub dropped: Vec<Dropped>,
    pub schedules: Vec<(usize, i64, Punctuation)>,
    pub commits: usize,
    pub input: Option<RawRecord>,
    pub now: Timestamp,
    pub errors: ErrorSettings,
}

impl Kit {
    pub fn new(kind: StoreKind) -> Self {
        let spec = StoreSpec {
            name: "store".into(),
            kind,
            timestamped: true,
            logged: true,
            changelog_config: BTreeMap::new(),
            cached: false,
            persistent: true,
        };
        Self {
            store: Store::new(spec, Arc::new(MemoryBackend::new()), None, true),
            times: [-1; 4],
            source: None,
            stream_time: -1,
            sent: Vec::new(),
            rows: Vec::new(),
            dropped: Vec::new(),
            schedules: Vec::new(),
            commits: 0,
            input: None,
            now: 1_000,
            errors: ErrorSettings::default(),
        }
    }

    /// With a store of rows by key.
    pub fn key_value() -> Self {
        Self::new(StoreKind::KeyValue)
    }
}

impl Context for Kit {
    fn task(&self) -> TaskId {
        TaskId { sub_topology: 1, partition: 2 }
    }
    fn application_id(&self) -> &str {
        "app"
    }
    fn now(&self) -> Timestamp {
        self.now
    }
    fn stream_time(&self) -> Timestamp {
        self.stream_time
    }
    fn source(&self) -> Option<&SourceContext> {
        self.source.as_ref()
    }
    fn set_source(&mut self, source: Option<SourceContext>) -> Option<SourceContext> {
        std::mem::replace(&mut self.source, source)
    }
    fn input(&self) -> Option<&RawRecord> {
        self.input.as_ref()
    }

    fn set_input(&mut self, input: Option<Arc<RawRecord>>) -> Option<Arc<RawRecord>> {
        std::mem::replace(&mut self.input, input.map(Arc::unwrap_or_clone)).map(Arc::new)
    }
    fn error_settings(&self) -> &ErrorSettings {
        &self.errors
    }
    fn on_error(&self, stage: Stage, _: &ErrorContext<'_>, _: &Fault) -> OnError {
        self.errors.at(stage)
    }
    fn store(&mut self, _: StoreIx) -> &mut Store {
        &mut self.store
    }
    fn time(&self, slot: TimeSlot) -> Timestamp {
        self.times[slot.0]
    }
    fn set_time(&mut self, slot: TimeSlot, time: Timestamp) {
        self.times[slot.0] = time;
    }
    fn partitions(&self, topic: &str) -> Result<i32> {
        if topic == "unknown" { Err(Fault::stop("topic `unknown` is not known")) } else { Ok(4) }
    }
    fn default_partition(&mut self, key: Option<&[u8]>, partitions: i32) -> i32 {
        key.map_or(0, |key| i32::try_from(key.len()).expect("a short key") % partitions)
    }
    fn internal_topic(&self, name: &str) -> Arc<str> {
        format!("app-{name}").into()
    }
    fn send(&mut self, record: OutRecord) -> Result<()> {
        self.sent.push(record);
        Ok(())
    }
    fn collect(&mut self, sink: &Arc<str>, row: SinkRow) {
        self.rows.push((Arc::clone(sink), row));
    }
    fn dropped(&mut self, reason: Dropped) {
        self.dropped.push(reason);
    }
    fn schedule(&mut self, node: usize, interval_ms: i64, kind: Punctuation) -> ScheduleId {
        self.schedules.push((node, interval_ms, kind));
        ScheduleId(self.schedules.len() - 1)
    }
    fn schedule_from(&mut self, node: usize, _: Timestamp, interval_ms: i64, kind: Punctuation) -> ScheduleId {
        self.schedule(node, interval_ms, kind)
    }
    fn cancel(&mut self, _: usize, schedule: ScheduleId) {
        self.schedules.remove(schedule.0);
    }
    fn request_commit(&mut self) {
        self.commits += 1;
    }
}

/// Key, value and timestamp of a forwarded record.
pub type Seen<K, V> = (Option<K>, Option<V>, Timestamp);

/// A child that remembers what it was given.
pub struct Collect<K, V>(RefCell<Vec<Seen<K, V>>>);

impl<K: Clone, V: Clone> Process<K, V> for Collect<K, V> {
    fn process(&self, _: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        self.0.borrow_mut().push((record.key.cloned(), record.value.cloned(), record.timestamp));
        Ok(())
    }
}

impl<K, V> Collect<K, V> {
    /// What came since the last time.
    pub fn take(&self) -> Vec<Seen<K, V>> {
        self.0.take()
    }
}

/// A remembering child, and the children of a node that has only it.
pub fn collect<K: Clone + 'static, V: Clone + 'static>() -> (Rc<Collect<K, V>>, Children<K, V>) {
    let child = Rc::new(Collect(RefCell::new(Vec::new())));
    let edge: Edge<K, V> = child.clone();
    (child, Children::new(vec![edge]))
}

/// Numbers by text, in the kit's store.
pub fn updates(
    cached: bool,
    sends_old: bool,
    children: Children<String, Change<i64>>,
) -> Updates<String, i64, KeyRows<String>> {
    let table = TableStore { store: StoreIx(0), rows: KeyRows(serdes::string()), values: serdes::i64() };
    Updates { table, cached, sends_old, children }
}

/// Numbers by text and window, in the kit's store.
pub fn windowed_updates(
    size_ms: i64,
    children: Children<Windowed<String>, Change<i64>>,
) -> Updates<Windowed<String>, i64, WindowRows<String>> {
    let rows = WindowRows { key: serdes::string(), size_ms };
    let table = TableStore { store: StoreIx(0), rows, values: serdes::i64() };
    Updates { table, cached: false, sends_old: true, children }
}
