//! What a run until the end waits for: all input that was there at the start, whoever of the group processes it.

use super::{
    clients::{Clients, Quiet},
    consumer::{REQUEST_TIMEOUT, list_of},
    restore::listed,
};
use crate::{
    fault::{Fault, Result},
    record::{Offset, TopicPartition},
    topology::{Resolved, Topology},
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::{cell::Cell, sync::Arc, time::Duration};

/// Between two looks at what the group has committed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where each partition of the input ended at the start for a reader of committed records: what lies behind the start of
/// an open transaction was not there yet, and may never be.
pub(super) struct InputEnd {
    client: BaseConsumer<Quiet>,
    ends: Arc<Vec<(TopicPartition, Offset)>>,
    waiting: Cell<bool>,
}

impl InputEnd {
    /// The ends of the moment.
    ///
    /// # Errors
    /// When the brokers don't tell.
    pub fn now(clients: &Clients, topology: &Topology, resolved: &Resolved) -> Result<Self> {
        let partitions: Vec<TopicPartition> = topology
            .external_sources()
            .into_iter()
            .chain(resolved.patterns.values().flatten().cloned())
            .flat_map(|t| {
                (0..resolved.partitions.get(&t).copied().unwrap_or(0)).map(move |p| TopicPartition::new(t.clone(), p))
            })
            .collect();
        let client: BaseConsumer<Quiet> = clients
            .reader("until-end")
            .create_with_context(Quiet)
            .map_err(|e| Fault::stop(format!("the reader of input ends can't work: {e}")))?;
        let ends = listed(&client, &partitions, rdkafka::Offset::End)?;
        Ok(Self { client, ends: Arc::new(ends.into_iter().collect()), waiting: Cell::new(false) })
    }

    /// The partitions and their ends.
    pub fn ends(&self) -> Arc<Vec<(TopicPartition, Offset)>> {
        Arc::clone(&self.ends)
    }

    /// True when the group has committed all of it. What is not told, or hangs on an open transaction, is not committed.
    pub fn is_committed(&self) -> bool {
        let partitions: Vec<TopicPartition> = self.ends.iter().map(|(partition, _)| partition.clone()).collect();
        let Ok(told) = self.client.committed_offsets(list_of(&partitions), REQUEST_TIMEOUT) else { return false };
        let committed = |partition: &TopicPartition| {
            let element = told.find_partition(&partition.topic, partition.partition)?;
            element.error().ok().map(|()| element.offset().to_raw().unwrap_or(0))
        };
        let all =
            self.ends.iter().all(|(partition, end)| committed(partition).is_some_and(|offset| offset.max(0) >= *end));
        if !all {
            if !self.waiting.replace(true) {
                tracing::info!("own partitions are at their end; other members of the group still have input");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        all
    }
}
