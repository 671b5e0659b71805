//! Processors in a stream.

use super::{
    KStream,
    assemble::{Assembly, Built},
    plan::{Logical, ProcessorPlan},
};
use crate::operator::{
    Processor,
    processor::{Surroundings, UserNode},
};
use std::{cell::RefCell, sync::Arc};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Runs a processor on each record; `supplier` makes one for each task. It may use the key-value
    /// stores in `stores`: those of [`StreamsBuilder::add_state_store`](super::StreamsBuilder::add_state_store), and
    /// those of tables. Grouping or joining the
    /// result repartitions, as the processor may change the key.
    pub fn process<K2: 'static, V2: 'static, P, F>(&self, supplier: F, stores: &[&str]) -> KStream<K2, V2>
    where
        P: Processor<K, V, K2, V2> + 'static,
        F: Fn() -> P + Send + Sync + 'static,
    {
        let plan = &mut *self.plan.borrow_mut();
        let name: Arc<str> = match &self.next_name {
            Some(name) => {
                plan.check_name(name);
                name.as_str().into()
            }
            None => plan.generate("KSTREAM-PROCESSOR-"),
        };
        let connected: Vec<Arc<str>> = stores.iter().map(|s| Arc::from(*s)).collect();
        let names = connected.clone();
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: Vec::new(),
            connected,
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                let mut stores = std::collections::BTreeMap::new();
                for name in &names {
                    stores.insert(name.clone(), (asm.store(name)?, asm.store_types(name)?));
                }
                let around = Surroundings {
                    name: asm.name.clone(),
                    node: asm.node,
                    child_names: asm.child_names(),
                    children: asm.children::<K2, V2>()?,
                    stores,
                };
                let processor: Box<dyn Processor<K, V, K2, V2>> = Box::new(supplier());
                Ok(Built::node(UserNode { processor: RefCell::new(processor), around }))
            }),
        };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        KStream::new(self.plan.clone(), node, name, None, None, self.sources.clone(), true)
    }
}
