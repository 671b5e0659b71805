//! `KTable`: the newest row of each key.

use super::{
    KStream, Materialized,
    assemble::{Assembly, Built, Factory},
    plan::{Logical, NodeIx, ProcessorPlan, SharedPlan, StoreDecl},
    serdes::Needed,
    stored::{StoredTable, TableView, ViewOf},
    table_link::{TableKind, TableLink},
};
use crate::{
    codec::Serde,
    operator::{
        getter::{FilterGetter, Getter, MapGetter},
        rows::{KeyRows, Rows},
        table_map::{Output, TableMap},
        table_source::TableSource,
        to_stream::ToStream,
    },
};
use std::{collections::BTreeSet, marker::PhantomData, rc::Rc, sync::Arc};

/// A table: the newest row of each key. Its changes flow to its children; its rows can be looked up in joins.
pub struct KTable<K, V> {
    pub(super) plan: SharedPlan,
    pub(super) node: NodeIx,
    pub(super) name: Arc<str>,
    pub(super) key: Option<Serde<K>>,
    pub(super) value: Option<Serde<V>>,
    pub(super) sources: BTreeSet<Arc<str>>,
    pub(super) link: Arc<TableLink>,
    pub(super) view: ViewOf<K, V>,
    pub(super) next_name: Option<String>,
}

impl<K, V> Clone for KTable<K, V> {
    fn clone(&self) -> Self {
        Self {
            plan: self.plan.clone(),
            node: self.node,
            name: self.name.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
            sources: self.sources.clone(),
            link: self.link.clone(),
            view: self.view.clone(),
            next_name: self.next_name.clone(),
        }
    }
}

impl<K: 'static, V: 'static> KTable<K, V> {
    #[allow(clippy::too_many_arguments, reason = "the fields, in one place")]
    pub(super) fn new(
        plan: SharedPlan,
        node: NodeIx,
        name: Arc<str>,
        key: Option<Serde<K>>,
        value: Option<Serde<V>>,
        sources: BTreeSet<Arc<str>>,
        link: Arc<TableLink>,
        view: ViewOf<K, V>,
    ) -> Self {
        Self { plan, node, name, key, value, sources, link, view, next_name: None }
    }

    /// Names the node of the operator that is called on the result, in place of a generated name.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { next_name: Some(name.into()), ..self.clone() }
    }

    /// The changes as a stream of new rows; a deletion is a null value.
    pub fn to_stream(&self) -> KStream<K, V> {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.name(self.next_name.as_deref(), "KTABLE-TOSTREAM-");
        let factory: Factory =
            Arc::new(|asm: &mut Assembly<'_>| Ok(Built::node(ToStream { children: asm.children::<K, V>()? })));
        let processor = ProcessorPlan { name: name.clone(), stores: Vec::new(), connected: Vec::new(), factory };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        let (key, value) = (self.key.clone(), self.value.clone());
        KStream::new(self.plan.clone(), node, name, key, value, self.sources.clone(), false)
    }

    /// Keeps the rows for which `predicate` holds; the others are deleted from the result (D-65).
    pub fn filter<F>(&self, predicate: F) -> Self
    where
        F: Fn(&K, &V) -> bool + Send + Sync + 'static,
        V: Clone,
    {
        self.keep_if(predicate, true, None)
    }

    /// Keeps rows in a store of their own.
    pub fn filter_with<F>(&self, predicate: F, materialized: Materialized<K, V>) -> Self
    where
        F: Fn(&K, &V) -> bool + Send + Sync + 'static,
        V: Clone,
    {
        self.keep_if(predicate, true, Some(materialized))
    }

    /// Drops the rows for which `predicate` holds.
    pub fn filter_not<F>(&self, predicate: F) -> Self
    where
        F: Fn(&K, &V) -> bool + Send + Sync + 'static,
        V: Clone,
    {
        self.keep_if(predicate, false, None)
    }

    /// Drops rows, and keeps the others in a store of their own.
    pub fn filter_not_with<F>(&self, predicate: F, materialized: Materialized<K, V>) -> Self
    where
        F: Fn(&K, &V) -> bool + Send + Sync + 'static,
        V: Clone,
    {
        self.keep_if(predicate, false, Some(materialized))
    }

    fn keep_if<F>(&self, predicate: F, keep: bool, materialized: Option<Materialized<K, V>>) -> Self
    where
        F: Fn(&K, &V) -> bool + Send + Sync + 'static,
        V: Clone,
    {
        let predicate = Arc::new(predicate);
        let parent = self.view.clone();
        let for_view = predicate.clone();
        let computed: ViewOf<K, V> = Rc::new(move || {
            let (TableView { stores, getter }, predicate) = (parent(), for_view.clone());
            let getter = Arc::new(move |asm: &mut Assembly<'_>| {
                let parent = getter(asm)?;
                Ok(Rc::new(FilterGetter { parent, predicate: predicate.clone(), keep }) as Rc<dyn Getter<K, V>>)
            });
            TableView { stores, getter }
        });
        // Old rows are free where the parent keeps its rows, and spare superfluous deletions.
        let sends_old = self.link.need_old(false);
        let compute = move |key: &K, value: &V| (predicate(key, value) == keep).then(|| value.clone());
        let value = self.value.clone();
        self.derived("KTABLE-FILTER-", compute, value, materialized, computed, true, sends_old)
    }

    /// A new value for each row; `None` deletes it from the result (D-66).
    pub fn map_values<V2: 'static, F>(&self, mapper: F) -> KTable<K, V2>
    where
        F: Fn(&V) -> Option<V2> + Send + Sync + 'static,
    {
        self.mapped(move |_, value| mapper(value), None)
    }

    /// A new value for each row, made with the key in sight.
    pub fn map_values_with_key<V2: 'static, F>(&self, mapper: F) -> KTable<K, V2>
    where
        F: Fn(&K, &V) -> Option<V2> + Send + Sync + 'static,
    {
        self.mapped(mapper, None)
    }

    /// A new value for each row, in a store of their own.
    pub fn map_values_stored<V2: 'static, F>(&self, mapper: F, materialized: Materialized<K, V2>) -> KTable<K, V2>
    where
        F: Fn(&K, &V) -> Option<V2> + Send + Sync + 'static,
    {
        self.mapped(mapper, Some(materialized))
    }

    fn mapped<V2: 'static, F>(&self, mapper: F, materialized: Option<Materialized<K, V2>>) -> KTable<K, V2>
    where
        F: Fn(&K, &V) -> Option<V2> + Send + Sync + 'static,
    {
        let mapper = Arc::new(mapper);
        let parent = self.view.clone();
        let for_view = mapper.clone();
        let computed: ViewOf<K, V2> = Rc::new(move || {
            let (TableView { stores, getter }, mapper) = (parent(), for_view.clone());
            let getter = Arc::new(move |asm: &mut Assembly<'_>| {
                let parent = getter(asm)?;
                Ok(Rc::new(MapGetter { parent, mapper: mapper.clone() }) as Rc<dyn Getter<K, V2>>)
            });
            TableView { stores, getter }
        });
        let compute = move |key: &K, value: &V| mapper(key, value);
        self.derived("KTABLE-MAPVALUES-", compute, None, materialized, computed, false, false)
    }

    #[allow(clippy::too_many_arguments, reason = "the ways in which filter and map_values differ")]
    fn derived<V2: 'static, F>(
        &self,
        prefix: &str,
        compute: F,
        value: Option<Serde<V2>>,
        materialized: Option<Materialized<K, V2>>,
        computed: ViewOf<K, V2>,
        skips_nothing: bool,
        sends_old: bool,
    ) -> KTable<K, V2>
    where
        F: Fn(&K, &V) -> Option<V2> + Send + Sync + 'static,
    {
        let plan = &mut *self.plan.borrow_mut();
        if materialized.as_ref().is_some_and(|m| m.name.is_none()) {
            // Kafka Streams burns a number here, and makes no store.
            plan.generate_store(prefix);
        }
        let key = materialized.as_ref().and_then(|m| m.key.clone()).or_else(|| self.key.clone());
        let value = materialized.as_ref().and_then(|m| m.value.clone()).or(value);
        let materializes = materialized.is_some();
        let stored = materialized.filter(|m| m.name.is_some()).map(|m| StoredTable::key_value(plan, &m, prefix));
        let name = plan.name(self.next_name.as_deref(), prefix);
        let link = TableLink::new(TableKind::Derived(self.link.clone()), stored.is_some());
        if materializes {
            // Also without a store it keeps no versions.
            link.set_history(stored.as_ref().and_then(StoredTable::history_ms));
        }
        let parent = self.link.clone();
        if sends_old {
            link.note_old();
        }
        let stored = stored.map(|store| {
            let (key, value) = (plan.need(key.as_ref(), "key", &name), plan.need(value.as_ref(), "value", &name));
            (store, key, value)
        });
        let stores: Vec<StoreDecl> =
            stored.iter().map(|(store, key, value)| store.typed_decl(&link, key, value)).collect();
        let view = match &stored {
            Some((store, key, value)) => store.view(key.clone(), value.clone()),
            None => computed,
        };
        let (compute, for_factory) = (Arc::new(compute), link.clone());
        let factory: Factory = Arc::new(move |asm: &mut Assembly<'_>| {
            let output: Output<K, V2, KeyRows<K>> = match &stored {
                Some((store, key, value)) => {
                    Output::Stored(store.updates(asm, KeyRows(key.get()?), value.get()?, &for_factory)?)
                }
                None => Output::Passing(asm.children()?, for_factory.sends_old()),
            };
            let skips_nothing = skips_nothing && !parent.is_versioned();
            Ok(Built::node(table_map(compute.clone(), output, skips_nothing)))
        });
        let processor = ProcessorPlan { name: name.clone(), stores, connected: Vec::new(), factory };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        KTable::new(self.plan.clone(), node, name, key, value, self.sources.clone(), link, view)
    }
}

fn table_map<K, V, V2, R: Rows<K>, F: Fn(&K, &V) -> Option<V2>>(
    compute: Arc<F>,
    output: Output<K, V2, R>,
    skips_nothing: bool,
) -> TableMap<K, V, V2, R, F> {
    TableMap { compute, output, skips_nothing, takes: PhantomData }
}

/// The node of a source table, which keeps rows only where they are needed.
pub(super) fn table_source_factory<K: 'static, V: Clone + 'static>(
    store: StoredTable,
    link: Arc<TableLink>,
    key: Needed<K>,
    value: Needed<V>,
) -> Factory {
    Arc::new(move |asm: &mut Assembly<'_>| {
        Ok(Built::node::<K, V, _>(if link.stored() {
            TableSource::Stored(store.updates(asm, KeyRows(key.get()?), value.get()?, &link)?)
        } else {
            TableSource::Passing(asm.children()?)
        }))
    })
}
