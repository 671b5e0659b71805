//! Joins of a stream with a table.

use super::{
    Joined, KStream, KTable,
    assemble::{Assembly, Built},
    plan::{Logical, ProcessorPlan},
};
use crate::operator::stream_table_join::StreamTableJoin;
use std::{marker::PhantomData, sync::Arc};

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
