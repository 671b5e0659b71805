//! Aggregates by key and session (D-47, D-56, D-122), emitted on update or on close (D-140..D-144).

use super::{
    Context, Dropped, Node, Process, SessionWindows, TimeSlot,
    aggregate::{Aggregator, Reducer, Step},
    errors::late,
    getter::Getter,
    rows::{Rows, SegmentedRows},
    table_store::{TableStore, Update, Updates},
};
use crate::{
    fault::Result,
    record::{Headers, NO_TIMESTAMP, Record, Timestamp, Windowed},
    state::Row,
};
use bytes::Bytes;
use std::{marker::PhantomData, ops::ControlFlow, sync::Arc};

/// A [`Step`] that can join the aggregates of two sessions.
pub(crate) trait Merging<K, V, VA>: Step<K, V, VA> {
    /// The aggregate of both. `so_far` is `None` where there is none yet, because [`Step::initial`] or a merge before gave
    /// none.
    fn merge(&self, key: &K, so_far: Option<VA>, session: VA) -> Option<VA>;
}

/// `aggregate` of sessions: an initializer, an aggregator and a merger.
pub(crate) struct Merger<S, M> {
    pub step: S,
    pub merger: M,
}

impl<K, V, VA, S: Step<K, V, VA>, M: Send + Sync + 'static> Step<K, V, VA> for Merger<S, M> {
    fn initial(&self) -> Option<VA> {
        self.step.initial()
    }

    fn next(&self, key: &K, value: Option<&V>, so_far: Option<VA>) -> Option<VA> {
        self.step.next(key, value, so_far)
    }
}

impl<K, V, VA, I, F, M> Merging<K, V, VA> for Merger<Aggregator<I, F>, M>
where
    I: Fn() -> VA + Send + Sync + 'static,
    F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
    M: Fn(&K, VA, VA) -> VA + Send + Sync + 'static,
{
    fn merge(&self, key: &K, so_far: Option<VA>, session: VA) -> Option<VA> {
        Some((self.merger)(key, so_far?, session))
    }
}

impl<K, V, F> Merging<K, V, V> for Merger<Reducer<F>, ()>
where
    V: Clone,
    F: Fn(V, Option<&V>) -> Option<V> + Send + Sync + 'static,
{
    fn merge(&self, _key: &K, so_far: Option<V>, session: V) -> Option<V> {
        match so_far {
            Some(so_far) => (self.step.reducer)(so_far, Some(&session)),
            None => Some(session),
        }
    }
}

/// The node of `count`, `reduce` and `aggregate` in sessions. Its times lie in the task and survive a restart, which
/// Kafka Streams' stream time does not (D-52).
///
/// As in Kafka Streams, an update that no cache held back is forwarded without headers (D-123).
pub(crate) struct SessionAggregate<K, V, VA, S> {
    pub windows: SessionWindows,
    pub step: Arc<S>,
    pub updates: Updates<Windowed<K>, VA, SegmentedRows<K>>,
    /// Greatest record time that this node saw.
    pub stream_time: TimeSlot,
    /// Close time up to which sessions were emitted; only when it emits on close.
    pub emitted: Option<TimeSlot>,
    pub takes: PhantomData<fn(V)>,
}

impl<K, V, VA, S> Process<K, V> for SessionAggregate<K, V, VA, S>
where
    K: Clone + 'static,
    VA: Clone + 'static,
    S: Merging<K, V, VA>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let Some(key) = record.key else {
            cx.dropped(Dropped::NullKey);
            return Ok(());
        };
        let at = record.timestamp;
        let stream_time = cx.time(self.stream_time).max(at);
        cx.set_time(self.stream_time, stream_time);
        let close_time = stream_time.saturating_sub(self.windows.lifetime_ms());
        let key_bytes = self.updates.table.rows.key.to_bytes(key)?;
        let sessions = self.near(cx, &key_bytes, at)?;
        let (mut start, mut end, mut so_far) = (at, at, self.step.initial());
        for (window, value) in &sessions {
            (start, end) = (start.min(window.0), end.max(window.1));
            so_far = self.step.merge(key, so_far, value.clone());
        }
        if end < close_time {
            late(cx, (start, end), close_time, record.timestamp)?;
        } else {
            let grows = (start, end) != (at, at);
            for ((start, end), value) in sessions.into_iter().filter(|_| grows) {
                self.write(cx, &record, Windowed::new(key, start, end), &key_bytes, (None, Some(value)))?;
            }
            let new = self.step.next(key, record.value, so_far);
            self.write(cx, &record, Windowed::new(key, start, end), &key_bytes, (new, None))?;
        }
        match self.emitted {
            Some(emitted) => self.emit(cx, &record, emitted, close_time),
            None => Ok(()),
        }
    }
}

/// Start and end of a session, and its aggregate.
type Session<VA> = ((Timestamp, Timestamp), VA);

impl<K, V, VA, S> SessionAggregate<K, V, VA, S>
where
    K: Clone + 'static,
    VA: Clone + 'static,
    S: Merging<K, V, VA>,
{
    /// Sessions of a key that a record at `at` belongs to, in the order of their ends.
    fn near(&self, cx: &mut dyn Context, key: &[u8], at: Timestamp) -> Result<Vec<Session<VA>>> {
        let gap = self.windows.gap_ms();
        let (from, latest_start) = (at.saturating_sub(gap), at.saturating_add(gap));
        let kind = self.updates.table.rows.kind;
        let mut rows: Vec<((Timestamp, Timestamp), Row)> = Vec::new();
        cx.store(self.updates.table.store).scan_key(key, from, Timestamp::MAX, false, &mut |id, row| {
            let (_, start, end) = kind.split(id).expect("a scan by key gives rows");
            // Sessions of a key don't overlap: those that follow start later still.
            if start > latest_start {
                return ControlFlow::Break(());
            }
            rows.push(((start, end), row));
            ControlFlow::Continue(())
        })?;
        rows.into_iter().map(|(window, row)| Ok((window, self.updates.table.decode(cx, &row)?))).collect()
    }

    fn write(
        &self,
        cx: &mut dyn Context,
        record: &Record<'_, K, V>,
        at: Windowed<&K>,
        key_bytes: &[u8],
        (new, old): (Option<VA>, Option<VA>),
    ) -> Result<()> {
        let row = self.updates.table.rows.kind.row(key_bytes, at.start, at.end);
        let update = Update { new, old, timestamp: record.timestamp, at: record.timestamp, headers: record.headers };
        let Some(change) = self.updates.write(cx, row, update)? else { return Ok(()) };
        if self.emitted.is_some() {
            return Ok(());
        }
        let key = Windowed::new(at.key.clone(), at.start, at.end);
        let headers = Headers::none();
        let result = Record { key: Some(&key), value: Some(&change), timestamp: at.end, headers };
        self.updates.children.forward(cx, result)
    }

    /// Forwards the sessions that `close_time` closed since the last time, in order of end (D-142).
    fn emit(
        &self,
        cx: &mut dyn Context,
        record: &Record<'_, K, V>,
        slot: TimeSlot,
        close_time: Timestamp,
    ) -> Result<()> {
        let last = cx.time(slot);
        let (lower, upper) = (last.max(0), close_time.saturating_sub(1));
        if (last != NO_TIMESTAMP && last >= close_time) || upper < lower {
            return Ok(());
        }
        let kind = self.updates.table.rows.kind;
        let store = cx.store(self.updates.table.store);
        let mut closed: Vec<(Bytes, Row)> = store.rows_by_time(lower, upper)?;
        if !store.spec().persistent {
            // Kafka Streams' store in memory goes by end, key and start, the one on disk by end, start and key.
            closed.sort_by_cached_key(|(row, _)| kind.split(row).map(|(key, start, end)| (end, key.to_vec(), start)));
        }
        super::table_store::emit(cx, &self.updates, record.headers, closed, |key, _| key.end)?;
        cx.set_time(slot, close_time);
        Ok(())
    }
}

impl<K: 'static, V, VA: 'static, S> Node for SessionAggregate<K, V, VA, S> {
    fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        self.updates.flush_at(cx, |key, _| key.end)
    }
}

/// Rows of a session table; the time of a row is its session's end.
pub(crate) struct SessionGetter<V, R>(pub TableStore<V, R>);

impl<K: 'static, V: 'static, R: Rows<Windowed<K>>> Getter<Windowed<K>, V> for SessionGetter<V, R> {
    fn get(&self, cx: &mut dyn Context, key: &Windowed<K>) -> Result<Option<(V, Timestamp)>> {
        Ok(self.0.get(cx, key)?.map(|(value, _)| (value, key.end)))
    }
}
