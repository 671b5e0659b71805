//! Where a topology begins.

use super::{
    Consumed, KStream, KTable, Materialized, Optimization, SourceRows, StoreBuilder, Topology,
    assemble::{Assembly, Built},
    pattern::Pattern,
    plan::{Logical, Plan, ProcessorPlan, SharedPlan, SourcePlan},
    stored::StoredTable,
    table::table_source_factory,
    table_link::{TableKind, TableLink},
};
use crate::{
    fault::{Fault, Result},
    operator::{ErrorContext, OnError, source::SourceNode},
    state::{Moments, Segmented, StoreKind},
};
use std::{any::TypeId, cell::RefCell, collections::BTreeSet, rc::Rc, sync::Arc};

/// One topic or several.
pub trait Topics {
    /// Their names.
    fn names(self) -> Vec<Arc<str>>;
}

impl Topics for &str {
    fn names(self) -> Vec<Arc<str>> {
        vec![self.into()]
    }
}

impl Topics for &String {
    fn names(self) -> Vec<Arc<str>> {
        vec![self.as_str().into()]
    }
}

impl Topics for String {
    fn names(self) -> Vec<Arc<str>> {
        vec![self.into()]
    }
}

impl<S: AsRef<str>, const N: usize> Topics for [S; N] {
    fn names(self) -> Vec<Arc<str>> {
        self.iter().map(|s| s.as_ref().into()).collect()
    }
}

impl<S: AsRef<str>> Topics for &[S] {
    fn names(self) -> Vec<Arc<str>> {
        self.iter().map(|s| s.as_ref().into()).collect()
    }
}

impl<S: AsRef<str>> Topics for Vec<S> {
    fn names(self) -> Vec<Arc<str>> {
        self.as_slice().names()
    }
}

/// Builds a topology: streams and tables are made here and keep a handle to it.
///
/// ```
/// use millstream::topology::StreamsBuilder;
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<String, String>("text")
///     .flat_map_values(|line| line.into_iter().flat_map(|l| l.split_whitespace()).map(str::to_owned).collect::<Vec<_>>())
///     .group_by(|_, word| word.cloned())
///     .count()
///     .to_stream()
///     .to("counts");
/// let topology = builder.build().unwrap();
/// assert!(topology.describe().starts_with("Topologies:\n   Sub-topology: 0\n"));
/// ```
#[derive(Clone, Default)]
pub struct StreamsBuilder {
    plan: SharedPlan,
}

impl StreamsBuilder {
    pub(super) fn plan(&self) -> SharedPlan {
        self.plan.clone()
    }

    /// An empty topology.
    pub fn new() -> Self {
        Self { plan: Rc::new(RefCell::new(Plan::default())) }
    }

    /// A stream of the records of one topic or several, with the default serdes of the types.
    pub fn stream<K: 'static, V: 'static>(&self, topics: impl Topics) -> KStream<K, V> {
        self.stream_with(topics, Consumed::default())
    }

    /// A stream of the records of one topic or several.
    pub fn stream_with<K: 'static, V: 'static>(&self, topics: impl Topics, consumed: Consumed<K, V>) -> KStream<K, V> {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.name(consumed.name.as_deref(), "KSTREAM-SOURCE-");
        let source = source_plan(plan, name.clone(), topics.names(), &consumed);
        self.source_stream(plan, source, consumed)
    }

    fn source_stream<K: 'static, V: 'static>(
        &self,
        plan: &mut Plan,
        source: SourcePlan,
        consumed: Consumed<K, V>,
    ) -> KStream<K, V> {
        let name = source.name.clone();
        let node = plan.add(&[], name.clone(), Logical::Source(source));
        KStream::new(self.plan.clone(), node, name.clone(), consumed.key, consumed.value, BTreeSet::from([name]), false)
    }

    /// A stream of the records of all topics whose whole names match a regular expression, with the default serdes of the
    /// types (D-1).
    ///
    /// The topics are those that are there when a worker starts, without the brokers' own and the application's internal
    /// ones; at least one must be. One that is made later is read after all workers of the application were started again:
    /// stop them all first, since workers that know different topics don't share partitions. The syntax is that of the
    /// `regex` crate: Java's but for look-around and back references.
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// let builder = StreamsBuilder::new();
    /// builder.stream_pattern::<String, String>("orders-.*").to("all-orders");
    /// assert!(builder.build().unwrap().describe().contains("(topics: orders-.*)"));
    /// ```
    pub fn stream_pattern<K: 'static, V: 'static>(&self, pattern: &str) -> KStream<K, V> {
        self.stream_pattern_with(pattern, Consumed::default())
    }

    /// As [`StreamsBuilder::stream_pattern`], with serdes and what else a source may be told.
    pub fn stream_pattern_with<K: 'static, V: 'static>(
        &self,
        pattern: &str,
        consumed: Consumed<K, V>,
    ) -> KStream<K, V> {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.name(consumed.name.as_deref(), "KSTREAM-SOURCE-");
        let pattern = Pattern::new(pattern).map_err(|fault| plan.error(fault.at(format!("node {name}")))).ok();
        let source = SourcePlan { pattern, ..source_of(plan, name, Vec::new(), &consumed) };
        self.source_stream(plan, source, consumed)
    }

    /// A topic read as a table (D-2): each record is the new row of its key, a null value deletes it.
    pub fn table<K: 'static, V: Clone + 'static>(&self, topic: &str) -> KTable<K, V> {
        self.table_with(topic, Consumed::default(), Materialized::default())
    }

    /// A topic read as a table. Its rows are kept when the store has a name or an operator needs them.
    pub fn table_with<K: 'static, V: Clone + 'static>(
        &self,
        topic: &str,
        consumed: Consumed<K, V>,
        materialized: Materialized<K, V>,
    ) -> KTable<K, V> {
        let plan = &mut *self.plan.borrow_mut();
        let stored = materialized.name.is_some();
        let consumed = Consumed {
            key: consumed.key.or_else(|| materialized.key.clone()),
            value: consumed.value.or_else(|| materialized.value.clone()),
            ..consumed
        };
        let prefix = format!("{topic}-");
        let store = StoredTable::key_value(plan, &materialized, &prefix);
        let given = consumed.name.as_deref();
        let source_name = plan.name_suffixed(given, "-source", "KSTREAM-SOURCE-");
        let name = plan.name(given, "KTABLE-SOURCE-");
        let source = source_plan(plan, source_name.clone(), vec![topic.into()], &consumed);
        let link = TableLink::new(TableKind::Source, stored);
        link.set_history(store.history_ms());
        let key = plan.need(consumed.key.as_ref(), "key", &name);
        let value = plan.need(consumed.value.as_ref(), "value", &name);
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: vec![store.typed_decl(&link, &key, &value)],
            connected: Vec::new(),
            factory: table_source_factory(store.clone(), link.clone(), key.clone(), value.clone()),
        };
        let rows = SourceRows::new(key.clone(), value.clone(), &consumed);
        let node = plan.add(&[], name.clone(), Logical::TableSource(source, processor, rows));
        KTable::new(
            self.plan.clone(),
            node,
            name,
            key.known(),
            value.known(),
            BTreeSet::from([source_name]),
            link.clone(),
            store.view_of_source(link, key, value),
        )
    }

    /// Adds a store for processors ([`KStream::process`]), which connect to it by name.
    pub fn add_state_store<K: 'static, V: 'static>(&self, store: StoreBuilder<K, V>) {
        let (spec, types, face) = store.into_parts();
        let plan = &mut *self.plan.borrow_mut();
        plan.check_name(&spec.name);
        plan.give(&spec.name);
        if plan.stores.iter().any(|s| s.0.name == spec.name) {
            plan.error(Fault::stop(format!("store `{}` is added twice", spec.name)).hint("give it another name"));
        }
        if spec.kind == (StoreKind::Lru { entries_max: 0 }) {
            plan.error(
                Fault::stop("a store of no rows keeps nothing")
                    .at(format!("store {}", spec.name))
                    .hint("let it hold at least one row"),
            );
        }
        if let StoreKind::Segmented(Segmented { moments: Moments::Window { size_ms }, retention_ms, .. }) = spec.kind
            && retention_ms < size_ms
        {
            plan.error(
                Fault::stop(format!("a retention of {retention_ms} ms is shorter than the window, {size_ms} ms"))
                    .at(format!("store {}", spec.name))
                    .hint("keep windows at least that long (P-31)"),
            );
        }
        plan.stores.push((spec, types, face));
    }

    /// Decides about records whose bytes no source can read (R-100), before the setting
    /// `deserialization.exception.handler` and after [`Consumed::on_decode_error`].
    pub fn on_deserialization_error<F>(&self, handler: F)
    where
        F: Fn(&ErrorContext<'_>, &Fault) -> OnError + Send + Sync + 'static,
    {
        self.plan.borrow_mut().handlers.deserialization = Some(Arc::new(handler));
    }

    /// Decides about records that a processor or a function of the topology fails on, or panics (R-102), before the setting
    /// `processing.exception.handler`. `Continue` leaves out only what the failing node would have done: its siblings get
    /// the record, and what it forwarded and stored before stays.
    ///
    /// ```
    /// use millstream::{codec::serdes, operator::OnError, testing::TestDriver, topology::StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("numbers")
    ///     .map_values(|text| text.map(|text| text.parse::<i64>().expect("a number")))
    ///     .to("parsed");
    /// builder.on_processing_error(|cx, fault| {
    ///     println!("{} failed: {fault}", cx.node);
    ///     OnError::Continue
    /// });
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// for number in ["1", "two", "3"] {
    ///     let (key, text) = (serdes::string(), serdes::string());
    ///     driver.pipe("numbers", &key, &text, None, Some(&number.to_owned()), 0).unwrap();
    /// }
    /// assert_eq!(driver.read("parsed", &serdes::string(), &serdes::i64()).unwrap().len(), 2);
    /// assert_eq!(driver.dropped(), 1);
    /// ```
    pub fn on_processing_error<F>(&self, handler: F)
    where
        F: Fn(&ErrorContext<'_>, &Fault) -> OnError + Send + Sync + 'static,
    {
        self.plan.borrow_mut().handlers.processing = Some(Arc::new(handler));
    }

    /// Decides about records that a sink can't write: a serde refuses them, or they are larger than `max.request.size`
    /// (R-101), before the setting `production.exception.handler`. What the broker refuses ends the transaction and is done
    /// again or stops the worker: no handler can leave a part of a transaction out.
    pub fn on_production_error<F>(&self, handler: F)
    where
        F: Fn(&ErrorContext<'_>, &Fault) -> OnError + Send + Sync + 'static,
    {
        self.plan.borrow_mut().handlers.production = Some(Arc::new(handler));
    }

    /// Checks and compiles what was built.
    ///
    /// # Errors
    /// When a name is used twice or illegal, a serde is missing, a store is unknown, or a topic is read twice in ways
    /// that don't fit; the first mistake is named.
    pub fn build(&self) -> Result<Topology> {
        self.build_optimized(&[])
    }

    /// As [`StreamsBuilder::build`], with optimisations (`topology.optimization`, R-91).
    ///
    /// ```
    /// # use millstream::{operator::JoinWindows, topology::{Optimization, StreamsBuilder}};
    /// # use std::time::Duration;
    /// let builder = StreamsBuilder::new();
    /// let steps = builder.stream::<String, i64>("steps");
    /// let near = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(1));
    /// steps.join_stream(&steps, |a, b| Some(a - b), near).to("distances");
    /// let stores = |text: String| text.matches("-store]").count();
    /// assert_eq!(stores(builder.build().unwrap().describe()), 4);
    /// assert_eq!(stores(builder.build_optimized(Optimization::ALL).unwrap().describe()), 2);
    /// ```
    ///
    /// # Errors
    /// As [`StreamsBuilder::build`].
    pub fn build_optimized(&self, optimizations: &[Optimization]) -> Result<Topology> {
        let plan = self.plan.borrow();
        match plan.errors.first() {
            Some(fault) => Err(fault.clone()),
            None => Topology::compile(&plan, optimizations),
        }
    }
}

/// A source of user topics.
pub(super) fn source_plan<K: 'static, V: 'static>(
    plan: &mut Plan,
    name: Arc<str>,
    topics: Vec<Arc<str>>,
    consumed: &Consumed<K, V>,
) -> SourcePlan {
    if topics.is_empty() {
        plan.error(Fault::stop("a stream has no topic").at(format!("node {name}")).hint("name at least one"));
    }
    for topic in &topics {
        plan.check_name(topic);
    }
    source_of(plan, name, topics, consumed)
}

fn source_of<K: 'static, V: 'static>(
    plan: &mut Plan,
    name: Arc<str>,
    topics: Vec<Arc<str>>,
    consumed: &Consumed<K, V>,
) -> SourcePlan {
    let key = plan.need(consumed.key.as_ref(), "key", &name);
    let value = plan.need(consumed.value.as_ref(), "value", &name);
    let (extractor, on_error) = (consumed.extractor.clone(), consumed.on_decode_error);
    SourcePlan {
        name,
        topics,
        pattern: None,
        internal: false,
        reset: consumed.reset,
        types: (TypeId::of::<K>(), TypeId::of::<V>()),
        factory: Arc::new(move |asm: &mut Assembly<'_>| {
            Ok(Built::source(SourceNode {
                name: asm.name.clone(),
                key: key.get()?,
                value: value.get()?,
                extractor: extractor.clone(),
                on_error,
                children: asm.children()?,
            }))
        }),
    }
}
