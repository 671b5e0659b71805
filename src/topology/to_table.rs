//! A stream read as a table.

use super::{
    KStream, KTable, Materialized,
    plan::{Logical, ProcessorPlan},
    repartition::{Repartitioning, repartition_plan},
    stored::StoredTable,
    table::table_source_factory,
    table_link::{TableKind, TableLink},
};
use std::collections::BTreeSet;

impl<K: 'static, V: Clone + 'static> KStream<K, V> {
    /// The stream read as a table (D-19): each record is the new row of its key, a null value deletes it, a null key is
    /// dropped and counted. Repartitions if the key was changed. Rows are kept where an operator needs them.
    ///
    /// ```
    /// use millstream::{codec::serdes, testing::TestDriver, topology::StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// let newest = builder.stream::<String, String>("moves").to_table();
    /// builder.stream::<String, String>("calls").join(&newest, |call, place| Some(format!("{call} from {place}"))).to("out");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// let text = serdes::string();
    /// for (topic, value) in [("moves", "Rome"), ("moves", "Oslo"), ("calls", "hello")] {
    ///     driver.pipe(topic, &text, &text, Some(&"ann".to_owned()), Some(&value.to_owned()), 0).unwrap();
    /// }
    /// assert_eq!(driver.read("out", &text, &text).unwrap()[0].value.as_deref(), Some("hello from Oslo"));
    /// ```
    pub fn to_table(&self) -> KTable<K, V> {
        self.to_table_with(Materialized::default())
    }

    /// As [`KStream::to_table`], in the store that `materialized` describes.
    ///
    /// ```
    /// # use millstream::topology::{Materialized, StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("moves").to_table_with(Materialized::as_store("places"));
    /// assert!(builder.build().unwrap().describe().contains("(stores: [places])"));
    /// ```
    pub fn to_table_with(&self, materialized: Materialized<K, V>) -> KTable<K, V> {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.name(self.next_name.as_deref(), "KSTREAM-TOTABLE-");
        let store = StoredTable::key_value(plan, &materialized, "KSTREAM-TOTABLE-");
        let key = plan.need(materialized.key.as_ref().or(self.key.as_ref()), "key", &name);
        let value = plan.need(materialized.value.as_ref().or(self.value.as_ref()), "value", &name);
        let (mut parent, mut sources) = (self.node, self.sources.clone());
        if self.repartition {
            let (key, value) = (key.known(), value.known());
            let how = Repartitioning { key: key.as_ref(), value: value.as_ref(), partitions: None, partitioner: None };
            let what = repartition_plan::<K, V>(plan, &name, how);
            let source = what.source.name.clone();
            parent = plan.add(&[self.node], source.clone(), Logical::Repartition(what));
            sources = BTreeSet::from([source]);
        }
        let link = TableLink::new(TableKind::Source, materialized.name.is_some());
        link.set_history(store.history_ms());
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: vec![store.typed_decl(&link, &key, &value)],
            connected: Vec::new(),
            factory: table_source_factory(store.clone(), link.clone(), key.clone(), value.clone()),
        };
        let node = plan.add(&[parent], name.clone(), Logical::Processor(processor));
        let (known_key, known_value) = (key.known(), value.known());
        let view = store.view_of_source(link.clone(), key, value);
        KTable::new(self.plan.clone(), node, name, known_key, known_value, sources, link, view)
    }
}
