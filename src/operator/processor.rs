//! Processors written by users: any number of records out for each one in, with stores and schedules.

use super::{Children, Context, Node, Process, Punctuation, ScheduleId, store_view::KeyValueStore};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::{Record, SourceContext, StoreIx, TaskId, Timestamp},
};
use std::{any::Any, cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

/// A processor of one task. Its fields are lost with an abort, when a new one is made: what must survive belongs into a
/// store.
///
/// ```
/// use millstream::{fault::Result, operator::{Processor, ProcessorContext}, record::Record};
///
/// /// Forwards each value twice.
/// struct Twice;
///
/// impl Processor<String, i64, String, i64> for Twice {
///     fn process(&mut self, cx: &mut ProcessorContext<'_, String, i64>, record: Record<'_, String, i64>) -> Result<()> {
///         cx.forward(record)?;
///         cx.forward(record)
///     }
/// }
/// ```
pub trait Processor<KIn, VIn, KOut, VOut> {
    /// Called once before the first record: the place to start schedules.
    ///
    /// # Errors
    /// When the processor refuses to start.
    fn init(&mut self, _cx: &mut ProcessorContext<'_, KOut, VOut>) -> Result<()> {
        Ok(())
    }

    /// Handles one record.
    ///
    /// # Errors
    /// A [`Fault`] that says what to do about it: [`Fault::skip`], [`Fault::stop`], ...
    fn process(&mut self, cx: &mut ProcessorContext<'_, KOut, VOut>, record: Record<'_, KIn, VIn>) -> Result<()>;

    /// A schedule is due. `timestamp` is the stream time or wall clock, not the time at which it was due (P-23).
    ///
    /// # Errors
    /// As [`Processor::process`].
    fn punctuate(
        &mut self,
        _cx: &mut ProcessorContext<'_, KOut, VOut>,
        _schedule: ScheduleId,
        _timestamp: Timestamp,
    ) -> Result<()> {
        Ok(())
    }

    /// Called once when the task closes.
    ///
    /// # Errors
    /// When the processor fails to close.
    fn close(&mut self, _cx: &mut ProcessorContext<'_, KOut, VOut>) -> Result<()> {
        Ok(())
    }
}

/// The serdes of a store, for the processors that are connected to it.
pub(crate) struct StoreTypes<K, V> {
    pub key: Serde<K>,
    pub value: Serde<V>,
}

/// A store that a processor is connected to: its place, and its [`StoreTypes`].
pub(crate) type Connected = (StoreIx, Arc<dyn Any + Send + Sync>);

/// What a processor's context is made of.
pub(crate) struct Surroundings<K, V> {
    pub name: Arc<str>,
    pub node: usize,
    pub child_names: Vec<Arc<str>>,
    pub children: Children<K, V>,
    pub stores: BTreeMap<Arc<str>, Connected>,
}

/// What a processor may ask of its task.
pub struct ProcessorContext<'a, K, V> {
    cx: &'a mut dyn Context,
    around: &'a Surroundings<K, V>,
    timestamp: Timestamp,
}

impl<K, V> ProcessorContext<'_, K, V> {
    /// Hands a record to every child, in order of connection, before it returns.
    ///
    /// # Errors
    /// The first failure downstream.
    pub fn forward(&mut self, record: Record<'_, K, V>) -> Result<()> {
        self.around.children.forward(self.cx, record)
    }

    /// Hands a record to one child.
    ///
    /// # Errors
    /// When there is no such child, or it fails.
    pub fn forward_to(&mut self, child: &str, record: Record<'_, K, V>) -> Result<()> {
        match self.around.child_names.iter().position(|name| &**name == child) {
            Some(index) => self.around.children.forward_to(index, self.cx, record),
            None => Err(Fault::stop(format!("there is no child `{child}`"))
                .at(format!("processor {}", self.around.name))
                .hint(format!("its children are {}", self.around.child_names.join(", ")))),
        }
    }

    /// A store that this processor is connected to.
    ///
    /// # Errors
    /// When it isn't connected, or holds other types.
    pub fn store<SK: 'static, SV: 'static>(&mut self, name: &str) -> Result<KeyValueStore<'_, SK, SV>> {
        let place = || format!("processor {}", self.around.name);
        let Some((store, types)) = self.around.stores.get(name) else {
            return Err(Fault::stop(format!("store `{name}` is not connected"))
                .at(place())
                .hint("name it in KStream::process"));
        };
        let types = types.downcast_ref::<StoreTypes<SK, SV>>().ok_or_else(|| {
            let (key, value) = (std::any::type_name::<SK>(), std::any::type_name::<SV>());
            Fault::stop(format!("store `{name}` does not hold `{key}` and `{value}`"))
                .at(place())
                .hint("ask for the types that it was added with")
        })?;
        Ok(KeyValueStore::new(self.cx.store(*store), &types.key, &types.value, self.timestamp))
    }

    /// Starts a schedule: stream time is due at once and then at multiples of the interval (P-21), the wall clock
    /// after the first interval (P-22). [`Processor::punctuate`] gets the returned id.
    ///
    /// # Errors
    /// When the interval is shorter than a millisecond.
    pub fn schedule(&mut self, interval: Duration, kind: Punctuation) -> Result<ScheduleId> {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        if interval_ms < 1 {
            return Err(Fault::stop("a schedule's interval is shorter than a millisecond")
                .at(format!("processor {}", self.around.name)));
        }
        Ok(self.cx.schedule(self.around.node, interval_ms, kind))
    }

    /// Ends a schedule.
    pub fn cancel(&mut self, schedule: ScheduleId) {
        self.cx.cancel(self.around.node, schedule);
    }

    /// Asks for a commit soon.
    pub fn commit(&mut self) {
        self.cx.request_commit();
    }

    /// Greatest timestamp of any record of this task, -1 before the first.
    pub fn stream_time(&self) -> Timestamp {
        self.cx.stream_time()
    }

    /// The wall clock in milliseconds.
    pub fn system_time(&self) -> Timestamp {
        self.cx.now()
    }

    /// Topic, partition and offset of the input record; absent in punctuation.
    pub fn record_metadata(&self) -> Option<&SourceContext> {
        self.cx.source()
    }

    /// Id of the task.
    pub fn task_id(&self) -> TaskId {
        self.cx.task()
    }

    /// Name of the application.
    pub fn application_id(&self) -> &str {
        self.cx.application_id()
    }
}

/// The node of `process`. A graph has no cycles, so the processor is never entered twice.
pub(crate) struct UserNode<K, V, K2, V2> {
    pub processor: RefCell<Box<dyn Processor<K, V, K2, V2>>>,
    pub around: Surroundings<K2, V2>,
}

impl<K, V, K2, V2> UserNode<K, V, K2, V2> {
    fn context<'a>(&'a self, cx: &'a mut dyn Context, timestamp: Timestamp) -> ProcessorContext<'a, K2, V2> {
        ProcessorContext { cx, around: &self.around, timestamp }
    }

    /// A failure that doesn't say where it was happened here.
    fn placed(&self, result: Result<()>) -> Result<()> {
        result.map_err(|fault| {
            if fault.place().is_empty() { fault.at(format!("processor {}", self.around.name)) } else { fault }
        })
    }
}

impl<K, V, K2, V2> Process<K, V> for UserNode<K, V, K2, V2> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let result = self.processor.borrow_mut().process(&mut self.context(cx, record.timestamp), record);
        self.placed(result)
    }
}

impl<K, V, K2, V2> Node for UserNode<K, V, K2, V2> {
    fn init(&self, cx: &mut dyn Context) -> Result<()> {
        let now = cx.stream_time();
        let result = self.processor.borrow_mut().init(&mut self.context(cx, now));
        self.placed(result)
    }

    fn punctuate(&self, cx: &mut dyn Context, schedule: ScheduleId, timestamp: Timestamp) -> Result<()> {
        let result = self.processor.borrow_mut().punctuate(&mut self.context(cx, timestamp), schedule, timestamp);
        self.placed(result)
    }

    fn close(&self, cx: &mut dyn Context) -> Result<()> {
        let now = cx.stream_time();
        self.processor.borrow_mut().close(&mut self.context(cx, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::serdes,
        operator::testkit::{Collect, Kit, collect},
    };
    use std::rc::Rc;

    /// Counts by key, and gives the counts when it is punctuated.
    struct Counter;

    impl Processor<String, i64, String, i64> for Counter {
        fn init(&mut self, cx: &mut ProcessorContext<'_, String, i64>) -> Result<()> {
            cx.schedule(Duration::from_millis(10), Punctuation::StreamTime).map(drop)
        }

        fn process(
            &mut self,
            cx: &mut ProcessorContext<'_, String, i64>,
            record: Record<'_, String, i64>,
        ) -> Result<()> {
            let key = record.key.ok_or_else(|| Fault::skip("the key is null"))?;
            let mut store = cx.store::<String, i64>("counts")?;
            let count = store.get(key)?.unwrap_or(0) + 1;
            store.put(key, &count)
        }

        fn punctuate(
            &mut self,
            cx: &mut ProcessorContext<'_, String, i64>,
            _: ScheduleId,
            timestamp: Timestamp,
        ) -> Result<()> {
            for (key, count) in cx.store::<String, i64>("counts")?.all()? {
                cx.forward_to("child", Record::new(Some(&key), Some(&count), timestamp))?;
            }
            cx.store::<String, i64>("counts")?.delete(&"a".to_owned()).map(drop)
        }
    }

    type CounterNode = UserNode<String, i64, String, i64>;

    fn counter() -> (CounterNode, Rc<Collect<String, i64>>) {
        let (child, children) = collect();
        let types: Arc<dyn Any + Send + Sync> = Arc::new(StoreTypes { key: serdes::string(), value: serdes::i64() });
        let around = Surroundings {
            name: "counter".into(),
            node: 3,
            child_names: vec!["child".into()],
            children,
            stores: BTreeMap::from([("counts".into(), (StoreIx(0), types))]),
        };
        (UserNode { processor: RefCell::new(Box::new(Counter)), around }, child)
    }

    #[test]
    fn processors_keep_rows_and_forward_on_schedule() {
        let ((node, child), mut kit) = (counter(), Kit::key_value());
        node.init(&mut kit).unwrap();
        assert_eq!(kit.schedules, [(3, 10, Punctuation::StreamTime)]);
        for key in ["b", "a", "b"] {
            node.process(&mut kit, Record::new(Some(&key.to_owned()), None, 5)).unwrap();
        }
        for at in [10, 20] {
            node.punctuate(&mut kit, ScheduleId(0), at).unwrap();
        }
        let row = |key: &str, count, at| (Some(key.to_owned()), Some(count), at);
        assert_eq!(child.take(), [row("a", 1, 10), row("b", 2, 10), row("b", 2, 20)]);
    }

    #[test]
    fn mistakes_name_the_processor() {
        let ((node, _), mut kit) = (counter(), Kit::key_value());
        let fault = node.process(&mut kit, Record::new(None, None, 5)).unwrap_err();
        assert_eq!(fault.to_string(), "the key is null (processor counter)");
        let mut cx = node.context(&mut kit, 0);
        assert!(cx.store::<String, i64>("other").err().unwrap().to_string().contains("not connected"));
        assert!(cx.store::<String, String>("counts").err().unwrap().to_string().contains("does not hold"));
        let fault = cx.forward_to("nobody", Record::new(None, None, 5)).unwrap_err();
        assert_eq!(fault.to_string(), "there is no child `nobody` (processor counter): its children are child");
    }
}
