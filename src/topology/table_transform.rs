//! Tables computed by transformers.

use super::{
    KTable, Materialized,
    assemble::{Assembly, Built},
    plan::{Logical, ProcessorPlan, StoreDecl},
    process::place,
    stored::{StoredTable, TableView, ViewOf},
    table_link::{TableKind, TableLink},
};
use crate::{
    fault::Result,
    operator::{
        ValueTransformer,
        getter::Getter,
        rows::KeyRows,
        table_map::Output,
        table_transform::{TableTransform, TransformGetter, Transformer},
    },
    record::Change,
};
use std::{cell::RefCell, marker::PhantomData, rc::Rc, sync::Arc};

impl<K: 'static, V: 'static> KTable<K, V> {
    /// A new value for each row, made by a transformer that has the key-value stores in `stores` at hand; `supplier`
    /// makes one for each task. Deleted rows are transformed too.
    ///
    /// ```
    /// use millstream::{codec::serdes, fault::Result, operator::ProcessingContext};
    /// use millstream::topology::{StoreBuilder, StreamsBuilder, ValueTransformer};
    ///
    /// struct Versions;
    ///
    /// impl ValueTransformer<String, String, i64> for Versions {
    ///     fn transform(&mut self, cx: &mut ProcessingContext<'_>, key: &String, _: Option<&String>) -> Result<Option<i64>> {
    ///         let mut seen = cx.store::<String, i64>("seen")?;
    ///         let n = seen.get(key)?.unwrap_or(0) + 1;
    ///         seen.put(key, &n)?;
    ///         Ok(Some(n))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.add_state_store(StoreBuilder::key_value("seen", serdes::string(), serdes::i64()));
    /// let pages = builder.table::<String, String>("pages");
    /// pages.transform_values(|| Versions, &["seen"]).to_stream().to("versions");
    /// # builder.build().unwrap();
    /// ```
    pub fn transform_values<V2, T, F>(&self, supplier: F, stores: &[&str]) -> KTable<K, V2>
    where
        V2: 'static,
        T: ValueTransformer<K, V, V2> + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        self.transformed(supplier, stores, None)
    }

    /// As [`KTable::transform_values`], in the store that `materialized` names.
    ///
    /// ```
    /// # use millstream::{fault::Result, operator::ProcessingContext};
    /// # use millstream::topology::{Materialized, StreamsBuilder, ValueTransformer};
    /// # struct Length;
    /// # impl ValueTransformer<String, String, i64> for Length {
    /// #     fn transform(&mut self, _: &mut ProcessingContext<'_>, _: &String, v: Option<&String>) -> Result<Option<i64>> {
    /// #         Ok(v.map(|v| v.len() as i64))
    /// #     }
    /// # }
    /// # let builder = StreamsBuilder::new();
    /// # let pages = builder.table::<String, String>("pages");
    /// pages.transform_values_with(|| Length, &[], Materialized::as_store("lengths"));
    /// # builder.build().unwrap();
    /// ```
    pub fn transform_values_with<V2, T, F>(
        &self,
        supplier: F,
        stores: &[&str],
        materialized: Materialized<K, V2>,
    ) -> KTable<K, V2>
    where
        V2: 'static,
        T: ValueTransformer<K, V, V2> + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        self.transformed(supplier, stores, Some(materialized))
    }

    fn transformed<V2, T, F>(
        &self,
        supplier: F,
        stores: &[&str],
        materialized: Option<Materialized<K, V2>>,
    ) -> KTable<K, V2>
    where
        V2: 'static,
        T: ValueTransformer<K, V, V2> + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        const PREFIX: &str = "KTABLE-TRANSFORMVALUES-";
        let connected: Vec<Arc<str>> = stores.iter().map(|s| Arc::from(*s)).collect();
        let names = connected.clone();
        let make = Arc::new(move |asm: &Assembly<'_>| -> Result<Transformer<K, V, V2>> {
            let transformer: Box<dyn ValueTransformer<K, V, V2>> = Box::new(supplier());
            Ok(Transformer { transformer: RefCell::new(transformer), place: place(asm, &names)? })
        });
        let plan = &mut *self.plan.borrow_mut();
        if materialized.as_ref().is_some_and(|m| m.name.is_none()) {
            // Kafka Streams burns a number here, and makes no store.
            plan.generate_store(PREFIX);
        }
        let key = materialized.as_ref().and_then(|m| m.key.clone()).or_else(|| self.key.clone());
        let value = materialized.as_ref().and_then(|m| m.value.clone());
        let materializes = materialized.is_some();
        let stored = materialized.filter(|m| m.name.is_some()).map(|m| StoredTable::key_value(plan, &m, PREFIX));
        let name = plan.name(self.next_name.as_deref(), PREFIX);
        let link = TableLink::new(TableKind::Derived(self.link.clone()), stored.is_some());
        if materializes {
            // Also without a store it keeps no versions.
            link.set_history(stored.as_ref().and_then(StoredTable::history_ms));
        }
        let stored = stored.map(|store| {
            let (key, value) = (plan.need(key.as_ref(), "key", &name), plan.need(value.as_ref(), "value", &name));
            (store, key, value)
        });
        let stores: Vec<StoreDecl> =
            stored.iter().map(|(store, key, value)| store.typed_decl(&link, key, value)).collect();
        let view = match &stored {
            Some((store, key, value)) => store.view(key.clone(), value.clone()),
            None => self.transformed_view(make.clone()),
        };
        let for_factory = link.clone();
        let processor = ProcessorPlan {
            name: name.clone(),
            stores,
            connected,
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                let output: Output<K, V2, KeyRows<K>> = match &stored {
                    Some((store, key, value)) => {
                        Output::Stored(store.updates(asm, KeyRows(key.get()?), value.get()?, &for_factory)?)
                    }
                    None => Output::Passing(asm.children()?, for_factory.sends_old()),
                };
                let transformer = make(asm)?;
                Ok(Built::node::<K, Change<V>, _>(TableTransform { transformer, output, takes: PhantomData }))
            }),
        };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        KTable::new(self.plan.clone(), node, name, key, value, self.sources.clone(), link, view)
    }

    /// Rows transformed as they are looked up. As in Kafka Streams a reader is connected to this table's store, and not
    /// to those of the transformer.
    fn transformed_view<V2: 'static>(
        &self,
        make: Arc<impl Fn(&Assembly<'_>) -> Result<Transformer<K, V, V2>> + Send + Sync + 'static>,
    ) -> ViewOf<K, V2> {
        let parent = self.view.clone();
        Rc::new(move || {
            let (TableView { stores, getter }, make) = (parent(), make.clone());
            let getter = Arc::new(move |asm: &mut Assembly<'_>| {
                let (parent, transformer) = (getter(asm)?, make(asm)?);
                Ok(Rc::new(TransformGetter { parent, transformer }) as Rc<dyn Getter<K, V2>>)
            });
            TableView { stores, getter }
        })
    }
}
