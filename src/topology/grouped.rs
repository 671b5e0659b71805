//! `KGroupedStream`: records grouped by key, waiting to be aggregated.

use super::{
    CogroupedKStream, KTable, Materialized, Windows,
    assemble::{Assembly, Built, Factory},
    plan::{Logical, NodeIx, ProcessorPlan, SharedPlan},
    repartition::{Repartitioning, repartition_plan},
    stored::{StoredTable, TableView},
    table_link::{TableKind, TableLink},
    windowing::{WindowedTable, Windowing},
};
use crate::{
    codec::Serde,
    operator::{
        EmitStrategy,
        aggregate::{Aggregate, Aggregator, Reducer, Step},
        rows::KeyRows,
        table_store::Updates,
    },
    record::Windowed,
};
use std::{cell::Cell, collections::BTreeSet, rc::Rc, sync::Arc};

/// The aggregator of a count.
pub(super) fn counting<K: 'static, V: 'static>() -> impl Step<K, V, i64> {
    Aggregator { initializer: || 0, aggregator: |_: &K, _: Option<&V>, count: i64| Some(count.wrapping_add(1)) }
}

/// Records grouped by key.
pub struct KGroupedStream<K, V> {
    pub(super) plan: SharedPlan,
    pub(super) node: NodeIx,
    name: Arc<str>,
    pub(super) key: Option<Serde<K>>,
    pub(super) value: Option<Serde<V>>,
    pub(super) sources: BTreeSet<Arc<str>>,
    pub(super) repartition: bool,
    pub(super) topic_name: Option<String>,
    pub(super) repartitioned: Rc<Cell<Option<NodeIx>>>,
    pub(super) next_name: Option<String>,
}

impl<K, V> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        Self {
            plan: self.plan.clone(),
            node: self.node,
            name: self.name.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
            sources: self.sources.clone(),
            repartition: self.repartition,
            topic_name: self.topic_name.clone(),
            repartitioned: self.repartitioned.clone(),
            next_name: self.next_name.clone(),
        }
    }
}

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    #[allow(clippy::too_many_arguments, reason = "the fields, in one place")]
    pub(super) fn new(
        plan: SharedPlan,
        node: NodeIx,
        name: Arc<str>,
        key: Option<Serde<K>>,
        value: Option<Serde<V>>,
        sources: BTreeSet<Arc<str>>,
        repartition: bool,
        topic_name: Option<String>,
    ) -> Self {
        let repartitioned = Rc::new(Cell::new(None));
        Self { plan, node, name, key, value, sources, repartition, topic_name, repartitioned, next_name: None }
    }

    /// Names the node of the aggregate that is called on the result.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { next_name: Some(name.into()), ..self.clone() }
    }

    /// Groups the records by window too.
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// use millstream::operator::{SessionWindows, SlidingWindows, UnlimitedWindows};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// let minute = Duration::from_secs(60);
    /// clicks.windowed_by(SlidingWindows::of_time_difference_with_no_grace(minute)).count();
    /// clicks.windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(minute)).count();
    /// clicks.windowed_by(UnlimitedWindows::of()).count();
    /// # builder.build().unwrap();
    /// ```
    pub fn windowed_by<W: Windows>(&self, windows: W) -> W::Stream<K, V> {
        windows.of_stream(self.clone())
    }

    /// Starts a group of streams that are aggregated together (D-33); `aggregator` takes this one's records. `None` from
    /// it deletes the aggregate.
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// let paid = builder.stream::<String, i64>("paid").group_by_key();
    /// let refunded = builder.stream::<String, i64>("refunded").group_by_key();
    /// let balance = paid
    ///     .cogroup(|_, paid, sum: i64| Some(sum + paid.unwrap_or(&0)))
    ///     .cogroup(&refunded, |_, back, sum| Some(sum - back.unwrap_or(&0)))
    ///     .aggregate(|| 0);
    /// balance.to_stream().to("balance");
    /// # builder.build().unwrap();
    /// ```
    pub fn cogroup<VA: Clone + 'static, F>(&self, aggregator: F) -> CogroupedKStream<K, VA>
    where
        K: Clone,
        F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
    {
        CogroupedKStream::new(self.plan.clone()).cogroup(self, aggregator)
    }

    /// Counts the records of each key.
    pub fn count(&self) -> KTable<K, i64> {
        self.aggregate_step(counting(), "KSTREAM-AGGREGATE-", Materialized::default())
    }

    /// Counts the records of each key, into the store that `materialized` describes.
    pub fn count_with(&self, materialized: Materialized<K, i64>) -> KTable<K, i64> {
        if materialized.name.is_none() {
            // Kafka Streams burns a number here.
            self.plan.borrow_mut().generate_store("KSTREAM-AGGREGATE-");
        }
        self.aggregate_step(counting(), "KSTREAM-AGGREGATE-", materialized)
    }

    /// Combines the values of each key; the first one is taken as it is.
    pub fn reduce<F>(&self, reducer: F) -> KTable<K, V>
    where
        V: Clone,
        F: Fn(V, Option<&V>) -> Option<V> + Send + Sync + 'static,
    {
        self.reduce_with(reducer, Materialized::default())
    }

    /// Combines the values of each key, into the store that `materialized` describes.
    pub fn reduce_with<F>(&self, reducer: F, materialized: Materialized<K, V>) -> KTable<K, V>
    where
        V: Clone,
        F: Fn(V, Option<&V>) -> Option<V> + Send + Sync + 'static,
    {
        let value = materialized.value.or_else(|| self.value.clone());
        self.aggregate_step(Reducer { reducer }, "KSTREAM-REDUCE-", Materialized { value, ..materialized })
    }

    /// Folds the values of each key into an aggregate; `None` from the aggregator deletes it.
    pub fn aggregate<VA, I, F>(&self, initializer: I, aggregator: F) -> KTable<K, VA>
    where
        VA: Clone + 'static,
        I: Fn() -> VA + Send + Sync + 'static,
        F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
    {
        self.aggregate_with(initializer, aggregator, Materialized::default())
    }

    /// Folds the values of each key into an aggregate, in the store that `materialized` describes.
    pub fn aggregate_with<VA, I, F>(
        &self,
        initializer: I,
        aggregator: F,
        materialized: Materialized<K, VA>,
    ) -> KTable<K, VA>
    where
        VA: Clone + 'static,
        I: Fn() -> VA + Send + Sync + 'static,
        F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
    {
        self.aggregate_step(Aggregator { initializer, aggregator }, "KSTREAM-AGGREGATE-", materialized)
    }

    fn aggregate_step<VA, S>(&self, step: S, prefix: &str, materialized: Materialized<K, VA>) -> KTable<K, VA>
    where
        VA: Clone + 'static,
        S: Step<K, V, VA>,
    {
        let (store, name, key, value) = {
            let plan = &mut *self.plan.borrow_mut();
            let store = StoredTable::key_value(plan, &materialized, prefix);
            let name = plan.name(self.next_name.as_deref(), prefix);
            let key = plan.need(materialized.key.as_ref().or(self.key.as_ref()), "key", &name);
            let value = plan.need(materialized.value.as_ref(), "value", &name);
            (store, name, key, value)
        };
        let link = TableLink::new(TableKind::Aggregate, true);
        link.set_history(store.history_ms());
        let step = Arc::new(step);
        let processor = {
            let (store, link, key, value) = (store.clone(), link.clone(), key.clone(), value.clone());
            ProcessorPlan {
                name: name.clone(),
                stores: vec![store.typed_decl(&link, &key, &value)],
                connected: Vec::new(),
                factory: Arc::new(move |asm: &mut Assembly<'_>| {
                    let updates: Updates<K, VA, KeyRows<K>> =
                        store.updates(asm, KeyRows(key.get()?), value.get()?, &link)?;
                    Ok(Built::node::<K, V, _>(Aggregate::new(step.clone(), updates)))
                }),
            }
        };
        let view = store.view(key.clone(), value.clone());
        self.table(processor, &store.name, link, key.known(), value.known(), view)
    }

    /// Adds a windowed aggregate, whose node `node` makes from its store and the name of its stream time.
    pub(super) fn windowed_table<VA: Clone + 'static>(
        &self,
        windowing: Windowing,
        emit: EmitStrategy,
        prefix: &str,
        materialized: Materialized<K, VA>,
        node: impl FnOnce(&WindowedTable<K, VA>, String) -> Factory,
    ) -> KTable<Windowed<K>, VA>
    where
        K: Clone,
    {
        let (table, name) = {
            let plan = &mut *self.plan.borrow_mut();
            let store = StoredTable::windowed(plan, &materialized, prefix, windowing, emit);
            let name = plan.name(self.next_name.as_deref(), prefix);
            let key = plan.need(materialized.key.as_ref().or(self.key.as_ref()), "key", &name);
            let value = plan.need(materialized.value.as_ref(), "value", &name);
            let link = TableLink::new(TableKind::Aggregate, true);
            (WindowedTable { store, link, key, value, emit, emits_first: materialized.cached }, name)
        };
        let processor = ProcessorPlan {
            name,
            stores: vec![table.store.typed_decl(&table.link, &table.key, &table.value)],
            connected: Vec::new(),
            factory: node(&table, format!("millstream.time.{}", table.store.name)),
        };
        let (key, value) = (table.windowed_key(windowing), table.value.known());
        let made = self.table(processor, &table.store.name, table.link.clone(), key, value, table.view(windowing));
        self.plan.borrow_mut().nodes[made.node].grace_ms = Some(windowing.closes_after_ms());
        made
    }

    /// Adds an aggregate, behind a repartition topic if one is needed.
    #[allow(clippy::too_many_arguments, reason = "the parts of a table, in one place")]
    pub(super) fn table<KR: 'static, VR: 'static>(
        &self,
        processor: ProcessorPlan,
        store: &str,
        link: Arc<TableLink>,
        key: Option<Serde<KR>>,
        value: Option<Serde<VR>>,
        view: Rc<dyn Fn() -> TableView<KR, VR>>,
    ) -> KTable<KR, VR> {
        let plan = &mut *self.plan.borrow_mut();
        let (mut parent, mut sources) = (self.node, self.sources.clone());
        if self.repartition {
            let prefix = self.topic_name.as_deref().unwrap_or(store);
            let how = Repartitioning {
                key: self.key.as_ref(),
                value: self.value.as_ref(),
                partitions: None,
                partitioner: None,
            };
            let what = repartition_plan::<K, V>(plan, prefix, how);
            let source = what.source.name.clone();
            parent = match self.repartitioned.get().filter(|_| self.topic_name.is_some()) {
                Some(node) => {
                    plan.connect(self.node, node);
                    node
                }
                None => plan.add(&[self.node], source.clone(), Logical::Repartition(what)),
            };
            self.repartitioned.set(Some(parent));
            sources = BTreeSet::from([source]);
        }
        let name = processor.name.clone();
        let node = plan.add(&[parent], name.clone(), Logical::Processor(processor));
        KTable::new(self.plan.clone(), node, name, key, value, sources, link, view)
    }
}
