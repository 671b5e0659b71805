//! The model log: topics, transactions and consumer groups in memory, by the rules of a real broker that matter for
//! exactly-once.
//!
//! Markers take an offset, a read_committed reader stops at the last stable offset and leaves out aborted ranges, a
//! group has generations, a transactional id has epochs, and committed offsets of an open transaction make
//! [`Log::stable`] wait. Time is an argument of every call that needs it; nothing here is random.

mod assignor;
mod clean;
mod error;
mod group;
mod offsets;
mod partition;
mod transaction;

#[cfg(test)]
mod tests;

pub use error::LogError;
pub use group::{Assignment, Heartbeat, Join};
pub use offsets::{Committed, Identity};
pub use partition::{Fetched, Isolation};
pub use transaction::Producer;

use crate::record::{Offset, OutRecord, RawRecord, Timestamp, TopicPartition};
use group::Group;
use partition::Partition;
use std::{collections::BTreeMap, sync::Arc};
use transaction::Transactions;

/// What a topic's log cleaner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicConfig {
    /// Keeps the newest record per key (`cleanup.policy=compact`).
    pub compact: bool,
    /// `retention.ms` for `cleanup.policy=delete`; `None` keeps everything.
    pub retention_ms: Option<i64>,
    /// `delete.retention.ms`: how long a tombstone and a marker survive their first cleaning.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: compaction stops at the first record or marker that is younger.
    pub min_compaction_lag_ms: i64,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self { compact: false, retention_ms: None, delete_retention_ms: 86_400_000, min_compaction_lag_ms: 0 }
    }
}

impl TopicConfig {
    /// From a topic's settings by their Kafka names.
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Self {
        let number = |name: &str| settings.get(name).and_then(|v| v.parse::<i64>().ok());
        let policy = settings.get("cleanup.policy").map_or("delete", String::as_str);
        Self {
            compact: policy.contains("compact"),
            retention_ms: if policy.contains("delete") { number("retention.ms").filter(|r| *r >= 0) } else { None },
            delete_retention_ms: number("delete.retention.ms").unwrap_or(86_400_000),
            min_compaction_lag_ms: number("min.compaction.lag.ms").unwrap_or(0),
        }
    }
}

struct Topic {
    id: String,
    config: TopicConfig,
    partitions: Vec<Partition>,
}

/// A cluster in memory.
pub struct Log {
    cluster_id: String,
    topics: BTreeMap<Arc<str>, Topic>,
    topics_made: u64,
    transactions: Transactions,
    groups: BTreeMap<Arc<str>, Group>,
}

impl Log {
    /// An empty cluster.
    pub fn new(cluster_id: impl Into<String>) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            topics: BTreeMap::new(),
            topics_made: 0,
            transactions: Transactions::default(),
            groups: BTreeMap::new(),
        }
    }

    /// Id of the cluster.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Creates a topic. False when it exists already; it is left as it is.
    pub fn create_topic(&mut self, name: &str, partitions: i32, config: TopicConfig) -> bool {
        if self.topics.contains_key(name) {
            return false;
        }
        self.topics_made += 1;
        let id = format!("topic-{}", self.topics_made);
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        self.topics.insert(name.into(), Topic { id, config, partitions });
        true
    }

    /// Deletes a topic with its records; one of the same name made later has another id.
    pub fn delete_topic(&mut self, name: &str) -> bool {
        self.topics.remove(name).is_some()
    }

    /// Adds partitions until there are `partitions` of them.
    ///
    /// # Errors
    /// When the topic does not exist.
    pub fn grow_topic(&mut self, name: &str, partitions: i32) -> Result<(), LogError> {
        let topic = self.topics.get_mut(name).ok_or(LogError::UnknownTopic)?;
        while (topic.partitions.len() as i32) < partitions {
            topic.partitions.push(Partition::default());
        }
        Ok(())
    }

    /// Changes what the cleaner does with a topic.
    ///
    /// # Errors
    /// When the topic does not exist.
    pub fn configure_topic(&mut self, name: &str, config: TopicConfig) -> Result<(), LogError> {
        self.topics.get_mut(name).ok_or(LogError::UnknownTopic)?.config = config;
        Ok(())
    }

    /// What the cleaner does with a topic.
    pub fn topic_config(&self, name: &str) -> Option<TopicConfig> {
        self.topics.get(name).map(|t| t.config)
    }

    /// Id of a topic.
    pub fn topic_id(&self, name: &str) -> Option<&str> {
        self.topics.get(name).map(|t| t.id.as_str())
    }

    /// Names of all topics in order.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// Partition count of a topic, `None` when it does not exist.
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        self.topics.get(topic).map(|t| t.partitions.len() as i32)
    }

    fn partition(&self, topic: &str, partition: i32) -> Result<&Partition, LogError> {
        let topic = self.topics.get(topic).ok_or(LogError::UnknownTopic)?;
        usize::try_from(partition).ok().and_then(|p| topic.partitions.get(p)).ok_or(LogError::UnknownTopic)
    }

    fn partition_mut(&mut self, topic: &str, partition: i32) -> Result<&mut Partition, LogError> {
        let topic = self.topics.get_mut(topic).ok_or(LogError::UnknownTopic)?;
        usize::try_from(partition).ok().and_then(|p| topic.partitions.get_mut(p)).ok_or(LogError::UnknownTopic)
    }

    /// Appends a record outside of any transaction. Returns its offset.
    ///
    /// # Errors
    /// When the partition does not exist.
    pub fn append(&mut self, record: OutRecord) -> Result<Offset, LogError> {
        Ok(self.partition_mut(&record.topic, record.partition)?.append(record, None))
    }

    /// Reads from `from` on: at least one record when there is one, then as many as fit in `bytes_max`.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] below the start or above the end of the log.
    pub fn fetch(
        &self,
        partition: &TopicPartition,
        from: Offset,
        isolation: Isolation,
        bytes_max: usize,
    ) -> Result<Fetched, LogError> {
        self.partition(&partition.topic, partition.partition)?.fetch(from, isolation, bytes_max)
    }

    /// All records of a partition that the isolation level shows.
    ///
    /// # Errors
    /// When the partition does not exist.
    pub fn read_all(&self, partition: &TopicPartition, isolation: Isolation) -> Result<Vec<RawRecord>, LogError> {
        let start = self.start(partition)?;
        Ok(self.fetch(partition, start, isolation, usize::MAX)?.records)
    }

    /// First offset that can be read.
    ///
    /// # Errors
    /// When the partition does not exist.
    pub fn start(&self, partition: &TopicPartition) -> Result<Offset, LogError> {
        Ok(self.partition(&partition.topic, partition.partition)?.start())
    }

    /// The next offset to be written (read_uncommitted end).
    ///
    /// # Errors
    /// When the partition does not exist.
    pub fn end(&self, partition: &TopicPartition) -> Result<Offset, LogError> {
        Ok(self.partition(&partition.topic, partition.partition)?.end())
    }

    /// The last stable offset: everything below it belongs to decided transactions.
    ///
    /// # Errors
    /// When the partition does not exist.
    pub fn stable_end(&self, partition: &TopicPartition) -> Result<Offset, LogError> {
        Ok(self.partition(&partition.topic, partition.partition)?.stable_end())
    }

    /// Deletes the records below an offset (`DeleteRecords`). Returns the new start.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] above the end of the log.
    pub fn delete_records(&mut self, partition: &TopicPartition, below: Offset) -> Result<Offset, LogError> {
        self.partition_mut(&partition.topic, partition.partition)?.delete_below(below)
    }

    /// Runs the cleaner over one topic: retention by time, then compaction, as its settings say.
    ///
    /// # Errors
    /// When the topic does not exist.
    pub fn clean(&mut self, topic: &str, now: Timestamp) -> Result<(), LogError> {
        let topic = self.topics.get_mut(topic).ok_or(LogError::UnknownTopic)?;
        for partition in &mut topic.partitions {
            partition.clean(&topic.config, now);
        }
        Ok(())
    }

    /// Lets time pass: sessions end, rebalances that waited too long go on without the silent members, transactions
    /// over their timeout are aborted and their producers fenced.
    pub fn tick(&mut self, now: Timestamp) {
        self.expire_transactions(now);
        for name in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.tick_group(&name, now);
        }
    }
}
