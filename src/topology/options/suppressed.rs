//! How long the changes of a table are held back.

use crate::{
    operator::suppress::{Full, Limits, TimeOf},
    record::Windowed,
};
use std::{collections::BTreeMap, marker::PhantomData, sync::Arc, time::Duration};

/// A buffer that stops the worker when it is full, or is never full: final results may wait in it.
#[derive(Debug, Clone, Copy)]
pub enum Strict {}

/// A buffer that lets the oldest rows go when it is full: results may come before they are final.
#[derive(Debug, Clone, Copy)]
pub enum Eager {}

/// How much a buffer may hold, what happens when it is full, and its changelog (D-147).
///
/// ```
/// use millstream::topology::BufferConfig;
/// let some = BufferConfig::max_records(10_000).with_max_bytes(1 << 20);
/// let strict = some.shut_down_when_full();
/// ```
#[derive(Debug, Clone)]
pub struct BufferConfig<S> {
    limits: Limits,
    pub(crate) logged: bool,
    pub(crate) changelog_config: BTreeMap<String, String>,
    strictness: PhantomData<S>,
}

impl BufferConfig<Strict> {
    /// Any number of rows; the process may run out of memory or disk.
    pub fn unbounded() -> Self {
        Self::new(Limits { records: None, bytes: None, full: Full::ShutDown })
    }
}

impl BufferConfig<Eager> {
    /// At most this many rows.
    pub fn max_records(records: usize) -> Self {
        Self::new(Limits { records: Some(records), bytes: None, full: Full::Emit })
    }

    /// At most this many bytes, by Kafka Streams' way of counting.
    pub fn max_bytes(bytes: usize) -> Self {
        Self::new(Limits { records: None, bytes: Some(bytes), full: Full::Emit })
    }
}

impl<S> BufferConfig<S> {
    fn new(limits: Limits) -> Self {
        Self { limits, logged: true, changelog_config: BTreeMap::new(), strictness: PhantomData }
    }

    fn with<S2>(self, limits: Limits) -> BufferConfig<S2> {
        let Self { logged, changelog_config, .. } = self;
        BufferConfig { limits, logged, changelog_config, strictness: PhantomData }
    }

    /// At most this many rows too.
    #[must_use]
    pub fn with_max_records(self, records: usize) -> Self {
        let limits = Limits { records: Some(records), ..self.limits };
        self.with(limits)
    }

    /// At most this many bytes too.
    #[must_use]
    pub fn with_max_bytes(self, bytes: usize) -> Self {
        let limits = Limits { bytes: Some(bytes), ..self.limits };
        self.with(limits)
    }

    /// Without a limit.
    pub fn with_no_bound(self) -> BufferConfig<Strict> {
        self.with(Limits { records: None, bytes: None, full: Full::ShutDown })
    }

    /// Stops the worker when the buffer is full.
    pub fn shut_down_when_full(self) -> BufferConfig<Strict> {
        let limits = Limits { full: Full::ShutDown, ..self.limits };
        self.with(limits)
    }

    /// Lets the oldest rows go before their time when the buffer is full.
    pub fn emit_early_when_full(self) -> BufferConfig<Eager> {
        let limits = Limits { full: Full::Emit, ..self.limits };
        self.with(limits)
    }

    /// Writes a changelog topic with these settings over the defaults; the default is a changelog without any.
    #[must_use]
    pub fn with_logging_enabled<T: Into<String>>(self, config: impl IntoIterator<Item = (T, T)>) -> Self {
        let changelog_config = config.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self { logged: true, changelog_config, ..self }
    }

    /// Writes no changelog: what waits is lost with the disk.
    #[must_use]
    pub fn with_logging_disabled(self) -> Self {
        Self { logged: false, ..self }
    }
}

/// What a row waits for.
pub(crate) enum Until<K> {
    /// This many milliseconds after its first change.
    TimeLimit(i64),
    /// The close of its window, whose end this gives.
    WindowCloses(TimeOf<K>),
}

/// How long the changes of a table are held back, for [`KTable::suppress`](crate::topology::KTable::suppress).
pub struct Suppressed<K> {
    pub(crate) until: Until<K>,
    pub(crate) limits: Limits,
    pub(crate) logged: bool,
    pub(crate) changelog_config: BTreeMap<String, String>,
    pub(crate) name: Option<String>,
}

impl<K> Suppressed<K> {
    fn new<S>(until: Until<K>, buffer: BufferConfig<S>) -> Self {
        let BufferConfig { limits, logged, changelog_config, .. } = buffer;
        Self { until, limits, logged, changelog_config, name: None }
    }

    /// Until `limit` of stream time has passed since the key's first change that is held back (D-145).
    pub fn until_time_limit<S>(limit: Duration, buffer: BufferConfig<S>) -> Self {
        Self::new(Until::TimeLimit(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)), buffer)
    }

    /// Names the node, and the store, `NAME-store`.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }
}

impl<K: 'static> Suppressed<Windowed<K>> {
    /// Until the row's window is closed, so that only its final result is told (D-146).
    pub fn until_window_closes(buffer: BufferConfig<Strict>) -> Self {
        Self::new(Until::WindowCloses(Arc::new(|key: &Windowed<K>| key.end)), buffer)
    }
}
