//! Processors that keep the key.

use super::{
    KStream,
    assemble::{Assembly, Built},
    plan::{Changes, Logical, ProcessorPlan},
    process::surroundings,
};
use crate::operator::{FixedKeyProcessor, fixed_key::FixedKeyNode};
use std::{cell::RefCell, sync::Arc};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Runs a processor that keeps the key on each record (D-26); `supplier` makes one for each task. It may use the
    /// stores in `stores`. What follows needs no repartition.
    ///
    /// ```
    /// use millstream::{fault::Result, topology::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, StreamsBuilder}};
    ///
    /// struct Shout;
    ///
    /// impl FixedKeyProcessor<String, String, String> for Shout {
    ///     fn process(
    ///         &mut self,
    ///         cx: &mut FixedKeyContext<'_, String, String>,
    ///         record: FixedKeyRecord<'_, String, String>,
    ///     ) -> Result<()> {
    ///         let loud = record.value().map(|text| text.to_uppercase());
    ///         cx.forward(record.with_value(loud.as_ref()))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("words").process_values(|| Shout, &[]).group_by_key().count();
    /// assert!(!builder.build().unwrap().describe().contains("repartition"));
    /// ```
    pub fn process_values<V2: 'static, P, F>(&self, supplier: F, stores: &[&str]) -> KStream<K, V2>
    where
        P: FixedKeyProcessor<K, V, V2> + 'static,
        F: Fn() -> P + Send + Sync + 'static,
    {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.processor_name(self.next_name.as_deref(), "KSTREAM-PROCESSVALUES-");
        let connected: Vec<Arc<str>> = stores.iter().map(|s| Arc::from(*s)).collect();
        let names = connected.clone();
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: Vec::new(),
            connected,
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                let processor: Box<dyn FixedKeyProcessor<K, V, V2>> = Box::new(supplier());
                let around = surroundings::<K, V2>(asm, &names)?;
                Ok(Built::node::<K, V, _>(FixedKeyNode { processor: RefCell::new(processor), around }))
            }),
        };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        plan.nodes[node].changes = Changes::of("KSTREAM-PROCESSVALUES-");
        let key = self.key.clone();
        KStream::new(self.plan.clone(), node, name, key, None, self.sources.clone(), self.repartition)
    }
}
