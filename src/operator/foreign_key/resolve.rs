//! Where a foreign-key join comes together: what the right side answered, and the left row of the moment (D-107).

use super::wire::Response;
use crate::{
    codec::{Serde, murmur3},
    fault::Result,
    operator::{Children, Context, Dropped, Node, Process, getter::Getter},
    record::Record,
};
use std::{rc::Rc, sync::Arc};

/// The node that joins responses. One for a left row that has changed since is dropped: another is on its way. It
/// counts, as in Kafka Streams.
pub(crate) struct Resolve<K, V, VR, F> {
    pub left: Rc<dyn Getter<K, V>>,
    pub value: Serde<V>,
    /// True for a left join: a left row without a right one has a result.
    pub keeps: bool,
    pub joiner: Arc<F>,
    pub children: Children<K, VR>,
}

impl<K, V, VO, VR, F> Process<K, Response<VO>> for Resolve<K, V, VR, F>
where
    V: 'static,
    F: Fn(&V, Option<&VO>) -> Option<VR>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Response<VO>>) -> Result<()> {
        let (Some(key), Some(response)) = (record.key, record.value) else { return Ok(()) };
        let row = self.left.get(cx, key)?.map(|(row, _)| row);
        let hash = match &row {
            Some(row) => Some(murmur3(&self.value.to_bytes(row)?)),
            None => None,
        };
        if hash != response.hash {
            cx.dropped(Dropped::OutOfOrder);
            return Ok(());
        }
        let joined = match (&row, &response.value) {
            (None, _) => None,
            (Some(_), None) if !self.keeps => None,
            (Some(row), right) => (self.joiner)(row, right.as_ref()),
        };
        self.children.forward(cx, record.with_value(joined.as_ref()))
    }
}

impl<K, V, VR, F> Node for Resolve<K, V, VR, F> {}
