//! Where records leave: typed records to bytes, with topic and partition chosen.

use super::{Context, Node, Process, Stage, errors::settle};
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
    /// One topic for all records.
    Fixed {
        /// Full name.
        topic: Arc<str>,
        /// Partition count, where it is known when the task is built.
        partitions: Option<i32>,
    },
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
        fault.with_remedy(Remedy::Skip).at(format!("sink {}, topic {topic}", self.name))
    }

    fn route(&self, topic: &str, record: &Record<'_, K, V>, partitions: i32) -> Route {
        self.partitioner.as_ref().map_or(Route::Default, |choose| choose(topic, record.key, record.value, partitions))
    }
}

impl<K: 'static, V: 'static> Process<K, V> for Sink<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        match self.write(cx, record) {
            Err(fault) if fault.remedy == Remedy::Skip => {
                let of = (record.timestamp, record.headers);
                settle(cx, Stage::Production, &self.name, of, fault, None)
            }
            done => done,
        }
    }
}

impl<K: 'static, V: 'static> Sink<K, V> {
    /// Writes a record. A fault to skip is the record's own: the handler decides about it.
    fn write(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let (topic, known) = match &self.topic {
            Topic::Fixed { topic, partitions } => (topic.clone(), *partitions),
            Topic::Dynamic(choose) => (choose(record.key, record.value).into(), None),
        };
        if record.timestamp < 0 {
            return Err(Fault::stop(format!(
                "a record with the negative timestamp {} can't be written",
                record.timestamp
            ))
            .at(format!("sink {}, topic {topic}", self.name))
            .hint("give it a valid time, or leave it out before the sink"));
        }
        let partitions = known.map_or_else(|| cx.partitions(&topic), Ok)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, operator::testkit::Kit, record::Windowed};

    fn fixed<K, V>(topic: &str) -> Topic<K, V> {
        Topic::Fixed { topic: topic.into(), partitions: None }
    }

    fn sink(topic: Topic<String, i64>, partitioner: Option<Arc<StreamPartitioner<String, i64>>>) -> Sink<String, i64> {
        let (key, value) = (serdes::string(), serdes::i64());
        Sink { name: "sink".into(), topic, key, value, partitioner, by_inner_key: true }
    }

    fn send(sink: &Sink<String, i64>) -> (Kit, Result<()>) {
        let (mut kit, key) = (Kit::key_value(), "abc".to_owned());
        let result = sink.process(&mut kit, Record::new(Some(&key), Some(&1), 5));
        (kit, result)
    }

    fn partitions(kit: &Kit) -> Vec<i32> {
        kit.sent.iter().map(|r| r.partition).collect()
    }

    /// D-165.
    #[test]
    fn a_partitioner_may_choose_any_number_of_partitions() {
        for (route, wanted) in [
            (Route::Default, vec![3]),
            (Route::To(1), vec![1]),
            (Route::Many(vec![0, 2]), vec![0, 2]),
            (Route::Drop, vec![]),
        ] {
            let choose: Arc<StreamPartitioner<String, i64>> = Arc::new(move |_, _, _, _| route.clone());
            let (kit, result) = send(&sink(fixed("out"), Some(choose)));
            result.unwrap();
            assert_eq!(partitions(&kit), wanted);
        }
        let choose: Arc<StreamPartitioner<String, i64>> = Arc::new(|_, _, _, partitions| Route::To(partitions));
        let fault = send(&sink(fixed("out"), Some(choose))).1.unwrap_err();
        assert_eq!(fault.to_string(), "the partitioner chose partition 4 of 4 (sink sink, topic out)");
    }

    #[test]
    fn the_topic_may_depend_on_the_record() {
        let (kit, _) = send(&sink(Topic::Dynamic(Arc::new(|key, _| format!("to-{}", key.unwrap()))), None));
        assert_eq!(&*kit.sent[0].topic, "to-abc");
        assert!(send(&sink(fixed("unknown"), None)).1.is_err());
    }

    /// D-164.
    #[test]
    fn a_windowed_key_is_partitioned_by_its_inner_key() {
        for (by_inner_key, wanted) in [(true, 3), (false, 11 % 4)] {
            let node: Sink<Windowed<String>, i64> = Sink {
                name: "sink".into(),
                topic: fixed("out"),
                key: serdes::windowed(serdes::string(), 10),
                value: serdes::i64(),
                partitioner: None,
                by_inner_key,
            };
            let mut kit = Kit::key_value();
            let key = Windowed::new("abc".to_owned(), 0, 10);
            node.process(&mut kit, Record::new(Some(&key), Some(&1), 5)).unwrap();
            assert_eq!(partitions(&kit), [wanted]);
        }
    }
}
