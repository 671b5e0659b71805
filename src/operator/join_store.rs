//! The store of one side of a stream-stream join, and the node that fills it.

use super::{Children, Context, Dropped, Node, Process, TimeSlot};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::{Record, StoreIx, Timestamp},
    state::Segmented,
};
use std::ops::ControlFlow;

/// Records of one side by key and time, duplicates included.
pub(crate) struct JoinStore<K, V> {
    pub store: StoreIx,
    pub key: Serde<K>,
    pub value: Serde<V>,
    /// How its row ids are made.
    pub rows: Segmented,
}

impl<K: 'static, V: 'static> JoinStore<K, V> {
    /// The records of `key` from `from` to `to`, both included, in order of time, then of arrival.
    pub fn fetch(&self, cx: &mut dyn Context, key: &K, from: Timestamp, to: Timestamp) -> Result<Vec<(Timestamp, V)>> {
        let key = self.key.to_bytes(key)?;
        let mut found = Vec::new();
        cx.store(self.store).scan_key(&key, from, to, false, &mut |id, row| {
            let time = self.rows.split(id).map(|(_, time, _)| time);
            found.extend(time.map(|time| (time, row.value)));
            ControlFlow::Continue(())
        })?;
        found.into_iter().map(|(time, value)| Ok((time, decode(cx, self.store, &self.value, &value)?))).collect()
    }
}

/// A value as a store gave it; bytes that are none were written by another version of the application.
pub(crate) fn decode<V: 'static>(cx: &mut dyn Context, store: StoreIx, serde: &Serde<V>, bytes: &[u8]) -> Result<V> {
    serde.decode(bytes).map_err(|fault| {
        let name = cx.store(store).spec().name.clone();
        Fault::stop(format!("a stored value can't be read: {}", fault.what()))
            .at(format!("store {name}"))
            .hint("the store was written with another serde; reset the application or give the store a new name")
    })
}

/// The node that keeps the records of one side. It forwards a record to the join first and keeps it afterwards, so that
/// a record never meets itself (D-82).
pub(crate) struct JoinWindow<K, V> {
    pub rows: JoinStore<K, V>,
    /// Counts the records that were written, so that those of one key and time stay apart. It lies in the task and is
    /// committed, where Kafka Streams starts again from 0 and may write over records.
    pub sequence: TimeSlot,
    pub children: Children<K, V>,
}

impl<K: 'static, V: 'static> Process<K, V> for JoinWindow<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        self.children.forward(cx, record)?;
        let Some(key) = record.key else { return Ok(()) };
        let JoinStore { store, rows, .. } = self.rows;
        let last = cx.time(self.sequence).max(0);
        let sequence = i32::try_from(last + 1).unwrap_or(0);
        cx.set_time(self.sequence, sequence.into());
        let row = rows.join_row(&self.rows.key.to_bytes(key)?, record.timestamp, sequence);
        let Some(value) = record.value else {
            cx.store(store).log_null(&row, record.timestamp, record.headers);
            return Ok(());
        };
        let value = self.rows.value.to_bytes(value)?;
        let store = cx.store(store);
        if !store.put_with_headers(row.clone(), Some(value), record.timestamp, record.headers)?
            && store.counts_expired(&row)
        {
            cx.dropped(Dropped::Expired);
        }
        Ok(())
    }
}

impl<K, V> Node for JoinWindow<K, V> {}
