//! Topics and the group before the first thread joins, and chores on topics while they run.

use super::{
    clients::{Clients, Quiet},
    raw_admin,
};
use crate::{
    fault::{Fault, Result},
    record::{Offset, TopicPartition},
    topology::InternalTopic,
};
use rdkafka::{
    Offset as RdOffset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(15);
const TIMEOUT_MS: i32 = 15_000;

/// Makes, checks and trims topics.
pub(super) struct Admin {
    client: AdminClient<Quiet>,
    brokers: String,
}

/// Partition counts by topic.
pub(super) type Counts = BTreeMap<Arc<str>, i32>;

impl Admin {
    pub fn connect(clients: &Clients) -> Result<Self> {
        let client = clients.admin().create_with_context(Quiet).map_err(|e| {
            Fault::stop(format!("the Kafka client can't be set up: {e}")).hint("check the security and admin. settings")
        })?;
        Ok(Self { client, brokers: clients.brokers().to_owned() })
    }

    /// Partition counts of all topics that this application may see.
    pub fn counts(&self) -> Result<Counts> {
        let metadata = self.client.inner().fetch_metadata(None, TIMEOUT).map_err(|e| {
            Fault::stop(format!("no broker answers: {e}"))
                .at(format!("bootstrap.servers={}", self.brokers))
                .hint("check that Kafka runs, that the address is right, and security.protocol")
        })?;
        let count = |t: &rdkafka::metadata::MetadataTopic| {
            (Arc::from(t.name()), i32::try_from(t.partitions().len()).unwrap_or(i32::MAX))
        };
        Ok(metadata.topics().iter().filter(|t| t.error().is_none()).map(count).collect())
    }

    /// The id of the cluster, or an empty text when it has none.
    pub fn cluster_id(&self) -> String {
        self.client.inner().fetch_cluster_id(TIMEOUT).unwrap_or_default()
    }

    /// The id of each topic.
    pub fn topic_ids(&self, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, String>> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<&str> = topics.iter().map(|t| &**t).collect();
        let ids = raw_admin::topic_ids(self.client.inner().native_ptr(), &names, TIMEOUT_MS)
            .map_err(|e| Fault::stop(format!("the broker did not describe the changelog topics: {e}")))?;
        Ok(topics.iter().cloned().zip(ids).collect())
    }

    /// Creates input and output topics that are missing, with the broker's partition count and endless retention.
    pub fn create_plain(&self, missing: &[Arc<str>]) -> Result<()> {
        self.create(missing.iter().map(|t| NewTopic::new(t, -1, TopicReplication::Fixed(-1)).set("retention.ms", "-1")))
    }

    /// Creates what is missing of the application's own topics; one that is there must have the right partition count.
    pub fn ensure_internal(
        &self,
        topics: &[InternalTopic],
        over: &BTreeMap<String, String>,
        replicas: i32,
        counts: &Counts,
    ) -> Result<()> {
        for topic in topics {
            if let Some(count) = counts.get(&topic.name)
                && *count != topic.partitions
            {
                return Err(Fault::stop(format!(
                    "internal topic `{}` has {count} partitions, the topology needs {}",
                    topic.name, topic.partitions
                ))
                .hint("an input's partition count or the topology has changed: use a new application.id, or reset this one"));
            }
        }
        let new = topics.iter().filter(|t| !counts.contains_key(&t.name)).map(|t| {
            let mut new = NewTopic::new(&t.name, t.partitions, TopicReplication::Fixed(replicas));
            for (name, value) in t.config.iter().filter(|(n, _)| !over.contains_key(*n)).chain(over) {
                new = new.set(name, value);
            }
            new
        });
        self.create(new)
    }

    fn create<'a>(&self, topics: impl Iterator<Item = NewTopic<'a>>) -> Result<()> {
        let topics: Vec<_> = topics.collect();
        if topics.is_empty() {
            return Ok(());
        }
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let results = wait(self.client.create_topics(&topics, &options))
            .map_err(|e| Fault::stop(format!("topics can't be created: {e}")).hint("look at the broker's log"))?;
        for result in results {
            match result {
                Ok(name) => tracing::info!(topic = name, "topic created"),
                // Another replica was faster.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(Fault::stop(format!("topic `{name}` can't be created: {code}"))
                        .hint("grant CREATE to this application, or create the topic by hand"));
                }
            }
        }
        Ok(())
    }

    /// Waits until all of these topics have partitions; a created topic takes a moment to be known everywhere.
    pub fn await_topics(&self, topics: &[Arc<str>]) -> Result<Counts> {
        let start = Instant::now();
        loop {
            let counts = self.counts()?;
            let missing: Vec<&str> = topics.iter().map(|t| &**t).filter(|t| !counts.contains_key(*t)).collect();
            if missing.is_empty() {
                return Ok(counts);
            }
            if start.elapsed() > TIMEOUT {
                return Err(missing_topics(&missing));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until no member of another program is in the group. Kafka Streams' members speak the protocol `stream`.
    pub fn await_group(&self, group: &str, limit_ms: i64, stop: &AtomicBool) -> Result<()> {
        let start = Instant::now();
        let mut said = false;
        loop {
            let foreign = self.foreign_members(group);
            if foreign.is_empty() || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if !said {
                tracing::warn!(
                    group,
                    members = foreign.join(", "),
                    "members of another program are in the group; waiting until they are gone"
                );
                said = true;
            }
            if i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX) > limit_ms {
                return Err(Fault::stop(format!("members of another program are still in group `{group}`"))
                    .at(foreign.join(", "))
                    .hint("stop them, or raise group.join.timeout.ms"));
            }
            thread::sleep(Duration::from_secs(1));
        }
    }

    fn foreign_members(&self, group: &str) -> Vec<String> {
        let list = match self.client.inner().fetch_group_list(Some(group), TIMEOUT) {
            Ok(list) => list,
            Err(error) => {
                tracing::debug!(%error, group, "the group can't be listed");
                return Vec::new();
            }
        };
        list.groups()
            .iter()
            .filter(|g| g.name() == group && g.protocol() == "stream")
            .flat_map(rdkafka::groups::GroupInfo::members)
            .map(|m| format!("{} at {}", m.client_id(), m.client_host()))
            .collect()
    }

    /// Deletes the records of a partition below an offset.
    pub fn purge(&self, partition: &TopicPartition, below: Offset) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, RdOffset::Offset(below))?;
        let answer = wait(self.client.delete_records(&list, &AdminOptions::new().request_timeout(Some(TIMEOUT))))?;
        answer.elements().iter().try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error)
    }

    /// Makes a topic keep its records however old they are.
    pub fn keep_forever(&self, topic: &str) -> Result<()> {
        raw_admin::alter_topic(self.client.inner().native_ptr(), topic, "retention.ms", "-1", TIMEOUT_MS).map_err(|e| {
            Fault::stop(format!("retention.ms of `{topic}` can't be raised: {e}")).hint(
                "event time lies far behind the wall clock, so the broker would delete the changelog within minutes. \
                 Set retention.ms=-1 on the topic by hand, or grant ALTER_CONFIGS",
            )
        })
    }
}

/// The error for input that is not there.
pub(super) fn missing_topics(missing: &[&str]) -> Fault {
    Fault::stop(format!("topics do not exist: {}", missing.join(", ")))
        .hint("create them, or start with --create-topics; without DESCRIBE rights they can't be seen either")
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer of the admin client, which has threads of its own.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park_timeout(Duration::from_millis(100)),
        }
    }
}
