//! A stream joined with itself, with one store in place of two (D-92).

use super::{
    Children, Context, Dropped, JoinWindows, Node, Process, TimeSlot, join_store::JoinStore, stream_stream_join::bounds,
};
use crate::{fault::Result, record::Record};
use std::sync::Arc;

/// The one node of an optimised self-join. Its results are those of an inner join, in that join's order.
pub(crate) struct StreamSelfJoin<K, V, VR, F> {
    pub windows: JoinWindows,
    pub rows: JoinStore<K, V>,
    /// Greatest time of the records that were joined.
    pub stream_time: TimeSlot,
    /// Key, left value, right value.
    pub joiner: Arc<F>,
    pub children: Children<K, VR>,
}

impl<K, V, VR, F> Process<K, V> for StreamSelfJoin<K, V, VR, F>
where
    K: 'static,
    V: 'static,
    F: Fn(Option<&K>, Option<&V>, Option<&V>) -> Option<VR>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let (Some(key), Some(value)) = (record.key, record.value) else {
            cx.dropped(if record.key.is_none() { Dropped::NullKey } else { Dropped::NullValue });
            return Ok(());
        };
        let at = record.timestamp;
        let stream_time = cx.time(self.stream_time).max(at);
        cx.set_time(self.stream_time, stream_time);
        // A record that the store no longer takes does not meet itself.
        let oldest = stream_time.saturating_sub(self.windows.retention_ms()).saturating_add(1);
        let mut meets_itself = at > oldest;
        let join = |cx: &mut dyn Context, left: &V, right: &V, time| {
            let joined = (self.joiner)(Some(key), Some(left), Some(right));
            self.children.forward(cx, record.with_value(joined.as_ref()).with_timestamp(at.max(time)))
        };
        let (from, to) = bounds(self.windows, at);
        for (time, other) in self.rows.fetch(cx, key, from, to)? {
            join(cx, value, &other, time)?;
        }
        let (from, to) = bounds(self.windows.mirrored(), at);
        for (time, other) in self.rows.fetch(cx, key, from, to)? {
            if time > at && meets_itself {
                meets_itself = false;
                join(cx, value, value, at)?;
            }
            join(cx, &other, value, time)?;
        }
        if meets_itself { join(cx, value, value, at) } else { Ok(()) }
    }
}

impl<K, V, VR, F> Node for StreamSelfJoin<K, V, VR, F> {}
