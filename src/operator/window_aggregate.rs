//! Aggregates by key and time window (D-53, D-54, D-61, D-121), emitted on update or on close (D-140..D-144).

use super::{
    Context, Dropped, FixedWindows, Node, Process, TimeSlot,
    aggregate::{Step, step},
    errors::late,
    rows::{START_BYTES, WindowRows},
    table_store::{Update, Updates, emit},
};
use crate::{
    fault::Result,
    record::{NO_TIMESTAMP, Record, Timestamp, Windowed},
    state::Row,
};
use bytes::Bytes;
use std::{marker::PhantomData, ops::ControlFlow, sync::Arc};

/// The node of windowed `count`, `reduce` and `aggregate`. Its stream time and the last emitted close time lie in
/// the task and survive a restart, which Kafka Streams' stream time does not (D-52).
pub(crate) struct WindowAggregate<K, V, VA, S> {
    pub windows: FixedWindows,
    pub step: Arc<S>,
    pub updates: Updates<Windowed<K>, VA, WindowRows<K>>,
    /// Greatest record time that this node saw.
    pub stream_time: TimeSlot,
    /// Close time up to which windows were emitted; only when it emits on close.
    pub emitted: Option<TimeSlot>,
    /// Emits on close before the record is put: its windows may be so much later that others expire. Kafka Streams does
    /// so where its record cache still holds the rows, and loses them elsewhere.
    pub emits_first: bool,
    pub takes: PhantomData<fn(V)>,
}

impl<K, V, VA, S> Process<K, V> for WindowAggregate<K, V, VA, S>
where
    K: Clone + 'static,
    VA: Clone + 'static,
    S: Step<K, V, VA>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let Some(key) = record.key else {
            cx.dropped(Dropped::NullKey);
            return Ok(());
        };
        let stream_time = cx.time(self.stream_time).max(record.timestamp);
        cx.set_time(self.stream_time, stream_time);
        let close_time = stream_time.saturating_sub(self.windows.grace_ms());
        if let (Some(emitted), true) = (self.emitted, self.emits_first) {
            self.emit(cx, &record, emitted, close_time)?;
        }
        // One row id for all windows: the start is written over.
        let mut row = cx.buffer();
        row.extend_from_slice(&[0; START_BYTES]);
        self.updates.table.rows.key.encode(key, &mut row)?;
        for start in self.windows.windows_for(record.timestamp) {
            let end = start.saturating_add(self.windows.size_ms());
            if end <= close_time {
                late(cx, (start, end), close_time, record.timestamp)?;
                continue;
            }
            row[..START_BYTES].copy_from_slice(&start.to_be_bytes());
            self.update(cx, &record, Windowed::new(key, start, end), Bytes::copy_from_slice(&row))?;
        }
        cx.recycle(row);
        match self.emitted {
            Some(emitted) if !self.emits_first => self.emit(cx, &record, emitted, close_time),
            _ => Ok(()),
        }
    }
}

impl<K, V, VA, S> WindowAggregate<K, V, VA, S>
where
    K: Clone + 'static,
    VA: Clone + 'static,
    S: Step<K, V, VA>,
{
    fn update(&self, cx: &mut dyn Context, record: &Record<'_, K, V>, at: Windowed<&K>, row: Bytes) -> Result<()> {
        let found = self.updates.table.get_row(cx, &row)?;
        let forwards = !self.updates.cached && self.emitted.is_none();
        let keep_old = forwards && self.updates.sends_old;
        let (new, timestamp, old) = step(&*self.step, at.key, record.value, found, record.timestamp, keep_old);
        let update = Update { new, old, timestamp, at: record.timestamp, headers: record.headers };
        let Some(change) = self.updates.write(cx, row, update)? else { return Ok(()) };
        if self.emitted.is_some() {
            return Ok(());
        }
        let key = Windowed::new(at.key.clone(), at.start, at.end);
        let result = Record { key: Some(&key), value: Some(&change), timestamp, headers: record.headers };
        self.updates.children.forward(cx, result)
    }

    /// Forwards the windows that `close_time` closed since the last time, in order of start, then key.
    fn emit(
        &self,
        cx: &mut dyn Context,
        record: &Record<'_, K, V>,
        slot: TimeSlot,
        close_time: Timestamp,
    ) -> Result<()> {
        let last = cx.time(slot);
        let size = self.windows.size_ms();
        let upper = close_time.saturating_sub(size);
        if (last != NO_TIMESTAMP && last >= close_time) || upper < 0 {
            return Ok(());
        }
        let lower = if last == NO_TIMESTAMP { 0 } else { (last - size).max(0) + 1 };
        if last != NO_TIMESTAMP && self.windows.windows_for(upper).eq(self.windows.windows_for(lower - 1)) {
            return Ok(());
        }
        let closed = self.closed(cx, lower, upper)?;
        emit(cx, &self.updates, record.headers, closed, |_, timestamp| timestamp)?;
        cx.set_time(slot, close_time);
        Ok(())
    }

    /// Rows of windows with `lower <= start <= upper`.
    fn closed(&self, cx: &mut dyn Context, lower: Timestamp, upper: Timestamp) -> Result<Vec<(Bytes, Row)>> {
        let mut found = Vec::new();
        let to = upper.checked_add(1).map(i64::to_be_bytes);
        cx.store(self.updates.table.store).scan(
            &lower.to_be_bytes(),
            to.as_ref().map(<[u8; START_BYTES]>::as_slice),
            false,
            &mut |row, value| {
                found.push((Bytes::copy_from_slice(row), value));
                ControlFlow::Continue(())
            },
        )?;
        Ok(found)
    }
}

impl<K: 'static, V, VA: 'static, S> Node for WindowAggregate<K, V, VA, S> {
    fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        if self.emitted.is_some() {
            cx.store(self.updates.table.store).write_pending();
            return Ok(());
        }
        self.updates.flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        operator::{
            TimeWindows,
            aggregate::Aggregator,
            testkit::{Collect, Kit, collect, windowed_updates},
        },
        record::Change,
        state::StoreKind,
    };
    use std::{rc::Rc, time::Duration};

    type Child = Rc<Collect<Windowed<String>, Change<i64>>>;

    /// Counts in windows of 10 ms with a grace of 5 ms, started every `advance` ms.
    fn count(advance: u64, on_close: bool) -> (impl Process<String, i64>, Child, Kit) {
        let (child, children) = collect();
        let ms = Duration::from_millis;
        let counter = Aggregator { initializer: || 0, aggregator: |_: &String, _: Option<&i64>, n: i64| Some(n + 1) };
        let node = WindowAggregate {
            windows: FixedWindows::Time(TimeWindows::of_size_and_grace(ms(10), ms(5)).advance_by(ms(advance))),
            step: Arc::new(counter),
            updates: windowed_updates(10, children),
            stream_time: TimeSlot(0),
            emitted: on_close.then_some(TimeSlot(1)),
            emits_first: false,
            takes: PhantomData,
        };
        (node, child, Kit::new(StoreKind::Window { size_ms: 10, retention_ms: 1_000 }))
    }

    fn starts(child: &Child) -> Vec<(Timestamp, Option<i64>)> {
        child.take().into_iter().map(|(key, change, _)| (key.unwrap().start, change.unwrap().new)).collect()
    }

    #[test]
    fn a_record_is_late_for_a_window_that_ended_before_stream_time_and_grace() {
        let (node, child, mut kit) = count(5, false);
        let key = "k".to_owned();
        for at in [12, 21, 11] {
            node.process(&mut kit, Record::new(Some(&key), None, at)).unwrap();
        }
        // 11 lies in [5, 15) and [10, 20); stream time 21 closed what ends by 16.
        let wanted = [(5, Some(1)), (10, Some(1)), (15, Some(1)), (20, Some(1)), (10, Some(2))];
        assert_eq!(starts(&child), wanted);
        assert_eq!(kit.dropped, [Dropped::Late]);
    }

    #[test]
    fn a_null_key_is_dropped_before_time_moves() {
        let (node, _, mut kit) = count(10, false);
        node.process(&mut kit, Record::new(None, Some(&1), 500)).unwrap();
        assert_eq!((kit.dropped.as_slice(), kit.times[0]), ([Dropped::NullKey].as_slice(), -1));
    }

    #[test]
    fn windows_are_emitted_once_when_they_close() {
        let (node, child, mut kit) = count(10, true);
        let key = "k".to_owned();
        for at in [1, 12, 14] {
            node.process(&mut kit, Record::new(Some(&key), None, at)).unwrap();
        }
        assert!(child.take().is_empty());
        node.process(&mut kit, Record::new(Some(&key), None, 15)).unwrap();
        assert_eq!(starts(&child), [(0, Some(1))]);
        node.process(&mut kit, Record::new(Some(&key), None, 40)).unwrap();
        assert_eq!(starts(&child), [(10, Some(3))]);
        assert_eq!(kit.times[1], 35);
    }
}
