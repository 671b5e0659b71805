//! Processors whose failing records are tried again later.

use super::{
    KStream, Retry,
    assemble::{Assembly, Built},
    plan::{Changes, Logical, ProcessorPlan, StoreDecl},
    process::surroundings,
};
use crate::{
    operator::{Processor, processor::UserNode, retry::RetryNode},
    state::{StoreKind, StoreSpec},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::Arc,
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// As [`KStream::process`], and a record that the processor fails on, or panics, is given to it again later: after a
    /// delay by the wall clock, so often as [`Retry`] says. In the end it goes to the dead-letter topic with the input record's
    /// bytes and KIP-1034's headers, and the stream goes on; where no dead-letter topic is named, handler or setting
    /// `processing.exception.handler` decide. [`Fault::skip`](crate::fault::Fault::skip) says that no other attempt can
    /// help: the record is given up at once.
    ///
    /// Records wait in a store, in the same transaction as all else: nothing waits twice or is forgotten, whatever crashes,
    /// and the stream thread never does. Meanwhile later records of the same key wait behind it, unless [`Retry`] gives the order up.
    /// An attempt is the call of the processor with all that it forwards. What an attempt did to stores before it failed
    /// stays (R-102): what can fail should come first.
    ///
    /// ```
    /// use millstream::{
    ///     codec::serdes, fault::{Fault, Result}, record::Record, testing::TestDriver,
    ///     topology::{Processor, ProcessorContext, Retry, StreamsBuilder},
    /// };
    /// use std::time::Duration;
    ///
    /// /// Pays, once the bank is open.
    /// struct Pay;
    ///
    /// impl Processor<String, i64, String, i64> for Pay {
    ///     fn process(&mut self, cx: &mut ProcessorContext<'_, String, i64>, record: Record<'_, String, i64>) -> Result<()> {
    ///         if cx.system_time() < 1_500 {
    ///             return Err(Fault::retry("the bank is closed"));
    ///         }
    ///         cx.forward(record)
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let retry = Retry::as_store("payment-retries").attempts(5).delay(Duration::from_secs(1));
    /// builder.stream::<String, i64>("payments").process_with_retries(|| Pay, &[], retry).to("paid");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// driver.pipe("payments", &serdes::string(), &serdes::i64(), Some(&"ann".into()), Some(&7), 0).unwrap();
    /// driver.advance(Duration::from_secs(1)).unwrap();
    /// assert!(driver.read_raw("paid").unwrap().is_empty());
    /// driver.advance(Duration::from_secs(1)).unwrap();
    /// assert_eq!(driver.read("paid", &serdes::string(), &serdes::i64()).unwrap()[0].value, Some(7));
    /// ```
    pub fn process_with_retries<K2: 'static, V2: 'static, P, F>(
        &self,
        supplier: F,
        stores: &[&str],
        retry: Retry<K, V>,
    ) -> KStream<K2, V2>
    where
        P: Processor<K, V, K2, V2> + 'static,
        F: Fn() -> P + Send + Sync + 'static,
    {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.processor_name(self.next_name.as_deref(), "KSTREAM-PROCESSOR-");
        retry.check(plan);
        let key = plan.need(retry.key.as_ref().or(self.key.as_ref()), "key", &name);
        let value = plan.need(retry.value.as_ref().or(self.value.as_ref()), "value", &name);
        let spec = StoreSpec {
            name: retry.store.clone(),
            kind: StoreKind::KeyValue,
            timestamped: false,
            logged: true,
            changelog_config: BTreeMap::new(),
            cached: false,
            persistent: true,
        };
        let connected: Vec<Arc<str>> = stores.iter().map(|s| Arc::from(*s)).collect();
        let (names, own, rule) = (connected.clone(), retry.store, Arc::new(retry.rule));
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: vec![StoreDecl { spec, types: None, face: None, table: None }],
            connected,
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                let around = surroundings::<K2, V2>(asm, &names)?;
                let processor: Box<dyn Processor<K, V, K2, V2>> = Box::new(supplier());
                Ok(Built::node::<K, V, _>(RetryNode {
                    user: UserNode { processor: RefCell::new(processor), around },
                    store: asm.store(&own)?,
                    key: key.get()?,
                    value: value.get()?,
                    rule: rule.clone(),
                    waiting: Cell::new(0),
                    alarm: Cell::new(None),
                }))
            }),
        };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        plan.nodes[node].changes = Changes::of("KSTREAM-PROCESSOR-");
        KStream::new(self.plan.clone(), node, name, None, None, self.sources.clone(), true)
    }
}
