//! Processors written by users: any number of records out for each one in, with stores and schedules.

use super::{
    Children, Context, Node, Process, ScheduleId,
    processing::{Place, ProcessingContext},
};
use crate::{
    fault::{Fault, Result},
    record::{Record, Timestamp},
};
use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    sync::Arc,
};

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

/// What a processor's context is made of.
pub(crate) struct Surroundings<K, V> {
    pub place: Place,
    pub child_names: Vec<Arc<str>>,
    pub children: Children<K, V>,
}

/// What a processor may ask of its task: to forward records, and all that a [`ProcessingContext`] gives.
pub struct ProcessorContext<'a, K, V> {
    task: ProcessingContext<'a>,
    around: &'a Surroundings<K, V>,
}

impl<'a, K, V> ProcessorContext<'a, K, V> {
    pub(crate) fn new(cx: &'a mut dyn Context, around: &'a Surroundings<K, V>, timestamp: Timestamp) -> Self {
        Self { task: ProcessingContext::new(cx, &around.place, timestamp), around }
    }

    /// Hands a record to every child, in order of connection, before it returns.
    ///
    /// # Errors
    /// When the record's time is negative, and the first failure downstream.
    pub fn forward(&mut self, record: Record<'_, K, V>) -> Result<()> {
        self.check(&record)?;
        self.around.children.forward(self.task.cx, record)
    }

    /// Hands a record to one child.
    ///
    /// # Errors
    /// When the record's time is negative, there is no such child, or it fails.
    pub fn forward_to(&mut self, child: &str, record: Record<'_, K, V>) -> Result<()> {
        self.check(&record)?;
        match self.around.child_names.iter().position(|name| &**name == child) {
            Some(index) => self.around.children.forward_to(index, self.task.cx, record),
            None => Err(Fault::stop(format!("there is no child `{child}`"))
                .at(format!("processor {}", self.around.place.name))
                .hint(format!("its children are {}", self.around.child_names.join(", ")))),
        }
    }

    /// Kafka Streams has no records before 1970 behind a processor either.
    fn check(&self, record: &Record<'_, K, V>) -> Result<()> {
        if record.timestamp < 0 {
            return Err(Fault::stop(format!(
                "a record with the negative timestamp {} can't be forwarded",
                record.timestamp
            ))
            .at(format!("processor {}", self.around.place.name))
            .hint("give it a valid time, or leave it out"));
        }
        Ok(())
    }
}

impl<'a, K, V> Deref for ProcessorContext<'a, K, V> {
    type Target = ProcessingContext<'a>;

    fn deref(&self) -> &ProcessingContext<'a> {
        &self.task
    }
}

impl<K, V> DerefMut for ProcessorContext<'_, K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.task
    }
}

/// The node of `process`. A graph has no cycles, so the processor is never entered twice.
pub(crate) struct UserNode<K, V, K2, V2> {
    pub processor: RefCell<Box<dyn Processor<K, V, K2, V2>>>,
    pub around: Surroundings<K2, V2>,
}

impl<K, V, K2, V2> UserNode<K, V, K2, V2> {
    fn context<'a>(&'a self, cx: &'a mut dyn Context, timestamp: Timestamp) -> ProcessorContext<'a, K2, V2> {
        ProcessorContext::new(cx, &self.around, timestamp)
    }
}

impl<K, V, K2, V2> Process<K, V> for UserNode<K, V, K2, V2> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let result = self.processor.borrow_mut().process(&mut self.context(cx, record.timestamp), record);
        self.around.place.blame(result)
    }
}

impl<K, V, K2, V2> Node for UserNode<K, V, K2, V2> {
    fn init(&self, cx: &mut dyn Context) -> Result<()> {
        let now = cx.stream_time();
        let result = self.processor.borrow_mut().init(&mut self.context(cx, now));
        self.around.place.blame(result)
    }

    fn punctuate(&self, cx: &mut dyn Context, schedule: ScheduleId, timestamp: Timestamp) -> Result<()> {
        let result = self.processor.borrow_mut().punctuate(&mut self.context(cx, timestamp), schedule, timestamp);
        self.around.place.blame(result)
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
        operator::{
            Punctuation,
            processing::StoreTypes,
            testkit::{Collect, Kit, collect},
        },
        record::StoreIx,
    };
    use std::{any::Any, collections::BTreeMap, rc::Rc, time::Duration};

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
        let stores = BTreeMap::from([("counts".into(), (StoreIx(0), types))]);
        let place = Place { name: "counter".into(), node: 3, stores, ..Place::default() };
        let around = Surroundings { place, child_names: vec!["child".into()], children };
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

    /// P-2, P-7.
    #[test]
    fn mistakes_name_the_processor() {
        let ((node, _), mut kit) = (counter(), Kit::key_value());
        let fault = node.process(&mut kit, Record::new(None, None, 5)).unwrap_err();
        assert_eq!(fault.to_string(), "the key is null (processor counter)");
        let mut cx = node.context(&mut kit, 0);
        let fault = cx.forward(Record::new(None, None, -1)).unwrap_err();
        assert!(fault.to_string().starts_with("a record with the negative timestamp -1 can't be forwarded"), "{fault}");
        assert!(cx.store::<String, i64>("other").err().unwrap().to_string().contains("not connected"));
        assert!(cx.store::<String, String>("counts").err().unwrap().to_string().contains("does not hold"));
        let fault = cx.forward_to("nobody", Record::new(None, None, 5)).unwrap_err();
        assert_eq!(fault.to_string(), "there is no child `nobody` (processor counter): its children are child");
    }
}
