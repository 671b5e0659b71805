//! `CogroupedKStream`: several grouped streams that fill one table (D-33).

use super::{
    KGroupedStream, KTable, Materialized, Windows,
    assemble::{Assembly, Built, Factory},
    plan::{Logical, NodeIx, Plan, ProcessorPlan, SharedPlan, StoreDecl},
    repartition::{Repartitioning, repartition_plan},
    serdes::Needed,
    stored::{StoredTable, ViewOf},
    table_link::{TableKind, TableLink},
    windowing::{SizedWindows, WindowedTable},
};
use crate::{
    codec::Serde,
    operator::{
        SessionWindows,
        aggregate::{Aggregate, Step},
        pass::Pass,
        rows::KeyRows,
        session_aggregate::Merging,
    },
    record::Change,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    sync::Arc,
};

/// Begins the names of aggregates and stores.
pub(super) const AGGREGATE: &str = "COGROUPKSTREAM-AGGREGATE-";

/// Makes the aggregate before the first record.
pub(super) type Initializer<VA> = Arc<dyn Fn() -> VA + Send + Sync>;

/// Joins the aggregates of two sessions.
pub(super) type SessionMerger<K, VA> = Arc<dyn Fn(&K, VA, VA) -> VA + Send + Sync>;

/// What tells one grouped stream from another, however often it was cloned.
type Identity = Rc<Cell<Option<NodeIx>>>;

/// One stream of the group; the type of its values is forgotten.
pub(super) trait Input<K, VA> {
    fn identity(&self) -> &Identity;

    /// Serde of the keys, where it is known.
    fn key(&self) -> Option<Serde<K>>;

    /// The node that gives the records, behind a repartition topic if one is needed, and the sources behind it.
    fn parent(&self, plan: &mut Plan, store: &str, known: &mut Vec<(Identity, NodeIx)>)
    -> (NodeIx, BTreeSet<Arc<str>>);

    fn node(&self, table: &PlainTable<K, VA>, initializer: Initializer<VA>) -> Factory;

    fn sized_node(
        &self,
        table: &WindowedTable<K, VA>,
        windows: SizedWindows,
        initializer: Initializer<VA>,
        time: String,
    ) -> Factory;

    fn session_node(
        &self,
        table: &WindowedTable<K, VA>,
        windows: SessionWindows,
        initializer: Initializer<VA>,
        merger: SessionMerger<K, VA>,
        time: String,
    ) -> Factory;
}

/// The store and the serdes of an aggregate without windows.
pub(super) struct PlainTable<K, VA> {
    store: StoredTable,
    link: Arc<TableLink>,
    key: Needed<K>,
    value: Needed<VA>,
}

struct Typed<K, V, F> {
    grouped: KGroupedStream<K, V>,
    aggregator: Arc<F>,
}

/// The aggregate as one stream's records change it.
struct Part<M, VA, F> {
    initializer: Initializer<VA>,
    aggregator: Arc<F>,
    merger: M,
}

impl<K, V, VA, M, F> Step<K, V, VA> for Part<M, VA, F>
where
    VA: 'static,
    M: Send + Sync + 'static,
    F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
{
    fn initial(&self) -> Option<VA> {
        Some((self.initializer)())
    }

    fn next(&self, key: &K, value: Option<&V>, so_far: Option<VA>) -> Option<VA> {
        (self.aggregator)(key, value, so_far?)
    }
}

impl<K, V, VA, F> Merging<K, V, VA> for Part<SessionMerger<K, VA>, VA, F>
where
    K: 'static,
    VA: 'static,
    F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
{
    fn merge(&self, key: &K, so_far: Option<VA>, session: VA) -> Option<VA> {
        Some((self.merger)(key, so_far?, session))
    }
}

impl<K, V, VA, F> Input<K, VA> for Typed<K, V, F>
where
    K: Clone + 'static,
    V: 'static,
    VA: Clone + 'static,
    F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
{
    fn identity(&self) -> &Identity {
        &self.grouped.repartitioned
    }

    fn key(&self) -> Option<Serde<K>> {
        self.grouped.key.clone()
    }

    fn parent(
        &self,
        plan: &mut Plan,
        store: &str,
        known: &mut Vec<(Identity, NodeIx)>,
    ) -> (NodeIx, BTreeSet<Arc<str>>) {
        let grouped = &self.grouped;
        if !grouped.repartition {
            return (grouped.node, grouped.sources.clone());
        }
        let how = Repartitioning {
            key: grouped.key.as_ref(),
            value: grouped.value.as_ref(),
            partitions: None,
            partitioner: None,
        };
        let what = repartition_plan::<K, V>(plan, grouped.topic_name.as_deref().unwrap_or(store), how);
        let source = what.source.name.clone();
        let node = match known.iter().find(|(identity, _)| Rc::ptr_eq(identity, self.identity())) {
            Some((_, node)) => *node,
            None => {
                let node = plan.add(&[grouped.node], source.clone(), Logical::Repartition(what));
                known.push((self.identity().clone(), node));
                node
            }
        };
        (node, BTreeSet::from([plan.nodes[node].name.clone()]))
    }

    fn node(&self, table: &PlainTable<K, VA>, initializer: Initializer<VA>) -> Factory {
        let step = Arc::new(Part { initializer, aggregator: self.aggregator.clone(), merger: () });
        let PlainTable { store, link, key, value } = table;
        let (store, link, key, value) = (store.clone(), link.clone(), key.clone(), value.clone());
        Arc::new(move |asm: &mut Assembly<'_>| {
            let updates = store.updates(asm, KeyRows(key.get()?), value.get()?, &link)?;
            Ok(Built::node::<K, V, _>(Aggregate::new(step.clone(), updates)))
        })
    }

    fn sized_node(
        &self,
        table: &WindowedTable<K, VA>,
        windows: SizedWindows,
        initializer: Initializer<VA>,
        time: String,
    ) -> Factory {
        table.sized_node(windows, Part { initializer, aggregator: self.aggregator.clone(), merger: () }, time)
    }

    fn session_node(
        &self,
        table: &WindowedTable<K, VA>,
        windows: SessionWindows,
        initializer: Initializer<VA>,
        merger: SessionMerger<K, VA>,
        time: String,
    ) -> Factory {
        table.session_node(windows, Part { initializer, aggregator: self.aggregator.clone(), merger }, time)
    }
}

/// Streams grouped by the same key that are aggregated into one table: each has its own aggregator, and all share the
/// aggregate (D-33). [`KGroupedStream::cogroup`] makes one.
///
/// Without windows, records with a null key or a null value are dropped (D-60). The streams' topics must have equal
/// partition counts.
pub struct CogroupedKStream<K, VA> {
    pub(super) plan: SharedPlan,
    inputs: Vec<Rc<dyn Input<K, VA>>>,
    /// Repartition topics of the group's streams.
    repartitioned: Rc<RefCell<Vec<(Identity, NodeIx)>>>,
    next_name: Option<String>,
}

impl<K, VA> Clone for CogroupedKStream<K, VA> {
    fn clone(&self) -> Self {
        Self {
            plan: self.plan.clone(),
            inputs: self.inputs.clone(),
            repartitioned: self.repartitioned.clone(),
            next_name: self.next_name.clone(),
        }
    }
}

impl<K: 'static, VA: 'static> CogroupedKStream<K, VA> {
    pub(super) fn new(plan: SharedPlan) -> Self {
        Self { plan, inputs: Vec::new(), repartitioned: Rc::default(), next_name: None }
    }

    /// Names the nodes of the aggregate that is called on the result: `NAME-cogroup-agg-N` for the N-th stream, and
    /// `NAME-cogroup-merge`.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { next_name: Some(name.into()), ..self.clone() }
    }

    /// Puts the records of all streams into windows. Each stream has a stream time of its own, so one may take what would
    /// be late for another.
    ///
    /// ```
    /// # use millstream::{operator::SessionWindows, topology::StreamsBuilder};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// let views = builder.stream::<String, String>("views").group_by_key();
    /// let orders = builder.stream::<String, String>("orders").group_by_key();
    /// views
    ///     .cogroup(|_, _, (views, orders): (i64, i64)| Some((views + 1, orders)))
    ///     .cogroup(&orders, |_, _, (views, orders)| Some((views, orders + 1)))
    ///     .windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(60)));
    /// ```
    pub fn windowed_by<W: Windows>(&self, windows: W) -> W::Cogrouped<K, VA> {
        windows.of_cogrouped(self.clone())
    }

    /// Serde of the keys: the given one, else the first that a stream knows.
    pub(super) fn key_serde(&self, given: Option<&Serde<K>>) -> Option<Serde<K>> {
        given.cloned().or_else(|| self.inputs.iter().find_map(|input| input.key()))
    }

    /// Adds an aggregate of all streams; `node` makes the node of the N-th.
    pub(super) fn table<KR: 'static>(
        &self,
        store: StoreDecl,
        link: Arc<TableLink>,
        node: &dyn Fn(&dyn Input<K, VA>, usize) -> Factory,
        serdes: (Option<Serde<KR>>, Option<Serde<VA>>),
        view: ViewOf<KR, VA>,
    ) -> KTable<KR, VA> {
        let plan = &mut *self.plan.borrow_mut();
        let store_name = store.spec.name.clone();
        let known = &mut *self.repartitioned.borrow_mut();
        let parents: Vec<_> = self.inputs.iter().map(|input| input.parent(plan, &store_name, known)).collect();
        let sources: BTreeSet<Arc<str>> = parents.iter().flat_map(|(_, sources)| sources.iter().cloned()).collect();
        plan.copartitioned.push(sources.clone());
        let given = self.next_name.as_deref();
        let mut nodes = Vec::new();
        for (at, (input, (parent, _))) in self.inputs.iter().zip(parents).enumerate() {
            let name = plan.name_suffixed(given, &format!("-cogroup-agg-{at}"), AGGREGATE);
            let owner = at == 0;
            let processor = ProcessorPlan {
                name: name.clone(),
                stores: if owner { vec![store.clone()] } else { Vec::new() },
                connected: if owner { Vec::new() } else { vec![store_name.clone()] },
                factory: node(&**input, at),
            };
            nodes.push(plan.add(&[parent], name, Logical::Processor(processor)));
        }
        let name = plan.name_suffixed(given, "-cogroup-merge", "COGROUPKSTREAM-MERGE-");
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: Vec::new(),
            connected: Vec::new(),
            factory: Arc::new(|asm: &mut Assembly<'_>| {
                Ok(Built::node(Pass { children: asm.children::<KR, Change<VA>>()? }))
            }),
        };
        let node = plan.add(&nodes, name.clone(), Logical::Processor(processor));
        KTable::new(self.plan.clone(), node, name, serdes.0, serdes.1, sources, link, view)
    }
}

impl<K: Clone + 'static, VA: Clone + 'static> CogroupedKStream<K, VA> {
    /// Adds a stream with its aggregator; `None` from it deletes the aggregate. A stream that is in the group already
    /// gets another aggregator.
    #[must_use]
    pub fn cogroup<V: 'static, F>(&self, grouped: &KGroupedStream<K, V>, aggregator: F) -> Self
    where
        F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
    {
        let mut result = self.clone();
        let input: Rc<dyn Input<K, VA>> = Rc::new(Typed { grouped: grouped.clone(), aggregator: Arc::new(aggregator) });
        match result.inputs.iter_mut().find(|other| Rc::ptr_eq(other.identity(), input.identity())) {
            Some(other) => *other = input,
            None => result.inputs.push(input),
        }
        result
    }

    /// Folds the records of all streams into one aggregate for each key.
    pub fn aggregate<I>(&self, initializer: I) -> KTable<K, VA>
    where
        I: Fn() -> VA + Send + Sync + 'static,
    {
        self.aggregate_with(initializer, Materialized::default())
    }

    /// Folds the records of all streams into one aggregate for each key, in the store that `materialized` describes.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let paid = builder.stream::<String, i64>("paid").group_by_key();
    /// let payments = paid.cogroup(|_, paid, sum: i64| Some(sum + paid.unwrap_or(&0)));
    /// payments.aggregate_with(|| 0, Materialized::as_store("payments"));
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate_with<I>(&self, initializer: I, materialized: Materialized<K, VA>) -> KTable<K, VA>
    where
        I: Fn() -> VA + Send + Sync + 'static,
    {
        let initializer: Initializer<VA> = Arc::new(initializer);
        let table = {
            let plan = &mut *self.plan.borrow_mut();
            let store = StoredTable::key_value(plan, &materialized, AGGREGATE);
            let key = plan.need(self.key_serde(materialized.key.as_ref()).as_ref(), "key", &store.name);
            let value = plan.need(materialized.value.as_ref(), "value", &store.name);
            let link = TableLink::new(TableKind::Aggregate, true);
            link.set_history(store.history_ms());
            PlainTable { store, link, key, value }
        };
        let decl = table.store.typed_decl(&table.link, &table.key, &table.value);
        let serdes = (table.key.known(), table.value.known());
        let view = table.store.view(table.key.clone(), table.value.clone());
        self.table(decl, table.link.clone(), &|input, _| input.node(&table, initializer.clone()), serdes, view)
    }
}
