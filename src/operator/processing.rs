//! What every processor of a user may ask of its task, whatever it forwards.

use super::{Context, Punctuation, ScheduleId};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::{SourceContext, StoreIx, TaskId, Timestamp},
    state::{
        GlobalStore, KeyValueStore, ReadOnlyKeyValueStore, SessionStore, Store, VersionedKeyValueStore, WindowStore,
        refused,
    },
};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The serdes of a store, for the processors that are connected to it.
pub(crate) struct StoreTypes<K, V> {
    pub key: Serde<K>,
    pub value: Serde<V>,
}

/// A store that a processor is connected to: its place, and its [`StoreTypes`].
pub(crate) type Connected = (StoreIx, Arc<dyn Any + Send + Sync>);

/// A global store and its [`StoreTypes`].
pub(crate) type Global = (Arc<GlobalStore>, Arc<dyn Any + Send + Sync>);

/// The node of a processor, and its stores.
#[derive(Default)]
pub(crate) struct Place {
    pub name: Arc<str>,
    pub node: usize,
    pub stores: BTreeMap<Arc<str>, Connected>,
    /// Those of its stores that only their topics fill.
    pub read_only: BTreeSet<Arc<str>>,
    /// Every global store, with its [`StoreTypes`].
    pub globals: BTreeMap<Arc<str>, Global>,
}

impl Place {
    /// A failure that doesn't say where it was happened here.
    pub fn blame<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(
            |fault| {
                if fault.place().is_empty() { fault.at(format!("processor {}", self.name)) } else { fault }
            },
        )
    }

    fn fault(&self, what: String) -> Fault {
        Fault::stop(what).at(format!("processor {}", self.name))
    }
}

/// What a processor may ask of its task besides forwarding: its stores, schedules, times, and where the record in hand
/// came from.
pub struct ProcessingContext<'a> {
    pub(super) cx: &'a mut dyn Context,
    place: &'a Place,
    timestamp: Timestamp,
}

impl<'a> ProcessingContext<'a> {
    pub(crate) fn new(cx: &'a mut dyn Context, place: &'a Place, timestamp: Timestamp) -> Self {
        Self { cx, place, timestamp }
    }

    fn connected(&self, name: &str) -> Result<&'a Connected> {
        self.place.stores.get(name).ok_or_else(|| {
            self.place.fault(format!("store `{name}` is not connected")).hint("name it where the processor is added")
        })
    }

    fn typed<K: 'static, V: 'static>(&self, name: &str) -> Result<(StoreIx, &'a StoreTypes<K, V>)> {
        let (store, types) = self.connected(name)?;
        Ok((*store, self.types_of(name, types)?))
    }

    fn types_of<K: 'static, V: 'static>(
        &self,
        name: &str,
        types: &'a Arc<dyn Any + Send + Sync>,
    ) -> Result<&'a StoreTypes<K, V>> {
        types.downcast_ref::<StoreTypes<K, V>>().ok_or_else(|| {
            let (key, value) = (std::any::type_name::<K>(), std::any::type_name::<V>());
            let fault = self.place.fault(format!("store `{name}` does not hold `{key}` and `{value}`"));
            fault.hint("ask for the types that it was added with")
        })
    }

    /// A global store, or the rows of a global table: every processor may read them, and is connected to none (P-2).
    ///
    /// ```
    /// use millstream::{fault::Result, operator::ProcessingContext};
    ///
    /// fn name_of(cx: &ProcessingContext<'_>, airport: &String) -> Result<Option<String>> {
    ///     cx.global_store::<String, String>("airports")?.get(airport)
    /// }
    /// ```
    ///
    /// # Errors
    /// When there is none of this name, or it holds other types.
    pub fn global_store<K: 'static, V: 'static>(&self, name: &str) -> Result<ReadOnlyKeyValueStore<'a, K, V>> {
        let place: &'a Place = self.place;
        let (store, types) = place.globals.get(name).ok_or_else(|| {
            place
                .fault(format!("there is no global store `{name}`"))
                .hint("add it with StreamsBuilder::add_global_store")
        })?;
        let types = self.types_of(name, types)?;
        Ok(ReadOnlyKeyValueStore::new(store, &types.key, &types.value))
    }

    /// A key-value store that this processor is connected to. Writes have the time of the record in hand, or of the
    /// punctuation.
    ///
    /// # Errors
    /// When it isn't connected, holds other types, or is of another kind.
    pub fn store<K: 'static, V: 'static>(&mut self, name: &str) -> Result<KeyValueStore<'_, K, V>> {
        let (store, types) = self.typed(name)?;
        let read_only = self.place.read_only.contains(name);
        let view = KeyValueStore::new(self.cx.store(store), &types.key, &types.value, self.timestamp)?;
        Ok(view.read_only(read_only))
    }

    /// A window store that this processor is connected to.
    ///
    /// # Errors
    /// As [`ProcessingContext::store`].
    pub fn window_store<K: 'static, V: 'static>(&mut self, name: &str) -> Result<WindowStore<'_, K, V>> {
        let (store, types) = self.typed(name)?;
        WindowStore::new(self.cx.store(store), &types.key, &types.value)
    }

    /// A session store that this processor is connected to. Writes have the time of the record in hand, or of the
    /// punctuation.
    ///
    /// # Errors
    /// As [`ProcessingContext::store`].
    pub fn session_store<K: 'static, V: 'static>(&mut self, name: &str) -> Result<SessionStore<'_, K, V>> {
        let (store, types) = self.typed(name)?;
        SessionStore::new(self.cx.store(store), &types.key, &types.value, self.timestamp)
    }

    /// A versioned store that this processor is connected to.
    ///
    /// # Errors
    /// As [`ProcessingContext::store`].
    pub fn versioned_store<K: 'static, V: 'static>(&mut self, name: &str) -> Result<VersionedKeyValueStore<'_, K, V>> {
        let (store, types) = self.typed(name)?;
        let read_only = self.place.read_only.contains(name);
        Ok(VersionedKeyValueStore::new(self.cx.store(store), &types.key, &types.value)?.read_only(read_only))
    }

    /// The rows of a store as bytes: the ground for a store of your own, which is a type that reads and writes rows in
    /// its own format. Whatever it is, its rows are logged, committed and restored as those of all other stores.
    ///
    /// ```
    /// use millstream::{fault::Result, operator::ProcessingContext};
    ///
    /// /// A stack of texts: row 0, row 1, ...
    /// struct Stack<'s>(&'s mut millstream::state::Store);
    ///
    /// impl Stack<'_> {
    ///     fn push(&mut self, at: u32, text: &str) -> Result<()> {
    ///         self.0.put(at.to_be_bytes().to_vec().into(), Some(text.to_owned().into()), 0).map(drop)
    ///     }
    /// }
    ///
    /// fn remember(cx: &mut ProcessingContext<'_>) -> Result<()> {
    ///     Stack(cx.rows("stack")?).push(0, "first")
    /// }
    /// ```
    ///
    /// # Errors
    /// When it isn't connected, or only its topic fills it.
    pub fn rows(&mut self, name: &str) -> Result<&mut Store> {
        let (store, _) = self.connected(name)?;
        if self.place.read_only.contains(name) {
            return Err(refused(name));
        }
        Ok(self.cx.store(*store))
    }

    /// Starts a schedule: stream time is due at once and then at multiples of the interval (P-21), the wall clock
    /// after the first interval (P-22). The processor's `punctuate` gets the returned id.
    ///
    /// # Errors
    /// When the interval is shorter than a millisecond.
    pub fn schedule(&mut self, interval: Duration, kind: Punctuation) -> Result<ScheduleId> {
        let interval_ms = self.interval_ms(interval)?;
        Ok(self.cx.schedule(self.place.node, interval_ms, kind))
    }

    /// Starts a schedule that is due at `start` (milliseconds since 1970) and each interval after it. What has passed is
    /// left out (P-27): so an hourly schedule fires at full hours, whenever the task starts.
    ///
    /// # Errors
    /// As [`ProcessingContext::schedule`], and when `start` is negative.
    pub fn schedule_from(&mut self, start: Timestamp, interval: Duration, kind: Punctuation) -> Result<ScheduleId> {
        let interval_ms = self.interval_ms(interval)?;
        if start < 0 {
            return Err(self.place.fault(format!("a schedule can't start at {start}, before 1970")));
        }
        Ok(self.cx.schedule_from(self.place.node, start, interval_ms, kind))
    }

    fn interval_ms(&self, interval: Duration) -> Result<i64> {
        match i64::try_from(interval.as_millis()).unwrap_or(i64::MAX) {
            0 => Err(self.place.fault("a schedule's interval is shorter than a millisecond".into())),
            interval_ms => Ok(interval_ms),
        }
    }

    /// Ends a schedule.
    pub fn cancel(&mut self, schedule: ScheduleId) {
        self.cx.cancel(self.place.node, schedule);
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

    /// Name of the processor's node.
    pub fn node_name(&self) -> &str {
        &self.place.name
    }
}
