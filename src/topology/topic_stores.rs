//! Stores that a topic fills: one of a task, which is restored from there, and global ones with an update of their own.

use super::{
    Consumed, SourceRows, StoreBuilder, StreamsBuilder,
    assemble::{Assembly, Built},
    builder::source_plan,
    global::{GlobalReader, ReadGlobal},
    plan::{GlobalPlan, Logical, Plan, ProcessorPlan, StoreDecl},
    serdes::Needed,
};
use crate::{
    fault::{Fault, Remedy, Result},
    operator::{
        errors::caught,
        rows::KeyRows,
        table_source::TableSource,
        table_store::{TableStore, Updates},
    },
    record::Record,
    state::{GlobalUpdates, StoreKind, StoreSpec},
};
use std::sync::Arc;

fn refuse_kind(plan: &mut Plan, spec: &StoreSpec, what: &str) {
    plan.error(
        Fault::stop(format!("{what} can't be a store of windows or sessions, or forget rows"))
            .at(format!("store {}", spec.name))
            .hint("fill such a store from a stream: add_state_store and KStream::process"),
    );
}

impl StreamsBuilder {
    /// Adds a store that holds what a topic says: each record is the row of its key, a null value deletes it, and a record
    /// without a key is dropped and counted (P-2, KIP-813). Processors that name the store may read it, and no more; they
    /// then belong to one sub-topology with it, so their topics must have equally many partitions.
    ///
    /// The topic is the store's changelog at the same time: a restore reads it up to the committed offset, and nothing is
    /// written to it. It must keep what the store needs: see [`Optimization::ReuseKtableSourceTopics`](super::Optimization).
    /// `consumed` names the nodes and says how records are read; the serdes are the store's. Kafka Streams lets a processor
    /// of one's own fill the store, but not in a restore, which copies records: so there is none here.
    ///
    /// ```
    /// use millstream::{
    ///     codec::serdes,
    ///     fault::Result,
    ///     record::Record,
    ///     testing::TestDriver,
    ///     topology::{Consumed, Processor, ProcessorContext, StoreBuilder, StreamsBuilder},
    /// };
    ///
    /// struct Price;
    ///
    /// impl Processor<String, i64, String, i64> for Price {
    ///     fn process(&mut self, cx: &mut ProcessorContext<'_, String, i64>, order: Record<'_, String, i64>) -> Result<()> {
    ///         let (Some(item), Some(pieces)) = (order.key, order.value) else { return Ok(()) };
    ///         let price = cx.store::<String, i64>("prices")?.get(item)?.unwrap_or(0);
    ///         cx.forward(order.with_value(Some(&(price * pieces))))
    ///     }
    /// }
    ///
    /// let (text, number) = (serdes::string(), serdes::i64());
    /// let builder = StreamsBuilder::new();
    /// let prices = StoreBuilder::key_value("prices", text.clone(), number.clone());
    /// builder.add_read_only_state_store(prices, "prices", Consumed::default());
    /// builder.stream::<String, i64>("orders").process(|| Price, &["prices"]).to("sums");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// for (topic, number_of) in [("prices", 7), ("orders", 3)] {
    ///     driver.pipe(topic, &text, &number, Some(&"nut".into()), Some(&number_of), 0).unwrap();
    /// }
    /// assert_eq!(driver.read("sums", &text, &number).unwrap()[0].value, Some(21));
    /// ```
    pub fn add_read_only_state_store<K: 'static, V: Clone + 'static>(
        &self,
        store: StoreBuilder<K, V>,
        topic: &str,
        consumed: Consumed<K, V>,
    ) {
        let (keys, values) = store.serdes();
        let (spec, types, face) = store.into_parts();
        let shared = self.plan();
        let plan = &mut *shared.borrow_mut();
        plan.check_name(&spec.name);
        plan.give(&spec.name);
        if !matches!(spec.kind, StoreKind::KeyValue | StoreKind::Versioned { .. }) {
            refuse_kind(plan, &spec, "what a topic holds by key");
        }
        let consumed = Consumed { key: Some(keys.clone()), value: Some(values.clone()), ..consumed };
        let given = consumed.name.as_deref();
        let source_name = plan.name_suffixed(given, "-source", "KSTREAM-SOURCE-");
        let name = plan.name(given, "KTABLE-SOURCE-");
        let source = source_plan(plan, source_name, vec![topic.into()], &consumed);
        let rows = SourceRows::new(Needed::maybe(Some(&keys)), Needed::maybe(Some(&values)), &consumed);
        let store = spec.name.clone();
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: vec![StoreDecl { spec, types: Some(types), face: Some(face), table: None }],
            connected: Vec::new(),
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                let table =
                    TableStore { store: asm.store(&store)?, rows: KeyRows(keys.clone()), values: values.clone() };
                let updates = Updates { table, cached: false, sends_old: false, children: asm.children()? };
                Ok(Built::node::<K, V, _>(TableSource::Stored(updates)))
            }),
        };
        plan.add(&[], name, Logical::TopicStore(source, processor, rows));
    }

    /// Adds a global store: a copy in every process, in memory, that `update` makes of all records of a topic, from its
    /// first one on and before any task starts (D-4, P-2). Every processor may read it by
    /// [`ProcessingContext::global_store`](crate::operator::ProcessingContext::global_store), and is connected to none.
    ///
    /// `update` gets each record with all that the store holds, in the order of the topic's partitions; records of several
    /// partitions come in any order. Each start does it again, so what it makes may depend on the store and the record, and
    /// on nothing else. A [`Fault::skip`] counts the record as left out, what it wrote before stays;
    /// any other fault ends the process. There is no
    /// changelog, no cache and no disk, and reads are not exactly once, as in Kafka Streams. `consumed` says how records are
    /// read; a timestamp extractor is not asked.
    ///
    /// ```
    /// use millstream::{
    ///     codec::serdes,
    ///     fault::Result,
    ///     record::Record,
    ///     testing::TestDriver,
    ///     topology::{Consumed, Processor, ProcessorContext, StoreBuilder, StreamsBuilder},
    /// };
    ///
    /// struct Named;
    ///
    /// impl Processor<String, String, String, String> for Named {
    ///     fn process(
    ///         &mut self,
    ///         cx: &mut ProcessorContext<'_, String, String>,
    ///         record: Record<'_, String, String>,
    ///     ) -> Result<()> {
    ///         let names = cx.global_store::<String, String>("names")?;
    ///         let name = record.value.map(|code| names.get(code)).transpose()?.flatten();
    ///         cx.forward(record.with_value(name.as_ref()))
    ///     }
    /// }
    ///
    /// let text = serdes::string();
    /// let builder = StreamsBuilder::new();
    /// // The topic has names by number; the store has them by code, the first three letters.
    /// let names = StoreBuilder::key_value("names", text.clone(), text.clone());
    /// builder.add_global_store(names, "airports", Consumed::<i64, String>::default(), |store, record| {
    ///     record.value.map_or(Ok(()), |name| store.put(&name[..3].to_uppercase(), name))
    /// });
    /// builder.stream::<String, String>("flights").process(|| Named, &[]).to("named");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// driver.pipe("airports", &serdes::i64(), &text, Some(&1), Some(&"Oslo".into()), 0).unwrap();
    /// driver.pipe("flights", &text, &text, None, Some(&"OSL".into()), 0).unwrap();
    /// assert_eq!(driver.read("named", &text, &text).unwrap()[0].value.as_deref(), Some("Oslo"));
    /// ```
    pub fn add_global_store<K, V, KIn, VIn, F>(
        &self,
        store: StoreBuilder<K, V>,
        topic: &str,
        consumed: Consumed<KIn, VIn>,
        update: F,
    ) where
        K: 'static,
        V: 'static,
        KIn: 'static,
        VIn: 'static,
        F: Fn(&mut GlobalUpdates<'_, '_, K, V>, Record<'_, KIn, VIn>) -> Result<()> + Send + Sync + 'static,
    {
        let (keys, values) = store.serdes();
        let (spec, types, face) = store.into_parts();
        let shared = self.plan();
        let plan = &mut *shared.borrow_mut();
        plan.check_name(topic);
        plan.check_name(&spec.name);
        plan.give(&spec.name);
        if spec.kind != StoreKind::KeyValue {
            refuse_kind(plan, &spec, "a global store");
        }
        let given = consumed.name.as_deref();
        let source = plan.name_suffixed(given, "-source", "KSTREAM-SOURCE-");
        let name = plan.name(given, "KTABLE-SOURCE-");
        let reader = GlobalReader {
            source: source.clone(),
            key: plan.need(consumed.key.as_ref(), "key", &name),
            value: plan.need(consumed.value.as_ref(), "value", &name),
            on_decode_error: consumed.on_decode_error,
        };
        let at = name.clone();
        let read: ReadGlobal = Arc::new(move |raw, written| {
            let Some((key, value, timestamp)) = reader.record(raw)? else { return Ok(false) };
            let record = Record { key: key.as_ref(), value: value.as_ref(), timestamp, headers: &raw.headers };
            let mut updates = GlobalUpdates::new(written, &keys, &values, timestamp);
            match caught(|| update(&mut updates, record)) {
                Ok(()) => Ok(true),
                Err(fault) if fault.remedy == Remedy::Skip => Ok(false),
                Err(fault) => Err(fault.with_remedy(Remedy::Stop).at(format!("processor {at}, offset {}", raw.offset))),
            }
        });
        let (topic, processor) = (topic.into(), name.clone());
        let (store, types, face) = (spec.name, Some(types), Some(face));
        plan.add(&[], name, Logical::Global(GlobalPlan { source, processor, topic, store, types, face, read }));
    }
}
