//! Streams joined by key within windows of event time (D-81..D-91): one node for each side.

use super::{
    Children, Context, Dropped, JoinWindows, Node, Process,
    join_store::{JoinStore, decode},
    unmatched::{Unmatched, Waiting},
};
use crate::{
    codec::Serde,
    fault::Result,
    record::{Record, Timestamp},
};
use std::{marker::PhantomData, sync::Arc};

/// The join's node for one side. Each record of this side meets the records that the other side's store has in the
/// window. Late records meet what is still kept; nothing is dropped for being late (D-83).
///
/// Kafka Streams looks for closed windows at most once a second of wall clock; this node does whenever its time
/// advances, so that its output depends on its input only.
pub(crate) struct StreamStreamJoin<K, V, VO, VR, F> {
    /// True for the node of the left stream.
    pub left: bool,
    /// True when records of this side without a partner are results.
    pub outer: bool,
    /// Seen from this side.
    pub windows: JoinWindows,
    pub other: JoinStore<K, VO>,
    /// Serde of this side's values.
    pub values: Serde<V>,
    /// Absent in an inner join.
    pub unmatched: Option<Unmatched>,
    /// Takes the key, the value of this side and that of the other.
    pub joiner: Arc<F>,
    pub children: Children<K, VR>,
    pub takes: PhantomData<fn(V)>,
}

impl<K, V, VO, VR, F> Process<K, V> for StreamStreamJoin<K, V, VO, VR, F>
where
    K: 'static,
    V: 'static,
    VO: 'static,
    F: Fn(Option<&K>, Option<&V>, Option<&VO>) -> Option<VR>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let at = record.timestamp;
        let stream_time = self.unmatched.map(|unmatched| unmatched.observe(cx, at));
        let (key, value) = match (record.key, record.value) {
            (Some(key), Some(value)) => (key, value),
            (None, Some(_)) if self.outer => return self.alone(cx, record),
            (None, _) => {
                cx.dropped(Dropped::NullKey);
                return Ok(());
            }
            (Some(_), None) => {
                cx.dropped(Dropped::NullValue);
                return Ok(());
            }
        };
        if let Some(unmatched) = &self.unmatched
            && stream_time == Some(at)
        {
            self.emit_closed(cx, unmatched, &record)?;
        }
        let (from, to) = bounds(self.windows, at);
        let partners = self.other.fetch(cx, key, from, to)?;
        let key_bytes = if self.unmatched.is_some() { self.other.key.to_bytes(key)? } else { bytes::Bytes::new() };
        for (time, other) in &partners {
            if let Some(unmatched) = &self.unmatched {
                unmatched.matched(cx, !self.left, &key_bytes, *time, at)?;
            }
            let joined = (self.joiner)(Some(key), Some(value), Some(other));
            self.children.forward(cx, record.with_value(joined.as_ref()).with_timestamp(at.max(*time)))?;
        }
        match &self.unmatched {
            Some(unmatched) if self.outer && partners.is_empty() => {
                // The grace has no part in this, so that a late partner may still bring a second result (D-88).
                if Some(to) < stream_time {
                    return self.alone(cx, record);
                }
                unmatched.put(cx, self.left, &key_bytes, &self.values.to_bytes(value)?, at)
            }
            _ => Ok(()),
        }
    }
}

/// First and last time of partners of a record at `at`.
pub(super) fn bounds(windows: JoinWindows, at: Timestamp) -> (Timestamp, Timestamp) {
    (at.saturating_sub(windows.before_ms()).max(0), at.saturating_add(windows.after_ms()).max(0))
}

impl<K, V, VO, VR, F> StreamStreamJoin<K, V, VO, VR, F>
where
    K: 'static,
    V: 'static,
    VO: 'static,
    F: Fn(Option<&K>, Option<&V>, Option<&VO>) -> Option<VR>,
{
    fn alone(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let joined = (self.joiner)(record.key, record.value, None);
        self.children.forward(cx, record.with_value(joined.as_ref()))
    }

    /// Emits the records of both sides whose windows are closed: each with its own key and time, and with the headers of
    /// the record that made time advance (D-86, D-87).
    fn emit_closed(&self, cx: &mut dyn Context, unmatched: &Unmatched, record: &Record<'_, K, V>) -> Result<()> {
        let grace_ms = self.windows.grace_ms();
        if !unmatched.may_be_due(cx, self.windows.after_ms(), grace_ms) {
            return Ok(());
        }
        let windows = if self.left { self.windows } else { self.windows.mirrored() };
        let wait_ms = |left: bool| {
            let reach = if left { windows.after_ms() } else { windows.before_ms() };
            reach.saturating_add(grace_ms)
        };
        unmatched.drain(cx, wait_ms, record.timestamp, |cx, Waiting { time, left, key, values, .. }| {
            let key = decode(cx, unmatched.store, &self.other.key, &key)?;
            for value in values {
                let joined = if left == self.left {
                    let this = decode(cx, unmatched.store, &self.values, &value)?;
                    (self.joiner)(Some(&key), Some(&this), None)
                } else {
                    let other = decode(cx, unmatched.store, &self.other.value, &value)?;
                    (self.joiner)(Some(&key), None, Some(&other))
                };
                let result =
                    Record { key: Some(&key), value: joined.as_ref(), timestamp: time, headers: record.headers };
                self.children.forward(cx, result)?;
            }
            Ok(())
        })
    }
}

impl<K, V, VO, VR, F> Node for StreamStreamJoin<K, V, VO, VR, F> {}
