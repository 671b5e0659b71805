//! Aggregates by key and sliding window (D-43..D-46, D-55, D-62), emitted on update or on close (D-140..D-144).

use super::{
    Context, Dropped, Node, Process, SlidingWindows, TimeSlot,
    aggregate::Step,
    errors::late,
    rows::SegmentedRows,
    table_store::{Update, Updates},
};
use crate::{
    fault::{Fault, Result},
    record::{NO_TIMESTAMP, Record, Timestamp, Windowed},
    state::Row,
};
use bytes::Bytes;
use std::{marker::PhantomData, ops::ControlFlow, sync::Arc};

/// The node of `count`, `reduce` and `aggregate` in sliding windows. Its times lie in the task and survive a restart,
/// which Kafka Streams' stream time does not (D-52).
///
/// As in Kafka Streams, results on close wait for a record that is neither late nor earlier than the windows'
/// difference (D-141).
pub(crate) struct SlidingAggregate<K, V, VA, S> {
    pub windows: SlidingWindows,
    pub step: Arc<S>,
    pub updates: Updates<Windowed<K>, VA, SegmentedRows<K>>,
    /// Greatest record time that this node saw.
    pub stream_time: TimeSlot,
    /// Close time up to which windows were emitted; only when it emits on close.
    pub emitted: Option<TimeSlot>,
    pub takes: PhantomData<fn(V)>,
}

/// A window of the record's key as the store holds it.
struct Found<VA> {
    start: Timestamp,
    value: VA,
    /// Greatest time of a record in it.
    newest: Timestamp,
}

/// The record in hand.
struct InHand<'a, K, V> {
    record: &'a Record<'a, K, V>,
    key: &'a K,
    key_bytes: &'a [u8],
    close_time: Timestamp,
}

impl<K, V, VA, S> Process<K, V> for SlidingAggregate<K, V, VA, S>
where
    K: Clone + 'static,
    VA: Clone + 'static,
    S: Step<K, V, VA>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let (Some(key), Some(_)) = (record.key, record.value) else {
            cx.dropped(if record.key.is_none() { Dropped::NullKey } else { Dropped::NullValue });
            return Ok(());
        };
        let stream_time = cx.time(self.stream_time).max(record.timestamp);
        cx.set_time(self.stream_time, stream_time);
        let close_time = stream_time.saturating_sub(self.windows.grace_ms());
        let difference = self.windows.difference_ms();
        if record.timestamp.saturating_add(difference) < close_time {
            let window = (record.timestamp.saturating_sub(difference).max(0), record.timestamp);
            late(cx, window, close_time, record.timestamp)?;
            return Ok(());
        }
        if difference == 0 {
            return Err(Fault::stop("sliding windows of difference 0 have no place to be")
                .hint("give a difference of at least a millisecond: Kafka Streams accepts 0 and fails here, too"));
        }
        let key_bytes = self.updates.table.rows.key.to_bytes(key)?;
        let hand = InHand { record: &record, key, key_bytes: &key_bytes, close_time };
        if record.timestamp < difference {
            return self.early(cx, &hand);
        }
        self.place(cx, &hand)?;
        match self.emitted {
            Some(emitted) => self.emit(cx, &record, emitted, close_time),
            None => Ok(()),
        }
    }
}

impl<K, V, VA, S> SlidingAggregate<K, V, VA, S>
where
    K: Clone + 'static,
    VA: Clone + 'static,
    S: Step<K, V, VA>,
{
    /// Windows of the key that start from `from` up to one past the record, the newest first, until `last` says so.
    fn windows(
        &self,
        cx: &mut dyn Context,
        hand: &InHand<'_, K, V>,
        from: Timestamp,
        last: impl Fn(Timestamp) -> bool,
    ) -> Result<Vec<Found<VA>>> {
        let mut rows: Vec<(Timestamp, Row)> = Vec::new();
        let kind = self.updates.table.rows.kind;
        let to = hand.record.timestamp.saturating_add(1);
        cx.store(self.updates.table.store).scan_key(hand.key_bytes, from, to, true, &mut |id, row| {
            let (_, start, _) = kind.split(id).expect("a scan by key gives rows");
            rows.push((start, row));
            if last(start) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let found = |(start, row): (Timestamp, Row)| {
            Ok(Found { start, newest: row.timestamp, value: self.updates.table.decode(cx, &row)? })
        };
        rows.into_iter().map(found).collect()
    }

    /// Puts a record into the windows that hold it, and makes those that begin or end with it.
    fn place(&self, cx: &mut dyn Context, hand: &InHand<'_, K, V>) -> Result<()> {
        let (at, difference) = (hand.record.timestamp, self.windows.difference_ms());
        let from = at.saturating_sub(difference.saturating_mul(2)).max(0);
        // The newest window that ended before the record says where the record before it lies.
        let found = self.windows(cx, hand, from, |start| start.saturating_add(difference) < at)?;
        let (mut left, mut right) = (None, None);
        let (mut has_left, mut has_right) = (false, false);
        let mut previous = None;
        for window in &found {
            let end = window.start.saturating_add(difference);
            if window.start == at.saturating_add(1) {
                has_right = true;
            } else if end > at {
                right.get_or_insert(window);
                self.update(cx, hand, window.start, Some((window.value.clone(), window.newest)))?;
            } else if end == at {
                has_left = true;
                self.update(cx, hand, window.start, Some((window.value.clone(), window.newest)))?;
                if window.newest >= at {
                    // A record of this time came before: all windows are there.
                    return Ok(());
                }
                previous = Some(window.newest);
            } else {
                left = Some(window);
                previous = Some(window.newest);
            }
        }
        let starts = |start: Timestamp| found.iter().any(|window| window.start == start);
        if let Some(previous) = previous {
            let start = previous.saturating_add(1);
            if !starts(start) && start.saturating_add(difference) >= at {
                self.update(cx, hand, start, self.initial(at))?;
            }
        }
        if !has_left {
            let reaches = previous.is_some_and(|previous| at.saturating_sub(difference) <= previous);
            let so_far = match left.filter(|_| reaches) {
                Some(window) => Some((window.value.clone(), at)),
                None => self.initial(at),
            };
            self.update(cx, hand, at - difference, so_far)?;
        }
        match right.filter(|window| !has_right && window.newest > at) {
            Some(window) => self.put_right(cx, hand, window),
            None => Ok(()),
        }
    }

    /// A record before the first full window: `[0, difference]` stands for all windows that would begin below 0 (D-45).
    fn early(&self, cx: &mut dyn Context, hand: &InHand<'_, K, V>) -> Result<()> {
        let at = hand.record.timestamp;
        let mut found = self.windows(cx, hand, 0, |_| false)?;
        found.reverse();
        let combined = found.iter().find(|window| window.start == 0);
        let previous = combined.map(|window| window.newest).filter(|newest| *newest < at);
        let mut right = None;
        for window in found.iter().filter(|window| (1..=at).contains(&window.start)) {
            right = Some(window);
            self.update(cx, hand, window.start, Some((window.value.clone(), window.newest)))?;
        }
        let starts = |start: Timestamp| found.iter().any(|window| window.start == start);
        let right = right.or(combined.filter(|window| window.newest > at));
        if let Some(window) = right.filter(|window| !starts(at + 1) && window.newest > at) {
            self.put_right(cx, hand, window)?;
        }
        if let Some(previous) = previous.filter(|previous| !starts(previous + 1)) {
            self.update(cx, hand, previous + 1, self.initial(at))?;
        }
        let so_far = match combined {
            Some(window) => Some((window.value.clone(), window.newest)),
            None => self.initial(at),
        };
        self.update(cx, hand, 0, so_far)
    }

    /// What a window without a record holds; its time is that of the record in hand.
    fn initial(&self, at: Timestamp) -> Option<(VA, Timestamp)> {
        self.step.initial().map(|value| (value, at))
    }

    /// The window that starts right behind the record: it holds what a window around it held before.
    fn put_right(&self, cx: &mut dyn Context, hand: &InHand<'_, K, V>, from: &Found<VA>) -> Result<()> {
        let start = hand.record.timestamp.saturating_add(1);
        self.write(cx, hand, start, (Some(from.value.clone()), None, from.newest))
    }

    /// Adds the record to a window, unless that is closed.
    fn update(
        &self,
        cx: &mut dyn Context,
        hand: &InHand<'_, K, V>,
        start: Timestamp,
        so_far: Option<(VA, Timestamp)>,
    ) -> Result<()> {
        if start.saturating_add(self.windows.difference_ms()) < hand.close_time {
            cx.dropped(Dropped::Late);
            return Ok(());
        }
        let newest = so_far.as_ref().map_or(hand.record.timestamp, |(_, newest)| hand.record.timestamp.max(*newest));
        let so_far = so_far.map(|(value, _)| value);
        let old = so_far.clone().filter(|_| self.updates.sends_old);
        let new = self.step.next(hand.key, hand.record.value, so_far);
        self.write(cx, hand, start, (new, old, newest))
    }

    fn write(
        &self,
        cx: &mut dyn Context,
        hand: &InHand<'_, K, V>,
        start: Timestamp,
        (new, old, timestamp): (Option<VA>, Option<VA>, Timestamp),
    ) -> Result<()> {
        let end = start.saturating_add(self.windows.difference_ms());
        let row = self.updates.table.rows.kind.row(hand.key_bytes, start, end);
        let headers = hand.record.headers;
        let Some(change) =
            self.updates.write(cx, row, Update { new, old, timestamp, at: hand.record.timestamp, headers })?
        else {
            return Ok(());
        };
        if self.emitted.is_some() {
            return Ok(());
        }
        let key = Windowed::new(hand.key.clone(), start, end);
        self.updates.children.forward(cx, Record { key: Some(&key), value: Some(&change), timestamp, headers })
    }

    /// Forwards the windows that `close_time` closed since the last time, in order of start, then key (D-142).
    fn emit(
        &self,
        cx: &mut dyn Context,
        record: &Record<'_, K, V>,
        slot: TimeSlot,
        close_time: Timestamp,
    ) -> Result<()> {
        let (last, difference) = (cx.time(slot), self.windows.difference_ms());
        let upper = close_time.saturating_sub(difference).saturating_sub(1);
        if (last != NO_TIMESTAMP && last >= close_time) || upper < 0 {
            return Ok(());
        }
        let lower = if last == NO_TIMESTAMP { 0 } else { last.saturating_sub(difference).max(0) };
        let closed: Vec<(Bytes, Row)> = cx.store(self.updates.table.store).rows_by_time(lower, upper)?;
        super::table_store::emit(cx, &self.updates, record.headers, closed, |_, timestamp| timestamp)?;
        cx.set_time(slot, close_time);
        Ok(())
    }
}

impl<K: 'static, V, VA: 'static, S> Node for SlidingAggregate<K, V, VA, S> {
    fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        self.updates.flush(cx)
    }
}
