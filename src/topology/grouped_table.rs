//! `KGroupedTable`: the rows of a table in groups, waiting to be aggregated.

use super::{
    Grouped, KTable, Materialized,
    assemble::{Assembly, Built},
    plan::{Logical, NodeIx, Plan, ProcessorPlan, RepartitionPlan, SharedPlan},
    repartition::{Names, Repartitioning, through_topic},
    serdes::Needed,
    stored::StoredTable,
    table_link::{TableKind, TableLink},
};
use crate::{
    codec::{Serde, serdes},
    operator::{
        rows::KeyRows,
        table_aggregate::{TableAggregate, TableAggregator, TableReducer, TableStep},
        table_regroup::TableRegroup,
        table_store::Updates,
    },
    record::Change,
};
use std::{cell::Cell, collections::BTreeSet, marker::PhantomData, rc::Rc, sync::Arc};

/// The rows of a table in groups: as rows change, they leave a group and join another.
///
/// Each operator takes an adder and a subtractor, which must undo each other: a row that changes inside a group is
/// subtracted as it was, then added as it is. Always repartitions, in Kafka Streams' format (D-126).
pub struct KGroupedTable<K, V> {
    plan: SharedPlan,
    node: NodeIx,
    key: Option<Serde<K>>,
    value: Option<Serde<V>>,
    topic_name: Option<String>,
    /// The repartition that an earlier operator made; one with a name is shared.
    repartitioned: Rc<Cell<Option<NodeIx>>>,
    next_name: Option<String>,
}

impl<K, V> Clone for KGroupedTable<K, V> {
    fn clone(&self) -> Self {
        Self {
            plan: self.plan.clone(),
            node: self.node,
            key: self.key.clone(),
            value: self.value.clone(),
            topic_name: self.topic_name.clone(),
            repartitioned: self.repartitioned.clone(),
            next_name: self.next_name.clone(),
        }
    }
}

impl<K: 'static, V: 'static> KTable<K, V> {
    /// Groups the rows by a new key, with a new value; a row for which either is `None` is in no group (D-67). The table
    /// keeps its rows, so that the old one is known (D-125).
    ///
    /// ```
    /// use millstream::{codec::serdes, testing::TestDriver, topology::StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// let regions = builder.table::<String, String>("user-regions");
    /// regions.group_by(|_, region| (Some(region.clone()), Some(1i64))).count().to_stream().to("users-per-region");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// let (text, number) = (serdes::string(), serdes::i64());
    /// for (user, region) in [("alice", "E"), ("bob", "A"), ("alice", "A")] {
    ///     driver.pipe("user-regions", &text, &text, Some(&user.to_owned()), Some(&region.to_owned()), 0).unwrap();
    /// }
    /// let counts = driver.read("users-per-region", &text, &number).unwrap();
    /// let counts: Vec<_> = counts.iter().map(|r| (r.key.as_deref().unwrap(), r.value.unwrap())).collect();
    /// assert_eq!(counts, [("E", 1), ("A", 1), ("E", 0), ("A", 2)]);
    /// ```
    pub fn group_by<K2, V2, F>(&self, selector: F) -> KGroupedTable<K2, V2>
    where
        K2: PartialEq + 'static,
        V2: 'static,
        F: Fn(&K, &V) -> (Option<K2>, Option<V2>) + Send + Sync + 'static,
    {
        self.group_by_with(selector, Grouped::default())
    }

    /// As [`KTable::group_by`], with serdes and name of the repartition topic.
    ///
    /// ```
    /// # use millstream::topology::{Grouped, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let users = builder.table::<String, String>("users");
    /// let by_town = users.group_by_with(|_, town| (Some(town.clone()), Some(1i64)), Grouped::with_name("by-town"));
    /// by_town.count().to_stream().to("people-per-town");
    /// assert!(builder.build().unwrap().describe().contains("(topic: by-town-repartition)"));
    /// ```
    pub fn group_by_with<K2, V2, F>(&self, selector: F, grouped: Grouped<K2, V2>) -> KGroupedTable<K2, V2>
    where
        K2: PartialEq + 'static,
        V2: 'static,
        F: Fn(&K, &V) -> (Option<K2>, Option<V2>) + Send + Sync + 'static,
    {
        let plan = &mut *self.plan.borrow_mut();
        let given = grouped.name.as_deref().or(self.next_name.as_deref());
        let name = plan.name(given, "KTABLE-SELECT-");
        let (selector, link) = (Arc::new(selector), self.link.clone());
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: Vec::new(),
            connected: Vec::new(),
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                Ok(Built::node::<K, Change<V>, _>(TableRegroup {
                    name: asm.name.clone(),
                    selector: selector.clone(),
                    versioned: link.is_versioned(),
                    children: asm.children::<K2, Change<V2>>()?,
                    takes: PhantomData,
                }))
            }),
        };
        let node = plan.add(&[self.node], name, Logical::Processor(processor));
        self.link.need_old(true);
        if let Some(name) = &grouped.name {
            plan.give(name);
        }
        KGroupedTable {
            plan: self.plan.clone(),
            node,
            key: grouped.key,
            value: grouped.value,
            topic_name: grouped.name,
            repartitioned: Rc::new(Cell::new(None)),
            next_name: None,
        }
    }
}

impl<K: 'static, V: 'static> KGroupedTable<K, V> {
    /// Names the node of the aggregate that is called on the result.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { next_name: Some(name.into()), ..self.clone() }
    }

    /// Counts the rows of each group. A group that was never told of a row has no count; an emptied one has 0.
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// # let users = builder.table::<String, String>("users");
    /// users.group_by(|_, town| (Some(town.clone()), Some(1i64))).count().to_stream().to("people-per-town");
    /// # builder.build().unwrap();
    /// ```
    pub fn count(&self) -> KTable<K, i64> {
        self.count_with(Materialized::default())
    }

    /// Counts the rows of each group, into the store that `materialized` describes.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let users = builder.table::<String, String>("users");
    /// let grouped = users.group_by(|_, town| (Some(town.clone()), Some(1i64)));
    /// grouped.count_with(Materialized::as_store("people-per-town"));
    /// # builder.build().unwrap();
    /// ```
    pub fn count_with(&self, materialized: Materialized<K, i64>) -> KTable<K, i64> {
        let step = TableAggregator {
            initializer: || 0,
            adder: |_: &K, _: &V, count: i64| Some(count.wrapping_add(1)),
            subtractor: |_: &K, _: &V, count: i64| Some(count.wrapping_sub(1)),
        };
        self.aggregate_step(step, "KTABLE-AGGREGATE-", materialized)
    }

    /// Combines the values of each group; the first one is taken as it is. `None` deletes the result.
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// # let stock = builder.table::<String, i64>("stock");
    /// let by_kind = stock.group_by(|item, n| (item.split('-').next().map(str::to_owned), Some(*n)));
    /// by_kind.reduce(|sum, n| Some(sum + n), |sum, n| Some(sum - n)).to_stream().to("stock-per-kind");
    /// # builder.build().unwrap();
    /// ```
    pub fn reduce<A, S>(&self, adder: A, subtractor: S) -> KTable<K, V>
    where
        V: Clone,
        A: Fn(V, &V) -> Option<V> + Send + Sync + 'static,
        S: Fn(V, &V) -> Option<V> + Send + Sync + 'static,
    {
        self.reduce_with(adder, subtractor, Materialized::default())
    }

    /// As [`KGroupedTable::reduce`], into the store that `materialized` describes.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let stock = builder.table::<String, i64>("stock");
    /// let all = stock.group_by(|_, n| (Some("all".to_owned()), Some(*n)));
    /// all.reduce_with(|sum, n| Some(sum + n), |sum, n| Some(sum - n), Materialized::as_store("total"));
    /// # builder.build().unwrap();
    /// ```
    pub fn reduce_with<A, S>(&self, adder: A, subtractor: S, materialized: Materialized<K, V>) -> KTable<K, V>
    where
        V: Clone,
        A: Fn(V, &V) -> Option<V> + Send + Sync + 'static,
        S: Fn(V, &V) -> Option<V> + Send + Sync + 'static,
    {
        let value = materialized.value.or_else(|| self.value.clone());
        let materialized = Materialized { value, ..materialized };
        self.aggregate_step(TableReducer { adder, subtractor }, "KTABLE-REDUCE-", materialized)
    }

    /// Folds the values of each group into an aggregate; `None` deletes it, and the next value begins it anew (D-124).
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// # let stock = builder.table::<String, i64>("stock");
    /// let all = stock.group_by(|_, n| (Some("all".to_owned()), Some(*n)));
    /// all.aggregate(|| 0i64, |_, n, sum| Some(sum + n), |_, n, sum| Some(sum - n)).to_stream().to("total");
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate<VA, I, A, S>(&self, initializer: I, adder: A, subtractor: S) -> KTable<K, VA>
    where
        VA: Clone + 'static,
        I: Fn() -> VA + Send + Sync + 'static,
        A: Fn(&K, &V, VA) -> Option<VA> + Send + Sync + 'static,
        S: Fn(&K, &V, VA) -> Option<VA> + Send + Sync + 'static,
    {
        self.aggregate_with(initializer, adder, subtractor, Materialized::default())
    }

    /// As [`KGroupedTable::aggregate`], in the store that `materialized` describes.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let stock = builder.table::<String, i64>("stock");
    /// let all = stock.group_by(|_, n| (Some("all".to_owned()), Some(*n)));
    /// let total = Materialized::as_store("total");
    /// all.aggregate_with(|| 0i64, |_, n, sum| Some(sum + n), |_, n, sum| Some(sum - n), total);
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate_with<VA, I, A, S>(
        &self,
        initializer: I,
        adder: A,
        subtractor: S,
        materialized: Materialized<K, VA>,
    ) -> KTable<K, VA>
    where
        VA: Clone + 'static,
        I: Fn() -> VA + Send + Sync + 'static,
        A: Fn(&K, &V, VA) -> Option<VA> + Send + Sync + 'static,
        S: Fn(&K, &V, VA) -> Option<VA> + Send + Sync + 'static,
    {
        let step = TableAggregator { initializer, adder, subtractor };
        self.aggregate_step(step, "KTABLE-AGGREGATE-", materialized)
    }

    fn aggregate_step<VA, S>(&self, step: S, prefix: &str, materialized: Materialized<K, VA>) -> KTable<K, VA>
    where
        VA: Clone + 'static,
        S: TableStep<K, V, VA>,
    {
        let plan = &mut *self.plan.borrow_mut();
        // The store is named after the aggregate in any case.
        let store = StoredTable::key_value(plan, &materialized, "KTABLE-AGGREGATE-");
        let given = self.next_name.as_deref();
        let sink = plan.name_suffixed(given, "-sink", "KSTREAM-SINK-");
        let source = plan.name_suffixed(given, "-source", "KSTREAM-SOURCE-");
        let name = plan.name(given, prefix);
        let parent = self.repartition(plan, &store.name, sink, source.clone());
        let key = plan.need(materialized.key.as_ref().or(self.key.as_ref()), "key", &name);
        let value = plan.need(materialized.value.as_ref(), "value", &name);
        let link = TableLink::new(TableKind::Aggregate, true);
        link.set_history(store.history_ms());
        let processor = table_aggregate(name.clone(), step, &store, &link, (&key, &value));
        let node = plan.add(&[parent], name.clone(), Logical::Processor(processor));
        let view = store.view(key.clone(), value.clone());
        KTable::new(self.plan.clone(), node, name, key.known(), value.known(), BTreeSet::from([source]), link, view)
    }

    /// The repartition topic, which an aggregate has for itself unless the topic has a name.
    fn repartition(&self, plan: &mut Plan, store: &str, sink: Arc<str>, source: Arc<str>) -> NodeIx {
        if let Some(node) = self.repartitioned.get().filter(|_| self.topic_name.is_some()) {
            plan.connect(self.node, node);
            return node;
        }
        let prefix = self.topic_name.as_deref().unwrap_or(store);
        let changes = plan.need(self.value.as_ref(), "value", &sink).known().map(serdes::change);
        let how: Repartitioning<'_, K, Change<V>> =
            Repartitioning { key: self.key.as_ref(), value: changes.as_ref(), partitions: None, partitioner: None };
        let names = Names { sink, filter: None, source: source.clone() };
        let what = RepartitionPlan {
            mergeable: false,
            ..through_topic(plan, format!("{prefix}-repartition").into(), names, how)
        };
        let node = plan.add(&[self.node], source, Logical::Repartition(what));
        self.repartitioned.set(Some(node));
        node
    }
}

fn table_aggregate<K: 'static, V: 'static, VA: Clone + 'static, S: TableStep<K, V, VA>>(
    name: Arc<str>,
    step: S,
    store: &StoredTable,
    link: &Arc<TableLink>,
    (key, value): (&Needed<K>, &Needed<VA>),
) -> ProcessorPlan {
    let (step, stores) = (Arc::new(step), vec![store.typed_decl(link, key, value)]);
    let (store, link, key, value) = (store.clone(), link.clone(), key.clone(), value.clone());
    ProcessorPlan {
        name,
        stores,
        connected: Vec::new(),
        factory: Arc::new(move |asm: &mut Assembly<'_>| {
            let updates: Updates<K, VA, KeyRows<K>> = store.updates(asm, KeyRows(key.get()?), value.get()?, &link)?;
            Ok(Built::node::<K, Change<V>, _>(TableAggregate { step: step.clone(), updates, takes: PhantomData }))
        }),
    }
}
