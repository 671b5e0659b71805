//! What a world looks like from outside: whether it has come to rest, and what its topics became.

use super::{scene, simulator::World};
use crate::{log::TopicConfig, record::TopicPartition};
use std::sync::Arc;

impl World<'_> {
    fn sources(&self) -> impl Iterator<Item = TopicPartition> {
        let topics = self.scene.resolved.subscription();
        topics.into_iter().flat_map(|t| (0..scene::PARTITIONS).map(move |p| TopicPartition::new(Arc::clone(&t), p)))
    }

    pub(super) fn at_rest(&self) -> bool {
        self.log.pending_markers() == 0
            && self.slots.iter().all(|s| s.member.is_some() && !s.leaving)
            && self.sources().all(|tp| {
                let end = self.log.stable_end(&tp).unwrap_or_default();
                let committed = self.log.committed(scene::APPLICATION, &tp).map_or(0, |c| c.offset);
                committed >= end && self.log.end(&tp) == Ok(end)
            })
    }

    pub(super) fn purged(&self) -> bool {
        let repartition = self.scene.resolved.internal.iter().filter(|t| t.repartition);
        repartition
            .flat_map(|t| (0..t.partitions).map(|p| TopicPartition::new(Arc::clone(&t.name), p)))
            .any(|tp| self.log.start(&tp).is_ok_and(|start| start > 0))
    }

    pub(super) fn kept_forever(&self) -> bool {
        self.scene.resolved.internal.iter().any(|topic| {
            let declared = TopicConfig::from_settings(&topic.config).retention_ms;
            declared.is_some() && self.log.topic_config(&topic.name).is_some_and(|c| c.retention_ms.is_none())
        })
    }

    pub(super) fn lag(&mut self) -> String {
        let mut lag = String::new();
        for slot in &mut self.slots {
            let Some(member) = slot.member.as_mut() else { continue };
            let snapshot = member.worker_mut().snapshot();
            let tasks = snapshot.tasks.iter().map(|t| format!("{}:{}", t.id, t.state)).collect::<Vec<_>>().join(" ");
            let waiting = member.client.pending();
            lag.push_str(&format!("worker {} {} [{tasks}] awaits {waiting}; ", slot.index, snapshot.state));
        }
        for tp in self.sources() {
            let (stable, end) = (self.log.stable_end(&tp).unwrap_or(-1), self.log.end(&tp).unwrap_or(-1));
            let committed = self.log.committed(scene::APPLICATION, &tp).map_or(0, |c| c.offset);
            if committed < end {
                lag.push_str(&format!("{tp} committed {committed} stable {stable} end {end}; "));
            }
        }
        lag
    }
}
