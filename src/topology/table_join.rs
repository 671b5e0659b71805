//! Joins of a table with a table by key.

use super::{
    KTable, Materialized,
    assemble::{Assembly, Built},
    plan::{Logical, ProcessorPlan},
    stored::{GetterFactory, StoredTable, TableView, ViewOf},
    table_link::{TableKind, TableLink},
};
use crate::operator::{
    getter::Getter,
    rows::KeyRows,
    table_table_join::{JoinGetter, Needs, TableJoinMerge, TableTableJoin},
};
use std::{collections::BTreeSet, marker::PhantomData, rc::Rc, sync::Arc};

impl<K: 'static, V: 'static> KTable<K, V> {
    /// The table of the keys that both tables have (D-99). A change of either side gives one change of the result, with
    /// the greater of the two rows' times; `None` from the joiner, or the end of one of the rows, deletes the result.
    ///
    /// Both topics must have the same number of partitions, or the topology does not resolve. Both tables keep their
    /// rows. A null key is dropped and counted (D-73), as is an out-of-order change of a versioned table (D-102).
    ///
    /// ```
    /// use millstream::{codec::serdes, testing::TestDriver, topology::StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// let (names, towns) = (builder.table::<String, String>("names"), builder.table::<String, String>("towns"));
    /// names.join(&towns, |name, town| Some(format!("{name} in {town}"))).to_stream().to("people");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// let text = serdes::string();
    /// for (topic, value) in [("names", "Ann"), ("towns", "Rome"), ("names", "Anna")] {
    ///     driver.pipe(topic, &text, &text, Some(&"1".to_owned()), Some(&value.to_owned()), 0).unwrap();
    /// }
    /// let people = driver.read("people", &text, &text).unwrap();
    /// let values: Vec<_> = people.iter().filter_map(|record| record.value.as_deref()).collect();
    /// assert_eq!(values, ["Ann in Rome", "Anna in Rome"]);
    /// ```
    pub fn join<VO, VR, F>(&self, other: &KTable<K, VO>, joiner: F) -> KTable<K, VR>
    where
        VO: 'static,
        VR: Clone + 'static,
        F: Fn(&V, &VO) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_tables(other, both(joiner), Needs { mine: true, other: true }, None)
    }

    /// As [`KTable::join`], and keeps the rows of the result. Without a name the store gets a generated one.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let (a, b) = (builder.table::<String, i64>("a"), builder.table::<String, i64>("b"));
    /// a.join_with(&b, |a, b| Some(a + b), Materialized::as_store("sums"));
    /// assert!(builder.build().unwrap().describe().contains("(stores: [sums])"));
    /// ```
    pub fn join_with<VO, VR, F>(
        &self,
        other: &KTable<K, VO>,
        joiner: F,
        materialized: Materialized<K, VR>,
    ) -> KTable<K, VR>
    where
        VO: 'static,
        VR: Clone + 'static,
        F: Fn(&V, &VO) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_tables(other, both(joiner), Needs { mine: true, other: true }, Some(materialized))
    }

    /// The table of this table's keys, joined with the other's row or with `None` (D-100). Otherwise as [`KTable::join`].
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// # let (stock, price) = (builder.table::<String, i64>("stock"), builder.table::<String, i64>("price"));
    /// stock.left_join(&price, |stock, price| Some(stock * price.unwrap_or(&0))).to_stream().to("worth");
    /// # builder.build().unwrap();
    /// ```
    pub fn left_join<VO, VR, F>(&self, other: &KTable<K, VO>, joiner: F) -> KTable<K, VR>
    where
        VO: 'static,
        VR: Clone + 'static,
        F: Fn(&V, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_tables(other, left(joiner), Needs { mine: true, other: false }, None)
    }

    /// As [`KTable::left_join`], and keeps the rows of the result.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let (a, b) = (builder.table::<String, i64>("a"), builder.table::<String, i64>("b"));
    /// a.left_join_with(&b, |a, b| Some(a + b.unwrap_or(&0)), Materialized::as_store("sums"));
    /// # builder.build().unwrap();
    /// ```
    pub fn left_join_with<VO, VR, F>(
        &self,
        other: &KTable<K, VO>,
        joiner: F,
        materialized: Materialized<K, VR>,
    ) -> KTable<K, VR>
    where
        VO: 'static,
        VR: Clone + 'static,
        F: Fn(&V, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_tables(other, left(joiner), Needs { mine: true, other: false }, Some(materialized))
    }

    /// The table of the keys that either table has (D-101). Otherwise as [`KTable::join`].
    ///
    /// ```
    /// # use millstream::topology::StreamsBuilder;
    /// # let builder = StreamsBuilder::new();
    /// # let (old, new) = (builder.table::<String, i64>("old"), builder.table::<String, i64>("new"));
    /// old.outer_join(&new, |old, new| new.or(old).copied()).to_stream().to("newest");
    /// # builder.build().unwrap();
    /// ```
    pub fn outer_join<VO, VR, F>(&self, other: &KTable<K, VO>, joiner: F) -> KTable<K, VR>
    where
        VO: 'static,
        VR: Clone + 'static,
        F: Fn(Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_tables(other, joiner, Needs { mine: false, other: false }, None)
    }

    /// As [`KTable::outer_join`], and keeps the rows of the result.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let (a, b) = (builder.table::<String, i64>("a"), builder.table::<String, i64>("b"));
    /// a.outer_join_with(&b, |a, b| a.or(b).copied(), Materialized::as_store("any"));
    /// # builder.build().unwrap();
    /// ```
    pub fn outer_join_with<VO, VR, F>(
        &self,
        other: &KTable<K, VO>,
        joiner: F,
        materialized: Materialized<K, VR>,
    ) -> KTable<K, VR>
    where
        VO: 'static,
        VR: Clone + 'static,
        F: Fn(Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_tables(other, joiner, Needs { mine: false, other: false }, Some(materialized))
    }

    fn join_tables<VO, VR, F>(
        &self,
        other: &KTable<K, VO>,
        joiner: F,
        needs: Needs,
        materialized: Option<Materialized<K, VR>>,
    ) -> KTable<K, VR>
    where
        VO: 'static,
        VR: Clone + 'static,
        F: Fn(Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        let plan = &mut *self.plan.borrow_mut();
        let given = self.next_name.as_deref();
        let stored = materialized.as_ref().map(|m| StoredTable::key_value(plan, m, "KTABLE-MERGE-"));
        let name = plan.name(given, "KTABLE-MERGE-");
        let this_name = plan.name_suffixed(given, "-join-this", "KTABLE-JOINTHIS-");
        let other_name = plan.name_suffixed(given, "-join-other", "KTABLE-JOINOTHER-");
        let sources: BTreeSet<_> = self.sources.union(&other.sources).cloned().collect();
        plan.copartitioned.push(sources.clone());
        // A side whose rows may end without the other's shows its deletions only where it knows its old rows.
        if !needs.other {
            self.link.need_old(true);
        }
        if !needs.mine {
            other.link.need_old(true);
        }
        let link = TableLink::new(TableKind::Joined(self.link.clone(), other.link.clone()), stored.is_some());
        let views = ((self.view)(), (other.view)());
        let joiner = Arc::new(joiner);
        let reversed = {
            let joiner = joiner.clone();
            Arc::new(move |mine: Option<&VO>, other: Option<&V>| joiner(other, mine))
        };
        let this = side(this_name.clone(), &views.1, joiner.clone(), needs, [&self.link, &link]);
        let that = side(other_name.clone(), &views.0, reversed, needs.reversed(), [&other.link, &link]);

        let (key, value) = match materialized {
            Some(m) => (m.key.or_else(|| self.key.clone()), m.value),
            None => (self.key.clone(), None),
        };
        let stored = stored
            .map(|store| (store, plan.need(key.as_ref(), "key", &name), plan.need(value.as_ref(), "value", &name)));
        let view: ViewOf<K, VR> = match &stored {
            Some((store, key, value)) => store.view(key.clone(), value.clone()),
            None => joined_view(self.view.clone(), other.view.clone(), joiner, needs),
        };
        let merge = ProcessorPlan {
            name: name.clone(),
            stores: stored.iter().map(|(store, key, value)| store.typed_decl(&link, key, value)).collect(),
            connected: Vec::new(),
            factory: {
                let link = link.clone();
                Arc::new(move |asm: &mut Assembly<'_>| {
                    Ok(Built::node::<K, crate::record::Change<VR>, _>(match &stored {
                        Some((store, key, value)) => {
                            TableJoinMerge::Stored(store.updates(asm, KeyRows(key.get()?), value.get()?, &link)?)
                        }
                        None => TableJoinMerge::Passing(asm.children()?),
                    }))
                })
            },
        };
        let parts = vec![
            (this, vec![self.name.clone()]),
            (that, vec![other.name.clone()]),
            (merge, vec![this_name, other_name]),
        ];
        let node = plan.add(&[self.node, other.node], name.clone(), Logical::Processors(parts));
        KTable::new(self.plan.clone(), node, name, key, value, sources, link, view)
    }
}

fn both<V, VO, VR>(joiner: impl Fn(&V, &VO) -> Option<VR>) -> impl Fn(Option<&V>, Option<&VO>) -> Option<VR> {
    move |this, other| joiner(this?, other?)
}

fn left<V, VO, VR>(joiner: impl Fn(&V, Option<&VO>) -> Option<VR>) -> impl Fn(Option<&V>, Option<&VO>) -> Option<VR> {
    move |this, other| joiner(this?, other)
}

/// The processor of one side, which looks `other` up; its changes come from the first link.
fn side<K, V, VO, VR, F>(
    name: Arc<str>,
    other: &TableView<K, VO>,
    joiner: Arc<F>,
    needs: Needs,
    [mine, link]: [&Arc<TableLink>; 2],
) -> ProcessorPlan
where
    K: 'static,
    V: 'static,
    VO: 'static,
    VR: 'static,
    F: Fn(Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
{
    let (getter, mine, link): (GetterFactory<K, VO>, _, _) = (other.getter.clone(), mine.clone(), link.clone());
    ProcessorPlan {
        name,
        stores: Vec::new(),
        connected: other.stores.clone(),
        factory: Arc::new(move |asm: &mut Assembly<'_>| {
            Ok(Built::node(TableTableJoin::<K, V, VO, VR, F> {
                other: getter(asm)?,
                joiner: joiner.clone(),
                needs,
                sends_old: link.sends_old(),
                versioned: mine.is_versioned(),
                children: asm.children()?,
                takes: PhantomData,
            }))
        }),
    }
}

/// Rows of a join that keeps none.
fn joined_view<K, V, VO, VR, F>(this: ViewOf<K, V>, other: ViewOf<K, VO>, joiner: Arc<F>, needs: Needs) -> ViewOf<K, VR>
where
    K: 'static,
    V: 'static,
    VO: 'static,
    VR: 'static,
    F: Fn(Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
{
    Rc::new(move || {
        let (this, other, joiner) = (this(), other(), joiner.clone());
        let mut stores = this.stores;
        stores.extend(other.stores);
        let (this, other) = (this.getter, other.getter);
        let getter: GetterFactory<K, VR> = Arc::new(move |asm: &mut Assembly<'_>| {
            let getter = JoinGetter { this: this(asm)?, other: other(asm)?, joiner: joiner.clone(), needs };
            Ok(Rc::new(getter) as Rc<dyn Getter<K, VR>>)
        });
        TableView { stores, getter }
    })
}
