//! The range assignor: per topic, the sorted members take consecutive partitions.

use crate::record::TopicPartition;
use std::sync::Arc;

/// Partitions of one topic for the member at `index` of `members` sorted ones.
pub(super) fn range(topic: &Arc<str>, partitions: i32, members: usize, index: usize) -> Vec<TopicPartition> {
    let (members, index) = (members as i32, index as i32);
    let (each, extra) = (partitions / members, partitions % members);
    let first = each * index + index.min(extra);
    let count = each + i32::from(index < extra);
    (first..first + count).map(|p| TopicPartition { topic: Arc::clone(topic), partition: p }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_members_take_the_remainder() {
        let topic: Arc<str> = "t".into();
        let of = |index| range(&topic, 6, 4, index).iter().map(|p| p.partition).collect::<Vec<_>>();
        assert_eq!((of(0), of(1), of(2), of(3)), (vec![0, 1], vec![2, 3], vec![4], vec![5]));
        assert!(range(&topic, 1, 2, 1).is_empty());
    }
}
