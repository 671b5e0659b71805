//! Processors that keep the key, so that what follows needs no repartition (P-4, D-26).

use super::{Context, Node, Process, ProcessingContext, ProcessorContext, ScheduleId, processor::Surroundings};
use crate::{
    fault::Result,
    record::{Headers, Record, Timestamp},
};
use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

/// A record whose key can't be changed. Processors get one and make others of it.
pub struct FixedKeyRecord<'a, K, V>(Record<'a, K, V>);

impl<K, V> Clone for FixedKeyRecord<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for FixedKeyRecord<'_, K, V> {}

impl<'a, K, V> FixedKeyRecord<'a, K, V> {
    /// The key, or null.
    pub fn key(&self) -> Option<&'a K> {
        self.0.key
    }

    /// The value, or null.
    pub fn value(&self) -> Option<&'a V> {
        self.0.value
    }

    /// Event time in milliseconds.
    pub fn timestamp(&self) -> Timestamp {
        self.0.timestamp
    }

    /// The headers.
    pub fn headers(&self) -> &'a Headers {
        self.0.headers
    }

    /// The same record with another value.
    pub fn with_value<'b, V2>(self, value: Option<&'b V2>) -> FixedKeyRecord<'b, K, V2>
    where
        'a: 'b,
    {
        FixedKeyRecord(self.0.with_value(value))
    }

    /// The same record with another event time.
    pub fn with_timestamp(self, timestamp: Timestamp) -> Self {
        Self(self.0.with_timestamp(timestamp))
    }

    /// The same record with other headers.
    pub fn with_headers<'b>(self, headers: &'b Headers) -> FixedKeyRecord<'b, K, V>
    where
        'a: 'b,
    {
        FixedKeyRecord(Record { headers, ..self.0 })
    }
}

/// What a [`FixedKeyProcessor`] may ask of its task: all that a [`ProcessorContext`] gives, but that it forwards only
/// records made of the one in hand.
pub struct FixedKeyContext<'a, K, V>(ProcessorContext<'a, K, V>);

impl<K, V> FixedKeyContext<'_, K, V> {
    /// Hands a record to every child, in order of connection, before it returns.
    ///
    /// # Errors
    /// When the record's time is negative, and the first failure downstream.
    pub fn forward(&mut self, record: FixedKeyRecord<'_, K, V>) -> Result<()> {
        self.0.forward(record.0)
    }

    /// Hands a record to one child.
    ///
    /// # Errors
    /// When the record's time is negative, there is no such child, or it fails.
    pub fn forward_to(&mut self, child: &str, record: FixedKeyRecord<'_, K, V>) -> Result<()> {
        self.0.forward_to(child, record.0)
    }
}

impl<'a, K, V> Deref for FixedKeyContext<'a, K, V> {
    type Target = ProcessingContext<'a>;

    fn deref(&self) -> &ProcessingContext<'a> {
        &self.0
    }
}

impl<K, V> DerefMut for FixedKeyContext<'_, K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// A processor of one task that keeps the key of every record.
///
/// ```
/// use millstream::{fault::Result, operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord}};
///
/// /// Forwards the length of each text.
/// struct Length;
///
/// impl FixedKeyProcessor<String, String, i64> for Length {
///     fn process(
///         &mut self,
///         cx: &mut FixedKeyContext<'_, String, i64>,
///         record: FixedKeyRecord<'_, String, String>,
///     ) -> Result<()> {
///         let length = record.value().map(|text| text.len() as i64);
///         cx.forward(record.with_value(length.as_ref()))
///     }
/// }
/// ```
pub trait FixedKeyProcessor<K, VIn, VOut> {
    /// Called once before the first record: the place to start schedules.
    ///
    /// # Errors
    /// When the processor refuses to start.
    fn init(&mut self, _cx: &mut FixedKeyContext<'_, K, VOut>) -> Result<()> {
        Ok(())
    }

    /// Handles one record.
    ///
    /// # Errors
    /// A [`Fault`](crate::fault::Fault) that says what to do about it.
    fn process(&mut self, cx: &mut FixedKeyContext<'_, K, VOut>, record: FixedKeyRecord<'_, K, VIn>) -> Result<()>;

    /// A schedule is due. There is no record to forward then.
    ///
    /// # Errors
    /// As [`FixedKeyProcessor::process`].
    fn punctuate(
        &mut self,
        _cx: &mut FixedKeyContext<'_, K, VOut>,
        _schedule: ScheduleId,
        _timestamp: Timestamp,
    ) -> Result<()> {
        Ok(())
    }

    /// Called once when the task closes.
    ///
    /// # Errors
    /// When the processor fails to close.
    fn close(&mut self, _cx: &mut FixedKeyContext<'_, K, VOut>) -> Result<()> {
        Ok(())
    }
}

/// The node of `process_values`.
pub(crate) struct FixedKeyNode<K, V, V2> {
    pub processor: RefCell<Box<dyn FixedKeyProcessor<K, V, V2>>>,
    pub around: Surroundings<K, V2>,
}

impl<K, V, V2> FixedKeyNode<K, V, V2> {
    fn call(
        &self,
        cx: &mut dyn Context,
        timestamp: Timestamp,
        f: impl FnOnce(&mut dyn FixedKeyProcessor<K, V, V2>, &mut FixedKeyContext<'_, K, V2>) -> Result<()>,
    ) -> Result<()> {
        let mut cx = FixedKeyContext(ProcessorContext::new(cx, &self.around, timestamp));
        let result = f(&mut **self.processor.borrow_mut(), &mut cx);
        self.around.place.blame(result)
    }
}

impl<K, V, V2> Process<K, V> for FixedKeyNode<K, V, V2> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        self.call(cx, record.timestamp, |processor, cx| processor.process(cx, FixedKeyRecord(record)))
    }
}

impl<K, V, V2> Node for FixedKeyNode<K, V, V2> {
    fn init(&self, cx: &mut dyn Context) -> Result<()> {
        let now = cx.stream_time();
        self.call(cx, now, |processor, cx| processor.init(cx))
    }

    fn punctuate(&self, cx: &mut dyn Context, schedule: ScheduleId, timestamp: Timestamp) -> Result<()> {
        self.call(cx, timestamp, |processor, cx| processor.punctuate(cx, schedule, timestamp))
    }

    fn close(&self, cx: &mut dyn Context) -> Result<()> {
        let now = cx.stream_time();
        self.call(cx, now, |processor, cx| processor.close(cx))
    }
}
