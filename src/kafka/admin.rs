//! Topics before the first thread joins, and chores on topics while they run.

use super::{
    clients::{Clients, Quiet},
    config_check,
    consumer::is_denied,
    raw_admin,
};
use crate::{
    fault::{Fault, Result},
    record::{Offset, TopicPartition},
    topology::InternalTopic,
    worker::KeptBy,
};
use rdkafka::{
    Offset as RdOffset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
    groups::GroupList,
    metadata::{Metadata, MetadataTopic},
};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::Arc,
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
        let metadata = self.metadata(None)?;
        let count = |t: &rdkafka::metadata::MetadataTopic| {
            (Arc::from(t.name()), i32::try_from(t.partitions().len()).unwrap_or(i32::MAX))
        };
        Ok(metadata.topics().iter().filter(|t| t.error().is_none()).map(count).collect())
    }

    /// Asks for a little while, as a broker may be starting; a refused log-in does not get better.
    fn metadata(&self, topic: Option<&str>) -> Result<Metadata> {
        let start = Instant::now();
        let mut heard = None;
        loop {
            let error = match self.client.inner().fetch_metadata(topic, Duration::from_secs(2)) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            // A call that times out does not say why.
            heard = raw_admin::complaint(self.client.inner().native_ptr()).or(heard);
            let refused = heard.as_deref().is_some_and(is_refusal);
            if refused || start.elapsed() > TIMEOUT {
                return Err(no_broker(&error, heard.as_deref()).at(format!("bootstrap.servers={}", self.brokers)));
            }
        }
    }

    /// The error for topics that can't be seen: they don't exist, or this application may not see them.
    pub fn missing(&self, missing: &[&str]) -> Fault {
        let denied = |topic: &&str| {
            let metadata = self.client.inner().fetch_metadata(Some(topic), TIMEOUT).ok();
            let error = metadata.as_ref().and_then(|m| m.topics().first()).and_then(MetadataTopic::error);
            error.is_some_and(|e| RDKafkaErrorCode::from(e) == RDKafkaErrorCode::TopicAuthorizationFailed)
        };
        let denied: Vec<&str> = missing.iter().filter(|t| denied(t)).copied().collect();
        if denied.is_empty() {
            return missing_topics(missing);
        }
        Fault::stop(format!("this application may not see topics: {}", denied.join(", ")))
            .hint("grant DESCRIBE, and READ or WRITE, on them to its user; it may also be that they do not exist")
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
        let there: Vec<&InternalTopic> = topics.iter().filter(|t| counts.contains_key(&t.name)).collect();
        for topic in &there {
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
        self.check_configs(&there, over)?;
        let new = topics.iter().filter(|t| !counts.contains_key(&t.name)).map(|t| {
            let mut new = NewTopic::new(&t.name, t.partitions, TopicReplication::Fixed(replicas));
            for (name, value) in t.config.iter().filter(|(n, _)| !over.contains_key(*n)).chain(over) {
                new = new.set(name, value);
            }
            new
        });
        self.create(new)
    }

    /// Topics of its own that are there already: a setting that loses data is an error, another one a warning.
    fn check_configs(&self, topics: &[&InternalTopic], over: &BTreeMap<String, String>) -> Result<()> {
        if topics.is_empty() {
            return Ok(());
        }
        let asked: Vec<ResourceSpecifier<'_>> = topics.iter().map(|t| ResourceSpecifier::Topic(&t.name)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let answer = wait(self.client.describe_configs(&asked, &options)).unwrap_or_else(|error| {
            tracing::debug!(%error, "the settings of internal topics can't be read");
            Vec::new()
        });
        for (topic, answer) in topics.iter().zip(answer) {
            // Without DESCRIBE_CONFIGS nothing is known, and nothing depends on it.
            let Ok(found) = answer else { continue };
            let found = |name: &str| found.get(name).and_then(|e| e.value.clone());
            for warning in config_check::check(topic, over, found)? {
                tracing::warn!("{warning}");
            }
        }
        Ok(())
    }

    /// Warns of source topics that are changelogs too and may lose rows.
    pub fn check_sources(&self, topics: &[Arc<str>]) {
        if topics.is_empty() {
            return;
        }
        let asked: Vec<ResourceSpecifier<'_>> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let answer = wait(self.client.describe_configs(&asked, &options)).unwrap_or_else(|error| {
            tracing::debug!(%error, "the settings of source topics can't be read");
            Vec::new()
        });
        for (topic, answer) in topics.iter().zip(answer) {
            let Ok(found) = answer else { continue };
            let found = |name: &str| found.get(name).and_then(|e| e.value.clone());
            if let Some(warning) = config_check::check_source(topic, found) {
                tracing::warn!("{warning}");
            }
        }
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
                Err((name, code)) if is_denied(code) => {
                    return Err(Fault::stop(format!("topic `{name}` can't be created: {code}"))
                        .hint("grant CREATE to this application's user, or create the topic by hand"));
                }
                Err((name, code)) => {
                    return Err(Fault::stop(format!("topic `{name}` can't be created: {code}"))
                        .hint("check replication.factor and the topic. settings, or create the topic by hand"));
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
                return Err(self.missing(&missing));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Asks for the members of a group.
    pub fn describe(&self, group: &str, timeout: Duration) -> Result<GroupList, KafkaError> {
        self.client.inner().fetch_group_list(Some(group), timeout)
    }

    /// Deletes the records of a partition below an offset.
    pub fn purge(&self, partition: &TopicPartition, below: Offset) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, RdOffset::Offset(below))?;
        let answer = wait(self.client.delete_records(&list, &AdminOptions::new().request_timeout(Some(TIMEOUT))))?;
        answer.elements().iter().try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error)
    }

    /// Makes a topic keep its records however old they are.
    pub fn keep_forever(&self, topic: &str, by: KeptBy) -> Result<()> {
        let (setting, value) = by.setting();
        raw_admin::alter_topic(self.client.inner().native_ptr(), topic, setting, value, TIMEOUT_MS).map_err(|e| {
            Fault::stop(format!("{setting} of `{topic}` can't be raised: {e}")).hint(format!(
                "event time lies far behind the wall clock, so the broker would forget parts of the changelog within \
                 minutes. Set {setting}={value} on the topic by hand, or grant ALTER_CONFIGS"
            ))
        })
    }
}

/// The error for input that is not there.
fn missing_topics(missing: &[&str]) -> Fault {
    Fault::stop(format!("topics do not exist: {}", missing.join(", ")))
        .hint("create them, or start with --create-topics")
}

/// True for what a client says when trying again changes nothing.
fn is_refusal(heard: &str) -> bool {
    ["uthentication", "SSL handshake failed", "certificate"].iter().any(|word| heard.contains(word))
}

/// The error for brokers that don't answer, with what the client said of them.
fn no_broker(error: &KafkaError, heard: Option<&str>) -> Fault {
    match heard {
        Some(heard) if heard.contains("uthentication") => {
            Fault::stop(format!("the broker refuses the log-in: {heard}"))
                .hint("check sasl.mechanism, sasl.username and sasl.password")
        }
        Some(heard) if is_refusal(heard) => Fault::stop(format!("TLS with the broker fails: {heard}"))
            .hint("check ssl.ca.location, and the host names of bootstrap.servers"),
        heard => Fault::stop(format!("no broker answers: {}", heard.unwrap_or(&error.to_string())))
            .hint("check that Kafka runs, that the address is right, and security.protocol"),
    }
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
