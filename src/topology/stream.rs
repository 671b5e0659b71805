//! `KStream`: a stream of records, and its stateless operators.

use super::{
    BranchedKStream,
    assemble::{Assembly, Built, Factory},
    plan::{Changes, Logical, NodeIx, ProcessorPlan, SharedPlan},
};
use crate::{
    codec::Serde,
    operator::{
        filter::Filter, flat_map::FlatMap, flat_map_values::FlatMapValues, map::Map, map_values::MapValues, pass::Pass,
        peek::Peek, select_key::SelectKey,
    },
};
use std::{cell::Cell, collections::BTreeSet, rc::Rc, sync::Arc};

/// A stream of records.
///
/// Closures take key and value as options: `None` is Kafka's null. A handle may be used any number of times; every use
/// adds a child in that order.
pub struct KStream<K, V> {
    pub(super) plan: SharedPlan,
    pub(super) node: NodeIx,
    pub(super) name: Arc<str>,
    pub(super) key: Option<Serde<K>>,
    pub(super) value: Option<Serde<V>>,
    /// Source nodes upstream, up to the next repartition.
    pub(super) sources: BTreeSet<Arc<str>>,
    /// True when the key was changed since the records were last partitioned by it (D-160).
    pub(super) repartition: bool,
    /// A repartition that an earlier unnamed join of this stream made.
    pub(super) repartitioned: Rc<Cell<Option<NodeIx>>>,
    pub(super) next_name: Option<String>,
}

impl<K, V> Clone for KStream<K, V> {
    fn clone(&self) -> Self {
        Self {
            plan: self.plan.clone(),
            node: self.node,
            name: self.name.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
            sources: self.sources.clone(),
            repartition: self.repartition,
            repartitioned: self.repartitioned.clone(),
            next_name: self.next_name.clone(),
        }
    }
}

impl<K: 'static, V: 'static> KStream<K, V> {
    pub(super) fn new(
        plan: SharedPlan,
        node: NodeIx,
        name: Arc<str>,
        key: Option<Serde<K>>,
        value: Option<Serde<V>>,
        sources: BTreeSet<Arc<str>>,
        repartition: bool,
    ) -> Self {
        let repartitioned = Rc::new(Cell::new(None));
        Self { plan, node, name, key, value, sources, repartition, repartitioned, next_name: None }
    }

    /// Names the node of the operator that is called on the result, in place of a generated name.
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// let words = builder.stream::<String, String>("words");
    /// words.named("long-words").filter(|_, word| word.is_some_and(|w| w.len() > 9)).to("long-words");
    /// assert!(builder.build().unwrap().describe().contains("Processor: long-words (stores: [])"));
    /// ```
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { next_name: Some(name.into()), ..self.clone() }
    }

    /// Adds a processor below this stream.
    fn attach(
        &self,
        prefix: &str,
        factory: impl Fn(&mut Assembly<'_>) -> crate::fault::Result<Built> + Send + Sync + 'static,
    ) -> (NodeIx, Arc<str>) {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.name(self.next_name.as_deref(), prefix);
        let factory: Factory = Arc::new(factory);
        let processor = ProcessorPlan { name: name.clone(), stores: Vec::new(), connected: Vec::new(), factory };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        plan.nodes[node].changes = Changes::of(prefix);
        (node, name)
    }

    /// The stream that a node of this stream's sub-topology gives.
    fn derive<K2: 'static, V2: 'static>(
        &self,
        (node, name): (NodeIx, Arc<str>),
        key: Option<Serde<K2>>,
        value: Option<Serde<V2>>,
        repartition: bool,
    ) -> KStream<K2, V2> {
        KStream::new(self.plan.clone(), node, name, key, value, self.sources.clone(), repartition)
    }

    fn keep_if<F>(&self, predicate: F, keep: bool) -> Self
    where
        F: Fn(Option<&K>, Option<&V>) -> bool + Send + Sync + 'static,
    {
        let predicate = Arc::new(predicate);
        let made = self.attach("KSTREAM-FILTER-", move |asm| {
            Ok(Built::node(Filter { predicate: predicate.clone(), keep, children: asm.children::<K, V>()? }))
        });
        self.derive(made, self.key.clone(), self.value.clone(), self.repartition)
    }

    /// Keeps the records for which `predicate` holds.
    pub fn filter<F>(&self, predicate: F) -> Self
    where
        F: Fn(Option<&K>, Option<&V>) -> bool + Send + Sync + 'static,
    {
        self.keep_if(predicate, true)
    }

    /// Drops the records for which `predicate` holds.
    pub fn filter_not<F>(&self, predicate: F) -> Self
    where
        F: Fn(Option<&K>, Option<&V>) -> bool + Send + Sync + 'static,
    {
        self.keep_if(predicate, false)
    }

    /// New key and value for each record. Grouping or joining by the new key repartitions.
    pub fn map<K2: 'static, V2: 'static, F>(&self, mapper: F) -> KStream<K2, V2>
    where
        F: Fn(Option<&K>, Option<&V>) -> (Option<K2>, Option<V2>) + Send + Sync + 'static,
    {
        let mapper = Arc::new(mapper);
        let made = self.attach("KSTREAM-MAP-", move |asm| {
            Ok(Built::node::<K, V, _>(Map::new(mapper.clone(), asm.children::<K2, V2>()?)))
        });
        self.derive(made, None, None, true)
    }

    /// A new value for each record.
    pub fn map_values<V2: 'static, F>(&self, mapper: F) -> KStream<K, V2>
    where
        F: Fn(Option<&V>) -> Option<V2> + Send + Sync + 'static,
    {
        self.map_values_with_key(move |_, value| mapper(value))
    }

    /// A new value for each record, made with the key in sight.
    pub fn map_values_with_key<V2: 'static, F>(&self, mapper: F) -> KStream<K, V2>
    where
        F: Fn(Option<&K>, Option<&V>) -> Option<V2> + Send + Sync + 'static,
    {
        let mapper = Arc::new(mapper);
        let made = self.attach("KSTREAM-MAPVALUES-", move |asm| {
            Ok(Built::node::<K, V, _>(MapValues::new(mapper.clone(), asm.children::<K, V2>()?)))
        });
        self.derive(made, self.key.clone(), None, self.repartition)
    }

    /// Any number of records for each record. Grouping or joining by the new key repartitions.
    pub fn flat_map<K2: 'static, V2: 'static, I, F>(&self, mapper: F) -> KStream<K2, V2>
    where
        I: IntoIterator<Item = (Option<K2>, Option<V2>)> + 'static,
        F: Fn(Option<&K>, Option<&V>) -> I + Send + Sync + 'static,
    {
        let mapper = Arc::new(mapper);
        let made = self.attach("KSTREAM-FLATMAP-", move |asm| {
            Ok(Built::node::<K, V, _>(FlatMap::new(mapper.clone(), asm.children::<K2, V2>()?)))
        });
        self.derive(made, None, None, true)
    }

    /// Any number of values for each record.
    pub fn flat_map_values<V2: 'static, I, F>(&self, mapper: F) -> KStream<K, V2>
    where
        I: IntoIterator<Item = V2> + 'static,
        F: Fn(Option<&V>) -> I + Send + Sync + 'static,
    {
        self.flat_map_values_with_key(move |_, value| mapper(value))
    }

    /// Any number of values for each record, made with the key in sight.
    pub fn flat_map_values_with_key<V2: 'static, I, F>(&self, mapper: F) -> KStream<K, V2>
    where
        I: IntoIterator<Item = V2> + 'static,
        F: Fn(Option<&K>, Option<&V>) -> I + Send + Sync + 'static,
    {
        let mapper = Arc::new(mapper);
        let made = self.attach("KSTREAM-FLATMAPVALUES-", move |asm| {
            Ok(Built::node::<K, V, _>(FlatMapValues::new(mapper.clone(), asm.children::<K, V2>()?)))
        });
        self.derive(made, self.key.clone(), None, self.repartition)
    }

    /// A new key for each record. Grouping or joining by it repartitions.
    pub fn select_key<K2: 'static, F>(&self, selector: F) -> KStream<K2, V>
    where
        F: Fn(Option<&K>, Option<&V>) -> Option<K2> + Send + Sync + 'static,
    {
        let made = self.select(selector);
        self.derive(made, None, self.value.clone(), true)
    }

    pub(super) fn select<K2: 'static, F>(&self, selector: F) -> (NodeIx, Arc<str>)
    where
        F: Fn(Option<&K>, Option<&V>) -> Option<K2> + Send + Sync + 'static,
    {
        let selector = Arc::new(selector);
        self.attach("KSTREAM-KEY-SELECT-", move |asm| {
            Ok(Built::node::<K, V, _>(SelectKey::new(selector.clone(), asm.children::<K2, V>()?)))
        })
    }

    fn watch<F>(&self, prefix: &str, action: F) -> (NodeIx, Arc<str>)
    where
        F: Fn(Option<&K>, Option<&V>) + Send + Sync + 'static,
    {
        let action = Arc::new(action);
        self.attach(prefix, move |asm| {
            Ok(Built::node(Peek { action: action.clone(), children: asm.children::<K, V>()? }))
        })
    }

    /// Shows each record to `action` and passes it on.
    pub fn peek<F>(&self, action: F) -> Self
    where
        F: Fn(Option<&K>, Option<&V>) + Send + Sync + 'static,
    {
        let made = self.watch("KSTREAM-PEEK-", action);
        self.derive(made, self.key.clone(), self.value.clone(), self.repartition)
    }

    /// Shows each record to `action`; the stream ends here.
    pub fn for_each<F>(&self, action: F)
    where
        F: Fn(Option<&K>, Option<&V>) + Send + Sync + 'static,
    {
        self.watch("KSTREAM-FOREACH-", action);
    }

    /// Splits the stream: each record goes to the first branch whose predicate holds.
    pub fn split(&self) -> BranchedKStream<K, V> {
        BranchedKStream::new(self.clone())
    }

    /// The records of both streams, in no order between them.
    pub fn merge(&self, other: &Self) -> Self {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.name(self.next_name.as_deref(), "KSTREAM-MERGE-");
        let factory: Factory =
            Arc::new(|asm: &mut Assembly<'_>| Ok(Built::node(Pass { children: asm.children::<K, V>()? })));
        let processor = ProcessorPlan { name: name.clone(), stores: Vec::new(), connected: Vec::new(), factory };
        let node = plan.add(&[self.node, other.node], name.clone(), Logical::Processor(processor));
        plan.nodes[node].changes.merged = true;
        let sources = self.sources.union(&other.sources).cloned().collect();
        let repartition = self.repartition || other.repartition;
        KStream::new(self.plan.clone(), node, name, None, None, sources, repartition)
    }
}
