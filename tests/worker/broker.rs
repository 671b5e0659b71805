//! A real broker of one test, and a plain client of it.

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use std::{
    collections::BTreeMap,
    future::Future,
    net::TcpListener,
    path::{Path, PathBuf},
    pin::pin,
    process::Command,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kafka/broker");

/// A running broker; ends with its value.
pub struct Broker {
    pub directory: tempfile::TempDir,
    pub address: String,
    port: u16,
}

/// A record of a topic: key, value.
pub type Pair = (Vec<u8>, Option<Vec<u8>>);

impl Broker {
    /// Starts a broker on two free ports.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for _ in 0..5 {
            let port = two_free_ports();
            if script(&["start", path(directory.path()), &port.to_string()]) {
                let broker = Self { directory, address: format!("127.0.0.1:{port}"), port };
                broker.wait_until_ready();
                return broker;
            }
        }
        panic!("no broker started; see kafka.log in its directory");
    }

    /// Ends the broker and starts it again on the same data.
    pub fn restart(&self) {
        assert!(script(&["stop", path(&self.data())]), "the broker stops");
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpListener::bind(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the broker did not end");
            thread::yield_now();
        }
        assert!(script(&["start", path(&self.data()), &self.port.to_string()]), "the broker starts again");
        self.wait_until_ready();
    }

    fn data(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    fn wait_until_ready(&self) {
        let consumer: BaseConsumer = self.config().set("group.id", "probe").create().expect("a consumer");
        let deadline = Instant::now() + Duration::from_secs(60);
        while consumer.fetch_metadata(None, Duration::from_secs(2)).is_err() {
            assert!(Instant::now() < deadline, "the broker does not answer");
        }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    /// Creates a topic that keeps records however old they are.
    pub fn create_topic(&self, name: &str, count: i32) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let topic = NewTopic::new(name, count, TopicReplication::Fixed(1)).set("retention.ms", "-1");
        let results = wait(admin.create_topics([&topic], &AdminOptions::new())).expect("the broker answers");
        for result in results {
            result.expect("the topic is new");
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        let ready = || {
            let metadata = admin.inner().fetch_metadata(Some(name), Duration::from_secs(5)).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            Some(partitions.len() == usize::try_from(count).ok()? && partitions.iter().all(|p| p.leader() >= 0))
        };
        while ready() != Some(true) {
            assert!(Instant::now() < deadline, "topic {name} has no leaders");
        }
    }

    /// Writes records (partition, key, value, timestamp) and waits until they are there. With `commit` they are one
    /// transaction, committed or aborted.
    pub fn write(&self, topic: &str, records: impl Iterator<Item = (i32, String, String, i64)>, commit: Option<bool>) {
        let mut config = self.config();
        config.set("linger.ms", "20").set("queue.buffering.max.messages", "1000000");
        if commit.is_some() {
            config.set("transactional.id", format!("writer-of-{topic}"));
        }
        let producer: BaseProducer = config.create().expect("a producer");
        let timeout = Duration::from_secs(30);
        if commit.is_some() {
            producer.init_transactions(timeout).expect("initialises");
            producer.begin_transaction().expect("begins");
        }
        for (partition, key, value, timestamp) in records {
            let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value).timestamp(timestamp);
            while let Err((_, back)) = producer.send(record) {
                producer.poll(Duration::from_millis(10));
                record = back;
            }
        }
        producer.flush(timeout).expect("all is written");
        match commit {
            Some(true) => producer.commit_transaction(timeout).expect("commits"),
            Some(false) => producer.abort_transaction(timeout).expect("aborts"),
            None => {}
        }
    }

    /// Every record of a topic that a read_committed reader sees, up to the end that it has now.
    pub fn read(&self, topic: &str) -> Vec<Pair> {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", "reader")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let timeout = Duration::from_secs(30);
        let metadata = consumer.fetch_metadata(Some(topic), timeout).expect("the topic exists");
        let mut partitions = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in metadata.topics()[0].partitions() {
            let (low, end) = watermarks(&consumer, topic, partition.id());
            if end > low {
                partitions.add_partition_offset(topic, partition.id(), Offset::Offset(low)).expect("an offset");
                ends.insert(partition.id(), end);
            }
        }
        consumer.assign(&partitions).expect("assigns");
        let mut records = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(m)) => records.push((m.key().unwrap_or_default().to_vec(), m.payload().map(<[u8]>::to_vec))),
                Some(Err(error)) => panic!("reading {topic}: {error}"),
                None => {}
            }
            let position = consumer.position().expect("positions are local");
            let done = ends.iter().all(|(partition, end)| {
                let at = position.find_partition(topic, *partition).map(|p| p.offset());
                matches!(at, Some(Offset::Offset(at)) if at >= *end)
            });
            if done {
                return records;
            }
            assert!(Instant::now() < deadline, "reading {topic} does not end");
        }
    }

    /// The client ids of a group's members.
    pub fn members(&self, group: &str) -> Vec<String> {
        let consumer: BaseConsumer = self.config().create().expect("a consumer");
        let list = consumer.fetch_group_list(Some(group), Duration::from_secs(30)).expect("the broker answers");
        let members = list.groups().iter().flat_map(|g| g.members().iter().map(|m| m.client_id().to_owned()));
        members.collect()
    }

    /// The newest value of each key; deletions remove it.
    pub fn fold(&self, topic: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows = BTreeMap::new();
        for (key, value) in self.read(topic) {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        rows
    }
}

/// Start and end of a partition. A loaded broker may be without a leader for a moment.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)) {
            Ok(range) => return range,
            Err(error) => assert!(Instant::now() < deadline, "{topic}-{partition} has no end: {error}"),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        script(&["stop", path(&self.data())]);
    }
}

fn script(arguments: &[&str]) -> bool {
    Command::new(SCRIPT).args(arguments).status().is_ok_and(|s| s.success())
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

fn two_free_ports() -> u16 {
    loop {
        let first = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = first.local_addr().expect("it is bound").port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

/// Runs an admin future to its end: its poll thread makes progress by itself.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        thread::yield_now();
    }
}
