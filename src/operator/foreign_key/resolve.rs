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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::serdes,
        operator::testkit::{Kit, collect},
        record::Timestamp,
    };

    /// The left side's rows of the moment: `k` has the value `now`.
    struct Left;

    impl Getter<String, String> for Left {
        fn get(&self, _: &mut dyn Context, key: &String) -> Result<Option<(String, Timestamp)>> {
            Ok((key == "k").then(|| ("now".to_owned(), 1)))
        }
    }

    #[test]
    fn d107_an_answer_for_a_row_that_has_changed_since_is_dropped() {
        let (seen, children) = collect();
        let joiner = |left: &String, right: Option<&String>| Some(format!("{left} {}", right.map_or("-", |r| r)));
        let (left, value) = (Rc::new(Left), serdes::string());
        let node = Resolve { left, value, keeps: false, joiner: Arc::new(joiner), children };
        let mut kit = Kit::key_value();
        for (key, asked) in
            [("k", Some("now")), ("k", Some("before")), ("k", None), ("gone", Some("now")), ("gone", None)]
        {
            let hash = asked.map(|text| murmur3(text.as_bytes()));
            let response = Response { hash, value: Some("right".to_owned()), partition: None };
            node.process(&mut kit, Record::new(Some(&key.to_owned()), Some(&response), 5)).unwrap();
        }
        let row = |key: &str, value: Option<&str>| (Some(key.to_owned()), value.map(str::to_owned), 5);
        assert_eq!(seen.take(), [row("k", Some("now right")), row("gone", None)]);
        assert_eq!(kit.dropped, [Dropped::OutOfOrder; 3]);
    }
}
