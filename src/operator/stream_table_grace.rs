//! Stream records that wait before they are looked up in a versioned table (D-95), so that rows that come late are found.

use super::{Children, Context, Dropped, Node, Process, TimeSlot, getter::Getter};
use crate::{
    codec::{Serde, buffer::Buffered},
    fault::{Fault, Remedy, Result},
    record::{Record, StoreIx, Timestamp},
};
use bytes::Bytes;
use std::{ops::ControlFlow, rc::Rc, sync::Arc};

const PREFIX_BYTES: usize = 1;
const TIME_BYTES: usize = 8;
const SEQUENCE_BYTES: usize = 4;

/// Where records wait: row id = 0, time (i64), key bytes, sequence number (i32), as in Kafka Streams' changelog.
pub(crate) struct Waiting<K, V> {
    pub store: StoreIx,
    pub keys: Serde<K>,
    pub values: Serde<V>,
    /// How long a record waits, in milliseconds.
    pub grace_ms: i64,
    /// Greatest time of a record that waited.
    pub stream_time: TimeSlot,
    /// Number of the last record, so that equal keys and times don't meet.
    pub sequence: TimeSlot,
}

/// The node of a join with a versioned table and a grace period.
pub(crate) struct StreamTableGraceJoin<K, V, VT, V2, F> {
    pub name: Arc<str>,
    pub table: Rc<dyn Getter<K, VT>>,
    pub joiner: Arc<F>,
    pub left: bool,
    pub waiting: Waiting<K, V>,
    pub children: Children<K, V2>,
}

fn time_prefix(time: Timestamp) -> Vec<u8> {
    let mut row = vec![0];
    row.extend_from_slice(&time.to_be_bytes());
    row
}

impl<K: 'static, V: 'static, VT, V2, F> StreamTableGraceJoin<K, V, VT, V2, F>
where
    F: Fn(Option<&K>, &V, Option<&VT>) -> Option<V2>,
{
    fn join(&self, cx: &mut dyn Context, key: &K, record: Record<'_, K, V>) -> Result<()> {
        let Some(value) = record.value else { return Ok(()) };
        let found = self.table.get_as_of(cx, key, record.timestamp)?;
        if found.is_none() && !self.left {
            return Ok(());
        }
        let joined = (self.joiner)(Some(key), value, found.as_ref().map(|(row, _)| row));
        self.children.forward(cx, record.with_value(joined.as_ref()))
    }

    /// Lets a record wait. False when it came too late for that.
    fn put(&self, cx: &mut dyn Context, key: &K, value: &V, record: &Record<'_, K, V>) -> Result<bool> {
        let waiting = &self.waiting;
        let stream_time = cx.time(waiting.stream_time);
        if stream_time.saturating_sub(waiting.grace_ms) > record.timestamp {
            return Ok(false);
        }
        let sequence = (cx.time(waiting.sequence).max(0) + 1) & i64::from(i32::MAX);
        cx.set_time(waiting.sequence, sequence);
        cx.set_time(waiting.stream_time, stream_time.max(record.timestamp));
        let mut row = time_prefix(record.timestamp);
        waiting.keys.encode(key, &mut row)?;
        row.extend_from_slice(&i32::try_from(sequence).expect("masked to 31 bits").to_be_bytes());
        let buffered = Buffered {
            timestamp: record.timestamp,
            source: cx.source().cloned(),
            headers: record.headers.clone(),
            prior: None,
            old: None,
            new: Some(waiting.values.to_bytes(value)?),
            time: 0,
        };
        cx.store(waiting.store).put(row.into(), Some(buffered.encode()), record.timestamp)?;
        Ok(true)
    }

    /// Joins what has waited long enough, in the order of times.
    fn release(&self, cx: &mut dyn Context) -> Result<()> {
        let waiting = &self.waiting;
        let due = cx.time(waiting.stream_time).saturating_sub(waiting.grace_ms);
        if due < 0 {
            return Ok(());
        }
        let (mut rows, end): (Vec<(Bytes, Bytes)>, _) = (Vec::new(), time_prefix(due.saturating_add(1)));
        cx.store(waiting.store).scan(&time_prefix(0), Some(&end), false, &mut |row, stored| {
            rows.push((Bytes::copy_from_slice(row), stored.value.into()));
            ControlFlow::Continue(())
        })?;
        for (row, stored) in rows {
            let foreign = |fault: Fault| fault.with_remedy(Remedy::Stop).at(format!("node {}", self.name));
            let found = Buffered::decode(&stored).map_err(foreign)?;
            let key = row
                .get(PREFIX_BYTES + TIME_BYTES..row.len().saturating_sub(SEQUENCE_BYTES))
                .ok_or_else(|| foreign(crate::codec::malformed("a row that waits has no key")))?;
            let key = waiting.keys.decode(key).map_err(foreign)?;
            let value = found.new.map(|value| waiting.values.decode(&value)).transpose().map_err(foreign)?;
            let (timestamp, headers) = (found.timestamp, &found.headers);
            let before = cx.set_source(found.source.clone());
            let joined = self.join(cx, &key, Record { key: Some(&key), value: value.as_ref(), timestamp, headers });
            cx.set_source(before);
            joined?;
            cx.store(waiting.store).put(row, None, timestamp)?;
        }
        Ok(())
    }
}

impl<K: 'static, V: 'static, VT, V2, F> Process<K, V> for StreamTableGraceJoin<K, V, VT, V2, F>
where
    F: Fn(Option<&K>, &V, Option<&VT>) -> Option<V2>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let Some(value) = record.value else {
            cx.dropped(Dropped::NullValue);
            return Ok(());
        };
        let Some(key) = record.key else {
            if self.left {
                return Err(Fault::stop("a record that has to wait for a table has a null key")
                    .at(format!("node {}", self.name))
                    .hint("leave such records out before the join, or join without a grace period"));
            }
            cx.dropped(Dropped::NullKey);
            return Ok(());
        };
        if self.put(cx, key, value, &record)? { self.release(cx) } else { self.join(cx, key, record) }
    }
}

impl<K, V, VT, V2, F> Node for StreamTableGraceJoin<K, V, VT, V2, F> {}
