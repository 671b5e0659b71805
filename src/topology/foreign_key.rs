//! Joins of a table with a table by a foreign key.

use super::{
    KTable, Materialized, TableJoined,
    assemble::{Assembly, Built, Factory},
    plan::{Logical, NodeIx, Plan, ProcessorPlan, SinkPlan, SinkTopic, SourcePlan, StoreDecl},
    serdes::Needed,
    stored::StoredTable,
    table::table_source_factory,
    table_link::{TableKind, TableLink},
};
use crate::{
    codec::Serde,
    fault::Result,
    operator::{
        Route, StreamPartitioner,
        extract::Extractor,
        foreign_key::{Answer, Notify, Receive, Resolve, Response, Send, SendOf, responses, subscriptions},
        sink::Sink,
        source::SourceNode,
    },
    state::{StoreKind, StoreSpec},
};
use std::{
    any::TypeId,
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    sync::Arc,
};

impl<K: 'static, V: 'static> KTable<K, V> {
    /// The same table with a serde for its values, for operators below that need one: the results of joins and mappings
    /// have none of their own, and not every type has a default one.
    ///
    /// ```
    /// # use millstream::{codec::serdes, topology::StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let (lines, names) = (builder.table::<String, String>("lines"), builder.table::<String, String>("names"));
    /// let split = |line: &String| Some(line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    /// let words = lines.map_values(split).with_value_serde(serdes::json());
    /// words.foreign_key_join(&names, |words| words.first().cloned(), |words, name| Some(format!("{words:?} {name}")));
    /// # builder.build().unwrap();
    /// ```
    #[must_use]
    pub fn with_value_serde(&self, serde: Serde<V>) -> Self {
        Self { value: Some(serde), ..self.clone() }
    }
}

impl<K: Clone + 'static, V: 'static> KTable<K, V> {
    /// The table of this table's rows, each joined with the row of `other` whose key `foreign_key` names (D-104): any
    /// number of rows may name the same one, and a change of it changes all of theirs. A row without a foreign key, or
    /// whose right row is missing, has no result (D-108); one without a foreign key is counted as dropped.
    ///
    /// The tables need not have equal partition counts (D-111): rows meet by way of two internal topics, and a result may
    /// come a little after its cause. An answer that comes when the left row has changed again is dropped and counted
    /// (D-107); [`TableJoined::always_answered`] tells when that leaves an out-of-date result. A right row whose bytes are empty counts as missing, as in Kafka Streams. Both tables keep their rows.
    ///
    /// ```
    /// use millstream::{codec::serdes, testing::TestDriver, topology::StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.table::<String, String>("orders");
    /// let customers = builder.table::<String, String>("customers");
    /// orders
    ///     .foreign_key_join(
    ///         &customers,
    ///         |order| order.split(' ').next().map(str::to_owned),
    ///         |order, customer| Some(format!("{order} for {customer}")),
    ///     )
    ///     .to_stream()
    ///     .to("deliveries");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// let text = serdes::string();
    /// for (topic, key, value) in [("customers", "c1", "Ann"), ("orders", "o1", "c1 hats"), ("customers", "c1", "Bob")] {
    ///     driver.pipe(topic, &text, &text, Some(&key.to_owned()), Some(&value.to_owned()), 0).unwrap();
    /// }
    /// let deliveries = driver.read("deliveries", &text, &text).unwrap();
    /// let values: Vec<_> = deliveries.iter().filter_map(|record| record.value.as_deref()).collect();
    /// assert_eq!(values, ["c1 hats for Ann", "c1 hats for Bob"]);
    /// ```
    pub fn foreign_key_join<KO, VO, VR, E, F>(&self, other: &KTable<KO, VO>, foreign_key: E, joiner: F) -> KTable<K, VR>
    where
        KO: 'static,
        VO: Clone + 'static,
        VR: Clone + 'static,
        E: Fn(&V) -> Option<KO> + std::marker::Send + Sync + 'static,
        F: Fn(&V, &VO) -> Option<VR> + std::marker::Send + Sync + 'static,
    {
        let foreign_key = move |_: &K, row: &V| foreign_key(row);
        self.foreign_key_join_with(other, foreign_key, joiner, TableJoined::default(), Materialized::default())
    }

    /// As [`KTable::foreign_key_join`], with names, partitioners and a store for the result; the foreign key may depend on
    /// the row's key too (D-36).
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder, TableJoined};
    /// # let builder = StreamsBuilder::new();
    /// # let (orders, customers) = (builder.table::<String, i64>("orders"), builder.table::<i64, String>("customers"));
    /// let (joined, stored) = (TableJoined::with_name("deliveries"), Materialized::as_store("deliveries"));
    /// orders.foreign_key_join_with(&customers, |_, order| Some(*order), |_, name| Some(name.clone()), joined, stored);
    /// let text = builder.build().unwrap().describe();
    /// assert!(text.contains("topics: [deliveries-subscription-registration-topic]"), "{text}");
    /// ```
    pub fn foreign_key_join_with<KO, VO, VR, E, F>(
        &self,
        other: &KTable<KO, VO>,
        foreign_key: E,
        joiner: F,
        joined: TableJoined<K, KO>,
        materialized: Materialized<K, VR>,
    ) -> KTable<K, VR>
    where
        KO: 'static,
        VO: Clone + 'static,
        VR: Clone + 'static,
        E: Fn(&K, &V) -> Option<KO> + std::marker::Send + Sync + 'static,
        F: Fn(&V, &VO) -> Option<VR> + std::marker::Send + Sync + 'static,
    {
        let joiner = move |row: &V, right: Option<&VO>| joiner(row, right?);
        self.join_foreign(other, foreign_key, joiner, joined, materialized, false)
    }

    /// As [`KTable::foreign_key_join`], and every row of this table has a result: without a foreign key or right row it is
    /// joined with `None`.
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// # let (orders, customers) = (builder.table::<String, i64>("orders"), builder.table::<i64, String>("customers"));
    /// orders
    ///     .foreign_key_left_join(&customers, |order| Some(*order), |_, name| Some(name.cloned().unwrap_or_default()))
    ///     .to_stream()
    ///     .to("names");
    /// # builder.build().unwrap();
    /// ```
    pub fn foreign_key_left_join<KO, VO, VR, E, F>(
        &self,
        other: &KTable<KO, VO>,
        foreign_key: E,
        joiner: F,
    ) -> KTable<K, VR>
    where
        KO: 'static,
        VO: Clone + 'static,
        VR: Clone + 'static,
        E: Fn(&V) -> Option<KO> + std::marker::Send + Sync + 'static,
        F: Fn(&V, Option<&VO>) -> Option<VR> + std::marker::Send + Sync + 'static,
    {
        let foreign_key = move |_: &K, row: &V| foreign_key(row);
        self.foreign_key_left_join_with(other, foreign_key, joiner, TableJoined::default(), Materialized::default())
    }

    /// As [`KTable::foreign_key_left_join`], with names, partitioners and a store for the result.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder, TableJoined};
    /// # let builder = StreamsBuilder::new();
    /// # let (orders, customers) = (builder.table::<String, i64>("orders"), builder.table::<i64, String>("customers"));
    /// let stored = Materialized::as_store("names");
    /// let name = |_: &i64, name: Option<&String>| name.cloned();
    /// orders.foreign_key_left_join_with(&customers, |_, order| Some(*order), name, TableJoined::default(), stored);
    /// # builder.build().unwrap();
    /// ```
    pub fn foreign_key_left_join_with<KO, VO, VR, E, F>(
        &self,
        other: &KTable<KO, VO>,
        foreign_key: E,
        joiner: F,
        joined: TableJoined<K, KO>,
        materialized: Materialized<K, VR>,
    ) -> KTable<K, VR>
    where
        KO: 'static,
        VO: Clone + 'static,
        VR: Clone + 'static,
        E: Fn(&K, &V) -> Option<KO> + std::marker::Send + Sync + 'static,
        F: Fn(&V, Option<&VO>) -> Option<VR> + std::marker::Send + Sync + 'static,
    {
        self.join_foreign(other, foreign_key, joiner, joined, materialized, true)
    }

    fn join_foreign<KO, VO, VR, E, F>(
        &self,
        other: &KTable<KO, VO>,
        foreign_key: E,
        joiner: F,
        joined: TableJoined<K, KO>,
        materialized: Materialized<K, VR>,
        left: bool,
    ) -> KTable<K, VR>
    where
        KO: 'static,
        VO: Clone + 'static,
        VR: Clone + 'static,
        E: Fn(&K, &V) -> Option<KO> + std::marker::Send + Sync + 'static,
        F: Fn(&V, Option<&VO>) -> Option<VR> + std::marker::Send + Sync + 'static,
    {
        other.link.need_old(true);
        self.link.need_old(true);
        let plan = &mut *self.plan.borrow_mut();
        let names = Names::new(plan, joined.name.as_deref().or(self.next_name.as_deref()));
        let answers = joined.always_answered;
        let key = plan.need(self.key.as_ref(), "key", &names.send);
        let value = plan.need(self.value.as_ref(), "value", &names.send);
        let foreign = plan.need(other.key.as_ref(), "key of the other table", &names.send);
        let right = plan.need(other.value.as_ref(), "value of the other table", &names.send);

        // Left rows subscribe.
        let (foreign_key, of) = (Arc::new(foreign_key), (foreign.clone(), value.clone(), self.link.clone()));
        let send = plan.add_processor(&[self.node], &names.send, Vec::new(), move |asm| {
            Ok(Built::node(Send {
                of: SendOf {
                    foreign_key: of.0.get()?,
                    value: of.1.get()?,
                    left,
                    answers,
                    versioned: of.2.is_versioned(),
                },
                extract: foreign_key.clone(),
                children: asm.children::<KO, crate::operator::foreign_key::Subscription<K>>()?,
                takes: PhantomData,
            }))
        });
        let wrapped = Wrapped::new(key.clone(), subscriptions);
        let choose = joined.other_partitioner.map(|choose| {
            let choose: Arc<StreamPartitioner<KO, _>> =
                Arc::new(move |topic, key, _, count| Route::To(choose(topic, key, count)));
            choose
        });
        let registration = plan.add_sink(&[send], &names.registration, foreign.clone(), wrapped.clone(), choose);
        let registered = plan.add_source(registration, &names.registration, foreign.clone(), wrapped.clone());

        // The right side keeps subscriptions and answers them.
        let store = subscription_store(&names.store);
        let (store_name, types) = (store.name.clone(), (foreign.clone(), key.clone(), wrapped.clone()));
        let decl = StoreDecl { spec: store, types: None, face: None, table: None };
        let receive = plan.add_processor(&[registered], &names.receive, vec![decl], move |asm| {
            Ok(Built::node(Receive {
                store: asm.store(&store_name)?,
                foreign_key: types.0.get()?,
                key: types.1.get()?,
                subscription: types.2.get()?,
                children: asm.children()?,
            }))
        });
        let rights = (other.view)();
        let answer = plan.add_processor(&[receive], &names.answer, Vec::new(), move |asm| {
            Ok(Built::node(Answer { right: (rights.getter)(asm)?, children: asm.children::<K, Response<VO>>()? }))
        });
        plan.connect_stores(answer, rights.stores);
        let (store_name, types) = (names.store.clone(), (foreign, wrapped, other.link.clone()));
        let notify = plan.add_processor(&[other.node], &names.notify, Vec::new(), move |asm| {
            Ok(Built::node::<KO, crate::record::Change<VO>, _>(Notify {
                store: asm.store(&store_name)?,
                foreign_key: types.0.get()?,
                subscription: types.1.get()?,
                versioned: types.2.is_versioned(),
                children: asm.children::<K, Response<VO>>()?,
            }))
        });
        plan.connect_stores(notify, vec![names.store.clone()]);

        // Answers go back to where the left row is.
        let wrapped = Wrapped::new(right, responses);
        let choose: Arc<StreamPartitioner<K, Response<VO>>> = match joined.partitioner {
            Some(choose) => Arc::new(move |topic, key, _, count| Route::To(choose(topic, key, count))),
            None => Arc::new(|_, _, response, _| {
                response.and_then(|response| response.partition).map_or(Route::Default, Route::To)
            }),
        };
        let response = plan.add_sink(&[answer, notify], &names.response, key.clone(), wrapped.clone(), Some(choose));
        let answered = plan.add_source(response, &names.response, key.clone(), wrapped);
        let (lefts, joiner) = ((self.view)(), Arc::new(joiner));
        let resolve = plan.add_processor(&[answered], &names.resolve, Vec::new(), move |asm| {
            Ok(Built::node::<K, Response<VO>, _>(Resolve {
                left: (lefts.getter)(asm)?,
                value: value.get()?,
                keeps: left,
                joiner: joiner.clone(),
                children: asm.children::<K, VR>()?,
            }))
        });
        plan.connect_stores(resolve, lefts.stores);

        let with = |sources: &BTreeSet<Arc<str>>, name: &Arc<str>| {
            sources.iter().chain([name]).cloned().collect::<BTreeSet<_>>()
        };
        plan.copartitioned.push(with(&other.sources, &names.registration.source));
        let sources = with(&self.sources, &names.response.source);
        plan.copartitioned.push(sources.clone());
        self.foreign_result(plan, resolve, names.result, key, sources, materialized)
    }

    /// The table that a join by foreign key gives.
    fn foreign_result<VR: Clone + 'static>(
        &self,
        plan: &mut Plan,
        parent: NodeIx,
        name: Arc<str>,
        key: Needed<K>,
        sources: BTreeSet<Arc<str>>,
        materialized: Materialized<K, VR>,
    ) -> KTable<K, VR> {
        let store = StoredTable::key_value(plan, &materialized, "KTABLE-FK-JOIN-OUTPUT-");
        let link = TableLink::new(TableKind::Source, materialized.name.is_some());
        let key = match &materialized.key {
            Some(serde) => plan.need(Some(serde), "key", &name),
            None => key,
        };
        let value = Needed::maybe(materialized.value.as_ref());
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: vec![store.typed_decl(&link, &key, &value)],
            connected: Vec::new(),
            factory: table_source_factory(store.clone(), link.clone(), key.clone(), value.clone()),
        };
        let node = plan.add(&[parent], name.clone(), Logical::Processor(processor));
        let (known, view) = (key.known(), store.view_of_source(link.clone(), key, value.clone()));
        KTable::new(self.plan.clone(), node, name, known, value.known(), sources, link, view)
    }
}

/// The store of subscriptions.
fn subscription_store(name: &Arc<str>) -> StoreSpec {
    StoreSpec {
        name: name.clone(),
        kind: StoreKind::KeyValue,
        timestamped: true,
        logged: true,
        changelog_config: BTreeMap::new(),
        cached: false,
        persistent: true,
    }
}

/// A serde that wraps the serde of a key or value.
struct Wrapped<T, W> {
    inner: Needed<T>,
    wrap: fn(Serde<T>) -> Serde<W>,
}

impl<T, W> Clone for Wrapped<T, W> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), wrap: self.wrap }
    }
}

impl<T: 'static, W> Wrapped<T, W> {
    fn new(inner: Needed<T>, wrap: fn(Serde<T>) -> Serde<W>) -> Self {
        Self { inner, wrap }
    }

    fn get(&self) -> Result<Serde<W>> {
        Ok((self.wrap)(self.inner.get()?))
    }
}

/// One of the join's topics with the nodes around it.
struct Through {
    topic: Arc<str>,
    sink: Arc<str>,
    source: Arc<str>,
}

/// Names of a join's nodes, in the order in which Kafka Streams generates them.
struct Names {
    send: Arc<str>,
    registration: Through,
    store: Arc<str>,
    receive: Arc<str>,
    answer: Arc<str>,
    notify: Arc<str>,
    response: Through,
    resolve: Arc<str>,
    result: Arc<str>,
}

impl Names {
    fn new(plan: &mut Plan, given: Option<&str>) -> Self {
        let mut name = |suffix: &str, prefix: &str| plan.name_suffixed(given, suffix, prefix);
        let topic =
            format!("{}-topic", name("-subscription-registration", "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-"));
        let send = name("-subscription-registration-processor", "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-");
        let registration = Through {
            topic: topic.into(),
            sink: name("-subscription-registration-sink", "KTABLE-SINK-"),
            source: name("-subscription-registration-source", "KTABLE-SOURCE-"),
        };
        let store = name("-subscription-store", "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-");
        let receive = name("-subscription-receive", "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-");
        let answer = name("-subscription-join-foreign", "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-");
        let notify = name("-foreign-join-subscription", "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-");
        let topic = format!("{}-topic", name("-subscription-response", "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-"));
        let response = Through {
            topic: topic.into(),
            sink: name("-subscription-response-sink", "KTABLE-SINK-"),
            source: name("-subscription-response-source", "KTABLE-SOURCE-"),
        };
        let resolve =
            name("-subscription-response-resolver", "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-");
        let result = name("-result", "KTABLE-FK-JOIN-OUTPUT-");
        Self { send, registration, store, receive, answer, notify, response, resolve, result }
    }
}

impl Plan {
    fn add_processor(
        &mut self,
        parents: &[NodeIx],
        name: &Arc<str>,
        stores: Vec<StoreDecl>,
        factory: impl Fn(&mut Assembly<'_>) -> Result<Built> + std::marker::Send + Sync + 'static,
    ) -> NodeIx {
        let factory: Factory = Arc::new(factory);
        let processor = ProcessorPlan { name: name.clone(), stores, connected: Vec::new(), factory };
        self.add(parents, name.clone(), Logical::Processor(processor))
    }

    fn connect_stores(&mut self, node: NodeIx, stores: Vec<Arc<str>>) {
        if let Logical::Processor(processor) = &mut self.nodes[node].what {
            processor.connected.extend(stores);
        }
    }

    fn add_sink<K: 'static, T: 'static, V: 'static>(
        &mut self,
        parents: &[NodeIx],
        through: &Through,
        key: Needed<K>,
        value: Wrapped<T, V>,
        partitioner: Option<Arc<StreamPartitioner<K, V>>>,
    ) -> NodeIx {
        let topic = through.topic.clone();
        let sink = SinkPlan {
            name: through.sink.clone(),
            topic: SinkTopic::Internal(topic.clone()),
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                Ok(Built::node(Sink {
                    name: asm.name.clone(),
                    topic: asm.fixed_topic(asm.internal_topic(&topic)),
                    key: key.get()?,
                    value: value.get()?,
                    partitioner: partitioner.clone(),
                    by_inner_key: true,
                }))
            }),
        };
        self.add(parents, through.sink.clone(), Logical::Sink(sink))
    }

    fn add_source<K: 'static, T: 'static, V: 'static>(
        &mut self,
        sink: NodeIx,
        through: &Through,
        key: Needed<K>,
        value: Wrapped<T, V>,
    ) -> NodeIx {
        let source = SourcePlan {
            name: through.source.clone(),
            topics: vec![through.topic.clone()],
            pattern: None,
            internal: true,
            reset: None,
            types: (TypeId::of::<K>(), TypeId::of::<V>()),
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                Ok(Built::source(SourceNode {
                    name: asm.name.clone(),
                    key: key.get()?,
                    value: value.get()?,
                    extractor: Extractor::FailOnInvalid,
                    on_error: None,
                    children: asm.children()?,
                }))
            }),
        };
        self.add(&[sink], through.source.clone(), Logical::Source(source))
    }
}
