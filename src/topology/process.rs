//! Processors in a stream.

use super::{
    GlobalTable, KStream,
    assemble::{Assembly, Built},
    plan::{Changes, Logical, Plan, ProcessorPlan},
};
use crate::{
    fault::Result,
    operator::{
        Processor,
        processing::Place,
        processor::{Surroundings, UserNode},
    },
};
use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

impl Plan {
    /// The given name, else a generated one. Unlike other operators a processor with a name burns no number.
    pub(super) fn processor_name(&mut self, given: Option<&str>, prefix: &str) -> Arc<str> {
        match given {
            Some(name) => {
                self.check_name(name);
                name.into()
            }
            None => self.generate(prefix),
        }
    }
}

/// Node and stores of a processor.
pub(super) fn place(asm: &Assembly<'_>, names: &[Arc<str>]) -> Result<Place> {
    let mut stores = BTreeMap::new();
    for name in names {
        stores.insert(name.clone(), (asm.store(name)?, asm.store_types(name)?));
    }
    let read_only = names.iter().filter(|name| asm.read_only.contains(*name)).cloned().collect();
    let global = |table: &GlobalTable| {
        let name = table.store.name();
        Some((name.clone(), (table.store.clone(), asm.types.get(name)?.clone())))
    };
    let globals = asm.resolved.globals.iter().filter_map(global).collect();
    Ok(Place { name: asm.name.clone(), node: asm.node, stores, read_only, globals })
}

/// Node, stores and children of a processor.
pub(super) fn surroundings<K: 'static, V: 'static>(
    asm: &Assembly<'_>,
    names: &[Arc<str>],
) -> Result<Surroundings<K, V>> {
    Ok(Surroundings { place: place(asm, names)?, child_names: asm.child_names(), children: asm.children()? })
}

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Runs a processor on each record (D-25); `supplier` makes one for each task. It may use the stores in `stores`:
    /// those of [`StreamsBuilder::add_state_store`](super::StreamsBuilder::add_state_store), and those of tables.
    /// Grouping or joining the result repartitions, as the processor may change the key.
    ///
    /// ```
    /// use millstream::{fault::Result, record::Record, topology::{Processor, ProcessorContext, StreamsBuilder}};
    ///
    /// struct Twice;
    ///
    /// impl Processor<String, String, String, String> for Twice {
    ///     fn process(
    ///         &mut self,
    ///         cx: &mut ProcessorContext<'_, String, String>,
    ///         record: Record<'_, String, String>,
    ///     ) -> Result<()> {
    ///         cx.forward(record)?;
    ///         cx.forward(record)
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in").process(|| Twice, &[]).to("out");
    /// # builder.build().unwrap();
    /// ```
    pub fn process<K2: 'static, V2: 'static, P, F>(&self, supplier: F, stores: &[&str]) -> KStream<K2, V2>
    where
        P: Processor<K, V, K2, V2> + 'static,
        F: Fn() -> P + Send + Sync + 'static,
    {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.processor_name(self.next_name.as_deref(), "KSTREAM-PROCESSOR-");
        let connected: Vec<Arc<str>> = stores.iter().map(|s| Arc::from(*s)).collect();
        let names = connected.clone();
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: Vec::new(),
            connected,
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                let around = surroundings::<K2, V2>(asm, &names)?;
                let processor: Box<dyn Processor<K, V, K2, V2>> = Box::new(supplier());
                Ok(Built::node(UserNode { processor: RefCell::new(processor), around }))
            }),
        };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        plan.nodes[node].changes = Changes::of("KSTREAM-PROCESSOR-");
        KStream::new(self.plan.clone(), node, name, None, None, self.sources.clone(), true)
    }
}
