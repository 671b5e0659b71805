//! A table computed row by row with stores and schedules at hand: `KTable::transform_values`.

use super::{
    Context, Node, Process, ProcessingContext, ScheduleId,
    getter::Getter,
    processing::Place,
    rows::Rows,
    table_map::Output,
    table_store::{Update, Updates},
};
use crate::{
    fault::Result,
    record::{Change, Record, Timestamp},
};
use std::{cell::RefCell, marker::PhantomData, rc::Rc};

/// Makes new rows of rows, with stores and schedules at hand. It forwards nothing itself.
///
/// ```
/// use millstream::{fault::Result, operator::{ProcessingContext, ValueTransformer}};
///
/// /// Keeps the first row that a key ever had, even when it is deleted.
/// struct First;
///
/// impl ValueTransformer<String, String, String> for First {
///     fn transform(
///         &mut self,
///         cx: &mut ProcessingContext<'_>,
///         key: &String,
///         row: Option<&String>,
///     ) -> Result<Option<String>> {
///         let mut first = cx.store::<String, String>("first")?;
///         match (first.get(key)?, row) {
///             (None, Some(row)) => {
///                 first.put(key, row)?;
///                 Ok(Some(row.clone()))
///             }
///             (found, _) => Ok(found),
///         }
///     }
/// }
/// ```
pub trait ValueTransformer<K, V, V2> {
    /// Called once before the first row.
    ///
    /// # Errors
    /// When the transformer refuses to start.
    fn init(&mut self, _cx: &mut ProcessingContext<'_>) -> Result<()> {
        Ok(())
    }

    /// The new row of a key; asked for deleted rows (`None`) too, and, where nothing keeps the result, for the old rows
    /// that operators downstream need.
    ///
    /// # Errors
    /// A [`Fault`](crate::fault::Fault) that says what to do about it.
    fn transform(&mut self, cx: &mut ProcessingContext<'_>, key: &K, row: Option<&V>) -> Result<Option<V2>>;

    /// A schedule is due.
    ///
    /// # Errors
    /// As [`ValueTransformer::transform`].
    fn punctuate(
        &mut self,
        _cx: &mut ProcessingContext<'_>,
        _schedule: ScheduleId,
        _timestamp: Timestamp,
    ) -> Result<()> {
        Ok(())
    }

    /// Called once when the task closes.
    ///
    /// # Errors
    /// When the transformer fails to close.
    fn close(&mut self, _cx: &mut ProcessingContext<'_>) -> Result<()> {
        Ok(())
    }
}

/// A transformer and its stores.
pub(crate) struct Transformer<K, V, V2> {
    pub transformer: RefCell<Box<dyn ValueTransformer<K, V, V2>>>,
    pub place: Place,
}

impl<K, V, V2> Transformer<K, V, V2> {
    fn call<T>(
        &self,
        cx: &mut dyn Context,
        timestamp: Timestamp,
        f: impl FnOnce(&mut dyn ValueTransformer<K, V, V2>, &mut ProcessingContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut cx = ProcessingContext::new(cx, &self.place, timestamp);
        let result = f(&mut **self.transformer.borrow_mut(), &mut cx);
        self.place.blame(result)
    }

    fn transform(&self, cx: &mut dyn Context, key: &K, row: Option<&V>, timestamp: Timestamp) -> Result<Option<V2>> {
        self.call(cx, timestamp, |transformer, cx| transformer.transform(cx, key, row))
    }
}

/// The node of `transform_values`.
pub(crate) struct TableTransform<K, V, V2, R> {
    pub transformer: Transformer<K, V, V2>,
    pub output: Output<K, V2, R>,
    pub takes: PhantomData<fn(V)>,
}

impl<K: 'static, V, V2: 'static, R: Rows<K>> Process<K, Change<V>> for TableTransform<K, V, V2, R> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        let (Some(key), Some(change)) = (record.key, record.value) else { return Ok(()) };
        let Record { timestamp, headers, .. } = record;
        let new = self.transformer.transform(cx, key, change.new.as_ref(), timestamp)?;
        match &self.output {
            Output::Passing(children, sends_old) => {
                let old = match sends_old {
                    true => self.transformer.transform(cx, key, change.old.as_ref(), timestamp)?,
                    false => None,
                };
                let change = Change { new, old, is_latest: change.is_latest };
                children.forward(cx, record.with_value(Some(&change)))
            }
            Output::Stored(updates) => {
                let row = updates.table.rows.row(key)?;
                let old = if updates.sends_old { updates.table.get_row(cx, &row)?.map(|(v, _)| v) } else { None };
                updates.put(cx, row, key, Update { new, old, timestamp, at: timestamp, headers })
            }
        }
    }
}

impl<K: 'static, V, V2: 'static, R: Rows<K>> Node for TableTransform<K, V, V2, R> {
    fn init(&self, cx: &mut dyn Context) -> Result<()> {
        let now = cx.stream_time();
        self.transformer.call(cx, now, |transformer, cx| transformer.init(cx))
    }

    fn punctuate(&self, cx: &mut dyn Context, schedule: ScheduleId, timestamp: Timestamp) -> Result<()> {
        self.transformer.call(cx, timestamp, |transformer, cx| transformer.punctuate(cx, schedule, timestamp))
    }

    fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        match &self.output {
            Output::Stored(updates) => Updates::flush(updates, cx),
            Output::Passing(..) => Ok(()),
        }
    }

    fn close(&self, cx: &mut dyn Context) -> Result<()> {
        let now = cx.stream_time();
        self.transformer.call(cx, now, |transformer, cx| transformer.close(cx))
    }
}

/// Rows of a transformed table that keeps none itself, by a transformer of its own.
pub(crate) struct TransformGetter<K, V, V2> {
    pub parent: Rc<dyn Getter<K, V>>,
    pub transformer: Transformer<K, V, V2>,
}

impl<K, V, V2> TransformGetter<K, V, V2> {
    fn row(&self, cx: &mut dyn Context, key: &K, found: Option<(V, Timestamp)>) -> Result<Option<(V2, Timestamp)>> {
        let at = found.as_ref().map_or(crate::record::NO_TIMESTAMP, |(_, at)| *at);
        // The row was not made by the record in hand.
        let source = cx.set_source(None);
        let made = self.transformer.transform(cx, key, found.as_ref().map(|(row, _)| row), at);
        cx.set_source(source);
        Ok(made?.map(|row| (row, at)))
    }
}

impl<K, V, V2> Getter<K, V2> for TransformGetter<K, V, V2> {
    fn get(&self, cx: &mut dyn Context, key: &K) -> Result<Option<(V2, Timestamp)>> {
        let found = self.parent.get(cx, key)?;
        self.row(cx, key, found)
    }

    fn get_as_of(&self, cx: &mut dyn Context, key: &K, as_of: Timestamp) -> Result<Option<(V2, Timestamp)>> {
        let found = self.parent.get_as_of(cx, key, as_of)?;
        self.row(cx, key, found)
    }
}
