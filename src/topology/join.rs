//! Joins of a stream with a table.

use super::{
    Joined, KStream, KTable,
    assemble::{Assembly, Built},
    plan::{Logical, Plan, ProcessorPlan, StoreDecl},
    stored::TableView,
};
use crate::{
    codec::Serde,
    fault::Fault,
    operator::{
        stream_table_grace::{StreamTableGraceJoin, Waiting},
        stream_table_join::StreamTableJoin,
    },
    state::{StoreKind, StoreSpec},
};
use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Joins each record with the table's row of its key; a record without one is dropped (D-93).
    ///
    /// Both sides must have the same number of partitions. The stream is repartitioned first if its key was changed.
    pub fn join<VT: 'static, V2: 'static, F>(&self, table: &KTable<K, VT>, joiner: F) -> KStream<K, V2>
    where
        F: Fn(&V, &VT) -> Option<V2> + Send + Sync + 'static,
    {
        self.join_with(table, move |_, value, row| joiner(value, row), Joined::default())
    }

    /// Joins each record with the table's row of its key; the joiner sees the key.
    pub fn join_with<VT: 'static, V2: 'static, F>(
        &self,
        table: &KTable<K, VT>,
        joiner: F,
        joined: Joined<K, V>,
    ) -> KStream<K, V2>
    where
        F: Fn(Option<&K>, &V, &VT) -> Option<V2> + Send + Sync + 'static,
    {
        self.table_join(table, move |key, value, row| row.and_then(|row| joiner(key, value, row)), joined, false)
    }

    /// Joins each record with the table's row of its key, or with `None`; a record without a key too (D-71).
    pub fn left_join<VT: 'static, V2: 'static, F>(&self, table: &KTable<K, VT>, joiner: F) -> KStream<K, V2>
    where
        F: Fn(&V, Option<&VT>) -> Option<V2> + Send + Sync + 'static,
    {
        self.left_join_with(table, move |_, value, row| joiner(value, row), Joined::default())
    }

    /// Joins each record with the table's row of its key, or with `None`; the joiner sees the key.
    pub fn left_join_with<VT: 'static, V2: 'static, F>(
        &self,
        table: &KTable<K, VT>,
        joiner: F,
        joined: Joined<K, V>,
    ) -> KStream<K, V2>
    where
        F: Fn(Option<&K>, &V, Option<&VT>) -> Option<V2> + Send + Sync + 'static,
    {
        self.table_join(table, joiner, joined, true)
    }

    fn table_join<VT: 'static, V2: 'static, F>(
        &self,
        table: &KTable<K, VT>,
        joiner: F,
        joined: Joined<K, V>,
        left: bool,
    ) -> KStream<K, V2>
    where
        F: Fn(Option<&K>, &V, Option<&VT>) -> Option<V2> + Send + Sync + 'static,
    {
        let given = joined.name.as_deref().or(self.next_name.as_deref());
        let stream = self.partitioned_for_join(given, joined.key.as_ref(), joined.value.as_ref());
        let plan = &mut *self.plan.borrow_mut();
        let sources: std::collections::BTreeSet<_> = stream.sources.union(&table.sources).cloned().collect();
        plan.copartitioned.push(sources.clone());
        let name = plan.name(given, if left { "KSTREAM-LEFTJOIN-" } else { "KSTREAM-JOIN-" });
        let view = (table.view)();
        let joiner = Arc::new(joiner);
        if let Some(grace_ms) = joined.grace_ms {
            check_grace(plan, grace_ms, table.link.history_ms(), &name);
            let serdes = (stream.key.as_ref(), stream.value.as_ref());
            let processor = waiting_join(plan, name.clone(), serdes, grace_ms, (view, joiner, left));
            let node = plan.add(&[stream.node], name.clone(), Logical::Processor(processor));
            plan.nodes[node].takes_null_keys = left;
            return KStream::new(self.plan.clone(), node, name, stream.key, None, sources, false);
        }
        let getter = view.getter;
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: Vec::new(),
            connected: view.stores,
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                Ok(Built::node::<K, V, _>(StreamTableJoin {
                    table: getter(asm)?,
                    joiner: joiner.clone(),
                    left,
                    children: asm.children::<K, V2>()?,
                    takes: PhantomData,
                }))
            }),
        };
        let node = plan.add(&[stream.node], name.clone(), Logical::Processor(processor));
        plan.nodes[node].takes_null_keys = left;
        KStream::new(self.plan.clone(), node, name, stream.key, None, sources, false)
    }
}

fn check_grace(plan: &mut Plan, grace_ms: i64, history_ms: Option<i64>, name: &str) {
    let wrong = match history_ms {
        None => "a join with a grace period needs a versioned table".to_owned(),
        Some(history_ms) if history_ms < grace_ms => {
            format!("the table's history of {history_ms} ms is shorter than the join's grace of {grace_ms} ms")
        }
        Some(_) => return,
    };
    let hint = "keep the table's rows with Materialized::as_versioned and a history at least that long";
    plan.error(Fault::stop(wrong).at(format!("node {name}")).hint(hint));
}

/// A join whose stream records wait.
fn waiting_join<K, V, VT, V2, F>(
    plan: &mut Plan,
    name: Arc<str>,
    (key, value): (Option<&Serde<K>>, Option<&Serde<V>>),
    grace_ms: i64,
    (view, joiner, left): (TableView<K, VT>, Arc<F>, bool),
) -> ProcessorPlan
where
    K: 'static,
    V: 'static,
    VT: 'static,
    V2: 'static,
    F: Fn(Option<&K>, &V, Option<&VT>) -> Option<V2> + Send + Sync + 'static,
{
    let (key, value) = (plan.need(key, "key", &name), plan.need(value, "value", &name));
    let store: Arc<str> = format!("{name}-Buffer").into();
    let spec = StoreSpec {
        name: store.clone(),
        kind: StoreKind::KeyValue,
        timestamped: false,
        logged: true,
        changelog_config: BTreeMap::new(),
        cached: false,
        persistent: true,
    };
    let getter = view.getter;
    ProcessorPlan {
        name,
        stores: vec![StoreDecl { spec, types: None, face: None, table: None }],
        connected: view.stores,
        factory: Arc::new(move |asm: &mut Assembly<'_>| {
            let waiting = Waiting {
                store: asm.store(&store)?,
                keys: key.get()?,
                values: value.get()?,
                grace_ms,
                stream_time: asm.time(format!("millstream.time.{store}")),
                sequence: asm.time(format!("millstream.sequence.{store}")),
            };
            Ok(Built::node::<K, V, _>(StreamTableGraceJoin {
                name: asm.name.clone(),
                table: getter(asm)?,
                joiner: joiner.clone(),
                left,
                waiting,
                children: asm.children::<K, V2>()?,
            }))
        }),
    }
}
