//! Where records leave: typed records to bytes, with topic and partition chosen.

use super::{Context, Node, Process};
use crate::{
    codec::Serde,
    fault::{Fault, Remedy, Result},
    record::{OutRecord, Record, Target},
};
use bytes::Bytes;
use std::sync::Arc;

/// Where a [`StreamPartitioner`] sends a record (D-165).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Where Kafka's default partitioner would.
    Default,
    /// To one partition.
    To(i32),
    /// To each of several partitions.
    Many(Vec<i32>),
    /// Nowhere.
    Drop,
}

/// Chooses partitions: topic, key, value, number of partitions.
pub type StreamPartitioner<K, V> = dyn Fn(&str, Option<&K>, Option<&V>, i32) -> Route + Send + Sync;

/// Names the topic of a record by its key and value.
pub type TopicNameExtractor<K, V> = dyn Fn(Option<&K>, Option<&V>) -> String + Send + Sync;

/// Where a sink writes.
pub(crate) enum Topic<K, V> {
    /// Always there; the full name.
    Fixed(Arc<str>),
    /// By a function of the record.
    Dynamic(Arc<TopicNameExtractor<K, V>>),
}

/// The node of `to` and of repartition topics.
pub(crate) struct Sink<K, V> {
    pub name: Arc<str>,
    pub topic: Topic<K, V>,
    pub key: Serde<K>,
    pub value: Serde<V>,
    pub partitioner: Option<Arc<StreamPartitioner<K, V>>>,
    /// True where a windowed key is partitioned by its inner key (D-164): in `to`, but not in repartition topics.
    pub by_inner_key: bool,
}

impl<K: 'static, V: 'static> Sink<K, V> {
    fn refuse(&self, fault: Fault, topic: &str) -> Fault {
        fault.with_remedy(Remedy::Stop).at(format!("sink {}, topic {topic}", self.name))
    }

    fn route(&self, topic: &str, record: &Record<'_, K, V>, partitions: i32) -> Route {
        self.partitioner.as_ref().map_or(Route::Default, |choose| choose(topic, record.key, record.value, partitions))
    }
}

impl<K: 'static, V: 'static> Process<K, V> for Sink<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let topic: Arc<str> = match &self.topic {
            Topic::Fixed(topic) => topic.clone(),
            Topic::Dynamic(choose) => choose(record.key, record.value).into(),
        };
        let partitions = cx.partitions(&topic)?;
        let key = record.key.map(|k| self.key.to_bytes(k)).transpose().map_err(|f| self.refuse(f, &topic))?;
        let value = record.value.map(|v| self.value.to_bytes(v)).transpose().map_err(|f| self.refuse(f, &topic))?;
        let send = |cx: &mut dyn Context, partition: i32, key: Option<Bytes>, value: Option<Bytes>| {
            if !(0..partitions).contains(&partition) {
                return Err(Fault::stop(format!("the partitioner chose partition {partition} of {partitions}"))
                    .at(format!("sink {}, topic {topic}", self.name)));
            }
            cx.send(OutRecord {
                topic: topic.clone(),
                partition,
                key,
                value,
                timestamp: record.timestamp,
                headers: record.headers.clone(),
                target: Target::Sink,
            })
        };
        match self.route(&topic, &record, partitions) {
            Route::Default => {
                let chooses = |k| if self.by_inner_key { self.key.partition_key(k) } else { k };
                let partition = cx.default_partition(key.as_deref().map(chooses), partitions);
                send(cx, partition, key, value)
            }
            Route::To(partition) => send(cx, partition, key, value),
            Route::Many(all) => all.into_iter().try_for_each(|p| send(cx, p, key.clone(), value.clone())),
            Route::Drop => Ok(()),
        }
    }
}

impl<K, V> Node for Sink<K, V> {}
