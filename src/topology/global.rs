//! Global tables: a full copy of a topic in every process (D-3, D-37), and joins of streams with them (D-97).

use super::{
    Consumed, KStream, Materialized, StreamsBuilder,
    assemble::{Assembly, Built},
    plan::{GlobalPlan, Logical, ProcessorPlan, SharedPlan},
    serdes::Needed,
};
use crate::{
    codec::Face,
    fault::{Fault, Remedy, Result},
    operator::{
        ErrorContext, ErrorHandler, ErrorHandlers, OnError, Stage, global_join::GlobalJoin, processing::StoreTypes,
    },
    record::{Offset, RawRecord, SourceContext, TaskId, Timestamp},
    state::{GlobalStore, Row, Written},
};
use bytes::Bytes;
use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc};

/// Writes what a record says into a global store. False leaves the record out.
pub(crate) type ReadGlobal = Arc<dyn Fn(&RawRecord, &mut Written<'_>) -> Result<bool> + Send + Sync>;

/// A topic that is read whole by every process, as a table. Only streams can be joined with it.
pub struct GlobalKTable<K, V> {
    plan: SharedPlan,
    store: Arc<str>,
    key: Needed<K>,
    value: Needed<V>,
}

impl<K, V> Clone for GlobalKTable<K, V> {
    fn clone(&self) -> Self {
        Self { plan: self.plan.clone(), store: self.store.clone(), key: self.key.clone(), value: self.value.clone() }
    }
}

impl<K: 'static, V: 'static> GlobalKTable<K, V> {
    /// Name of the store that holds the rows.
    pub fn store_name(&self) -> &str {
        &self.store
    }
}

impl StreamsBuilder {
    /// A topic read as a global table: each process keeps the rows of all partitions, in memory, and has read what the
    /// topic holds before its tasks start (R-75). A null value deletes a row; a record without a key is dropped and
    /// counted. Updates are seen as they come, whatever their event time.
    ///
    /// ```
    /// use millstream::{codec::serdes, testing::TestDriver, topology::StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// let airports = builder.global_table::<String, String>("airports");
    /// builder
    ///     .stream::<String, String>("flights")
    ///     .join_global(&airports, |_, airport| Some(airport.clone()), |_, code, name| Some(format!("{code}: {name}")))
    ///     .to("named");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// let text = serdes::string();
    /// for (topic, key, value) in [("airports", "JFK", "Kennedy"), ("flights", "1", "JFK"), ("flights", "2", "LHR")] {
    ///     driver.pipe(topic, &text, &text, Some(&key.to_owned()), Some(&value.to_owned()), 0).unwrap();
    /// }
    /// let named = driver.read("named", &text, &text).unwrap();
    /// assert_eq!(named.len(), 1);
    /// assert_eq!(named[0].value.as_deref(), Some("JFK: Kennedy"));
    /// ```
    pub fn global_table<K: 'static, V: 'static>(&self, topic: &str) -> GlobalKTable<K, V> {
        self.global_table_with(topic, Consumed::default(), Materialized::default())
    }

    /// As [`StreamsBuilder::global_table`], with serdes and names. Of `materialized` only the name and the serdes count:
    /// there is no changelog, no cache and no disk. Rows have the times of their records: as in Kafka Streams, a timestamp
    /// extractor is not asked.
    ///
    /// ```
    /// # use millstream::topology::{Consumed, Materialized, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// let stored = Materialized::as_store("airports");
    /// let airports = builder.global_table_with::<String, String>("airports", Consumed::default(), stored);
    /// assert_eq!(airports.store_name(), "airports");
    /// ```
    pub fn global_table_with<K: 'static, V: 'static>(
        &self,
        topic: &str,
        consumed: Consumed<K, V>,
        materialized: Materialized<K, V>,
    ) -> GlobalKTable<K, V> {
        let shared = self.plan();
        let plan = &mut *shared.borrow_mut();
        plan.check_name(topic);
        let store: Arc<str> = match &materialized.name {
            Some(name) => {
                plan.check_name(name);
                plan.give(name);
                name.as_str().into()
            }
            None => plan.generate_store(&format!("{topic}-")),
        };
        let given = consumed.name.as_deref();
        let source = plan.name_suffixed(given, "-source", "KSTREAM-SOURCE-");
        let name = plan.name(given, "KTABLE-SOURCE-");
        let key = plan.need(consumed.key.as_ref().or(materialized.key.as_ref()), "key", &name);
        let value = plan.need(consumed.value.as_ref().or(materialized.value.as_ref()), "value", &name);
        let reader = GlobalReader {
            source: source.clone(),
            key: key.clone(),
            value: value.clone(),
            on_decode_error: consumed.on_decode_error,
        };
        let read: ReadGlobal = Arc::new(move |raw, written| {
            let Some((.., timestamp)) = reader.record(raw)? else { return Ok(false) };
            let Some(id) = &raw.key else { return Ok(false) };
            let row = raw.value.as_ref().map(|value| Row { value: (&value[..]).into(), timestamp });
            written.rows.insert(Bytes::copy_from_slice(id), row);
            Ok(true)
        });
        let serdes = key.known().zip(value.known());
        let face = serdes.clone().map(|(key, value)| Face::new(key, value));
        let types = serdes.map(|(key, value)| Arc::new(StoreTypes { key, value }) as _);
        let (topic, processor) = (topic.into(), name.clone());
        let global = GlobalPlan { source, processor, topic, store: store.clone(), types, face, read };
        plan.add(&[], name, Logical::Global(global));
        GlobalKTable { plan: shared.clone(), store, key, value }
    }
}

/// Key, value and time of a record.
type Parts<K, V> = (Option<K>, Option<V>, Timestamp);

/// Reads the records of a global store's topic as a source does.
pub(super) struct GlobalReader<K, V> {
    pub source: Arc<str>,
    pub key: Needed<K>,
    pub value: Needed<V>,
    pub on_decode_error: Option<OnError>,
}

impl<K: 'static, V: 'static> GlobalReader<K, V> {
    /// Key, value and time of a record; `None` leaves it out. A fault that is to be skipped is for the handlers to decide.
    pub fn record(&self, raw: &RawRecord) -> Result<Option<Parts<K, V>>> {
        let place = || format!("source {}, offset {}", self.source, raw.offset);
        let read = || -> Result<(Option<K>, Option<V>)> {
            let key = raw.key.as_ref().map(|bytes| self.key.get()?.decode(bytes)).transpose()?;
            Ok((key, raw.value.as_ref().map(|bytes| self.value.get()?.decode(bytes)).transpose()?))
        };
        let (key, value) = match read() {
            Ok(read) => read,
            Err(fault) => {
                let fault = Fault::skip(format!("a record can't be read: {}", fault.what()))
                    .at(place())
                    .hint("mend the serde, or leave such records out (deserialization.exception.handler=continue)");
                return match self.on_decode_error {
                    None => Err(fault),
                    Some(response) => left_out(fault, response).map(|()| None),
                };
            }
        };
        if raw.timestamp < 0 {
            return Err(Fault::stop("the record has no valid timestamp").at(place()));
        }
        Ok(Some((key, value, raw.timestamp)))
    }
}

/// Carries out what is said of a record that can't be read.
fn left_out(fault: Fault, response: OnError) -> Result<()> {
    match response {
        OnError::Continue => {
            tracing::warn!(%fault, "a record of a global table is left out");
            Ok(())
        }
        OnError::Fail => Err(fault.with_remedy(Remedy::Stop)),
        OnError::Retry => Err(fault.with_remedy(Remedy::Retry)),
    }
}

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Joins each record with the row of a global table whose key `select` names; a record without such a row is left out.
    /// The joiner sees the record's key, not the row's. Nothing is repartitioned, and the counts of partitions may differ
    /// (D-97). A record without a value, or that names no key, is dropped and counted; one without a key of its own is
    /// not (D-72).
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// let rates = builder.global_table::<String, f64>("rates");
    /// let euros = builder.stream::<String, f64>("euros");
    /// euros.join_global(&rates, |currency, _| currency.cloned(), |_, sum, rate| Some(sum * rate)).to("dollars");
    /// # builder.build().unwrap();
    /// ```
    pub fn join_global<GK, GV, VR, S, F>(&self, table: &GlobalKTable<GK, GV>, select: S, joiner: F) -> KStream<K, VR>
    where
        GK: 'static,
        GV: 'static,
        VR: 'static,
        S: Fn(Option<&K>, &V) -> Option<GK> + Send + Sync + 'static,
        F: Fn(Option<&K>, &V, &GV) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_globally(table, select, move |key, value, row| joiner(key, value, row?), false)
    }

    /// As [`KStream::join_global`], and a record without such a row, or that names no key, is joined with `None`.
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// let rates = builder.global_table::<String, f64>("rates");
    /// let euros = builder.stream::<String, f64>("euros");
    /// euros.left_join_global(&rates, |currency, _| currency.cloned(), |_, sum, rate| Some(sum * rate?)).to("dollars");
    /// # builder.build().unwrap();
    /// ```
    pub fn left_join_global<GK, GV, VR, S, F>(
        &self,
        table: &GlobalKTable<GK, GV>,
        select: S,
        joiner: F,
    ) -> KStream<K, VR>
    where
        GK: 'static,
        GV: 'static,
        VR: 'static,
        S: Fn(Option<&K>, &V) -> Option<GK> + Send + Sync + 'static,
        F: Fn(Option<&K>, &V, Option<&GV>) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_globally(table, select, joiner, true)
    }

    fn join_globally<GK, GV, VR, S, F>(
        &self,
        table: &GlobalKTable<GK, GV>,
        select: S,
        joiner: F,
        left: bool,
    ) -> KStream<K, VR>
    where
        GK: 'static,
        GV: 'static,
        VR: 'static,
        S: Fn(Option<&K>, &V) -> Option<GK> + Send + Sync + 'static,
        F: Fn(Option<&K>, &V, Option<&GV>) -> Option<VR> + Send + Sync + 'static,
    {
        let plan = &mut *self.plan.borrow_mut();
        // Kafka Streams names inner joins so too.
        let name = plan.name(self.next_name.as_deref(), "KSTREAM-LEFTJOIN-");
        let (store, key, value) = (table.store.clone(), table.key.clone(), table.value.clone());
        let (select, joiner) = (Arc::new(select), Arc::new(joiner));
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: Vec::new(),
            connected: Vec::new(),
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                Ok(Built::node::<K, V, _>(GlobalJoin {
                    table: asm.resolved.global_store(&store)?,
                    key: key.get()?,
                    value: value.get()?,
                    select: select.clone(),
                    joiner: joiner.clone(),
                    left,
                    children: asm.children::<K, VR>()?,
                    takes: PhantomData,
                }))
            }),
        };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        KStream::new(self.plan.clone(), node, name, self.key.clone(), None, self.sources.clone(), self.repartition)
    }
}

/// A global table of a running process: what the driver needs to keep it filled.
#[derive(Clone)]
pub struct GlobalTable {
    /// Its topic.
    pub topic: Arc<str>,
    /// Partitions of the topic; every process reads all of them.
    pub partitions: i32,
    /// Its rows, which all tasks of the process share.
    pub store: Arc<GlobalStore>,
    read: ReadGlobal,
    source: Arc<str>,
    sub_topology: u32,
    handler: Option<Arc<ErrorHandler>>,
}

impl fmt::Debug for GlobalTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GlobalTable({} on {})", self.store.name(), self.topic)
    }
}

impl PartialEq for GlobalTable {
    fn eq(&self, other: &Self) -> bool {
        (&self.topic, self.partitions, self.store.name()) == (&other.topic, other.partitions, other.store.name())
    }
}

impl Eq for GlobalTable {}

impl GlobalTable {
    pub(super) fn new(plan: &GlobalPlan, partitions: i32, sub_topology: u32, handlers: &ErrorHandlers) -> Self {
        Self {
            topic: plan.topic.clone(),
            partitions,
            store: Arc::new(GlobalStore::new(plan.store.clone())),
            read: plan.read.clone(),
            source: plan.source.clone(),
            sub_topology,
            handler: handlers.at(Stage::Deserialization).cloned(),
        }
    }

    /// The same table without rows, not restored.
    pub(super) fn emptied(&self) -> Self {
        Self { store: Arc::new(GlobalStore::new(self.store.name().clone())), ..self.clone() }
    }

    /// Applies records of a partition, in order. `next` is the offset after them; records below the position that was
    /// reached before are passed over. `otherwise` says what to do about a record that can't be read where neither the
    /// table nor a handler of the topology does. No such record goes to the dead-letter topic: there is no transaction that
    /// could hold it.
    ///
    /// # Errors
    /// When a record can't be read and nobody leaves such records out, or has no valid time.
    pub fn apply(&self, partition: i32, records: &[RawRecord], next: Offset, otherwise: OnError) -> Result<()> {
        let position = self.store.position(partition).unwrap_or(0);
        let mut written = Written { store: &self.store, rows: BTreeMap::new() };
        let mut dropped = 0;
        for raw in records.iter().filter(|raw| raw.offset >= position) {
            let taken = match (self.read)(raw, &mut written) {
                Err(fault) if fault.remedy == Remedy::Skip => {
                    let response = self.response(partition, raw, &fault).unwrap_or(otherwise);
                    left_out(fault, response).map(|()| false)
                }
                read => read,
            };
            dropped += u64::from(!taken.map_err(|fault| place(fault, &self.topic, partition))?);
        }
        let rows = written.rows.into_iter().collect();
        self.store.apply(partition, rows, next, dropped);
        Ok(())
    }

    /// What the topology's handler says of a record that can't be read.
    fn response(&self, partition: i32, raw: &RawRecord, fault: &Fault) -> Option<OnError> {
        let source = SourceContext { topic: self.topic.clone(), partition, offset: raw.offset };
        let context = ErrorContext {
            node: &self.source,
            task: TaskId { sub_topology: self.sub_topology, partition },
            source: Some(&source),
            timestamp: raw.timestamp,
            headers: &raw.headers,
        };
        self.handler.as_ref().map(|handler| handler(&context, fault))
    }
}

fn place(fault: Fault, topic: &str, partition: i32) -> Fault {
    let at = format!("{topic}-{partition}, {}", fault.place());
    fault.at(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    fn record(offset: Offset, value: &'static [u8]) -> RawRecord {
        RawRecord { offset, timestamp: 5, key: Some("k".into()), value: Some(value.into()), headers: Headers::new() }
    }

    fn applied(handler: Option<OnError>, otherwise: OnError) -> (Result<()>, GlobalTable) {
        let builder = StreamsBuilder::new();
        builder.global_table::<String, String>("rows");
        if let Some(response) = handler {
            builder.on_deserialization_error(move |context, fault| {
                let place = (context.source.map(|source| source.offset), context.task.to_string());
                assert_eq!(place, (Some(1), "0_3".to_owned()), "{fault}");
                response
            });
        }
        let counts = [(Arc::from("rows"), 4)].into();
        let table = builder.build().unwrap().resolve("app", &counts).unwrap().globals.remove(0);
        table.store.set_restored();
        let result = table.apply(3, &[record(0, b"a"), record(1, b"\xff")], 2, otherwise);
        (result, table)
    }

    #[test]
    fn r100_rows_that_cannot_be_read_are_for_the_handlers() {
        for (handler, otherwise) in [(None, OnError::Continue), (Some(OnError::Continue), OnError::Fail)] {
            let (result, table) = applied(handler, otherwise);
            assert_eq!(result, Ok(()));
            assert_eq!((table.store.count(), table.store.dropped(), table.store.position(3)), (1, 1, Some(2)));
        }
        for (handler, otherwise) in [(None, OnError::Fail), (Some(OnError::Fail), OnError::Continue)] {
            let (result, table) = applied(handler, otherwise);
            let fault = result.unwrap_err();
            assert_eq!(fault.remedy, Remedy::Stop);
            assert!(fault.to_string().contains("rows-3, source KSTREAM-SOURCE-0000000001, offset 1"), "{fault}");
            assert_eq!(table.store.position(3), None);
        }
    }
}
