//! A real broker of one test, and a plain client of it.

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
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
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kafka/broker");

/// Settings of the shared broker: what is old goes within a second, members may be given up early, and rights can be taken
/// away topic by topic.
const SHARED: &str = "\
group.min.session.timeout.ms=1000
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
";

/// Ends the broker in the directory `$1` and removes it once the test process has ended, however it ended.
const SENTINEL: &str = r#"trap '' INT TERM HUP; cat >/dev/null; "$0" kill "$1"; sleep 0.2; rm -rf "$1""#;

/// A running broker; ends with its value.
pub struct Broker {
    directory: tempfile::TempDir,
    pub address: String,
    port: u16,
}

/// Key and value of a record.
pub type Pair = (Vec<u8>, Option<Vec<u8>>);

/// A record of a topic.
pub struct Record {
    pub partition: i32,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
}

impl Broker {
    /// The broker of all tests that leave it running; topics and applications have names of their own.
    pub fn shared() -> Arc<Self> {
        static BROKER: OnceLock<Arc<Broker>> = OnceLock::new();
        let start = || {
            let broker = Self::start_with(SHARED);
            // A static value is never dropped. The pipe closes when this process is gone.
            let sentinel = ["-c", SENTINEL, SCRIPT, path(broker.directory.path())];
            let mut command = Command::new("sh");
            command.args(sentinel).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            std::mem::forget(command.spawn().expect("sh runs"));
            Arc::new(broker)
        };
        Arc::clone(BROKER.get_or_init(start))
    }

    /// Starts a broker on two free ports.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a broker on two free ports, with these lines added to its settings.
    pub fn start_with(settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("extra.properties"), settings).expect("a temporary directory");
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
        self.end_and_start("stop");
    }

    /// Kills the broker and starts it again on the same data.
    pub fn crash(&self) {
        self.end_and_start("kill");
    }

    fn end_and_start(&self, end: &str) {
        assert!(script(&[end, path(&self.data())]), "the broker ends");
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
        self.create_topic_with(name, count, &[("retention.ms", "-1")]);
    }

    /// Creates a topic with these settings.
    pub fn create_topic_with(&self, name: &str, count: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let topic = NewTopic::new(name, count, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
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

    /// Start and end of each partition's log, by partition; nothing for a topic that is not there.
    pub fn ranges(&self, topic: &str) -> Vec<(i64, i64)> {
        let consumer: BaseConsumer = self.config().create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).expect("the broker answers");
        let partitions = metadata.topics()[0].partitions().len();
        (0..partitions).map(|partition| watermarks(&consumer, topic, partition as i32)).collect()
    }

    /// A setting of a topic.
    pub fn topic_setting(&self, topic: &str, name: &str) -> String {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let topic = ResourceSpecifier::Topic(topic);
        let answer = wait(admin.describe_configs([&topic], &AdminOptions::new())).expect("the broker answers");
        let settings = answer.into_iter().next().expect("one answer").expect("the topic exists");
        settings.get(name).and_then(|s| s.value.clone()).unwrap_or_default()
    }

    /// Takes one right on a topic from everybody; the others stay.
    pub fn deny(&self, topic: &str, operation: &str) {
        let change = |rule: &str, operation: &str| {
            let port = self.port.to_string();
            let arguments = ["acl", &port, "--add", rule, "User:*", "--operation", operation, "--topic", topic];
            assert!(script(&arguments), "the ACL is set");
        };
        change("--deny-principal", operation);
        // A topic with any rule is closed to all that no rule lets in.
        change("--allow-principal", "All");
    }

    /// Writes records (partition, key, value, timestamp) and waits until they are there. With `commit` they are one
    /// transaction, committed or aborted.
    pub fn write(&self, topic: &str, records: impl Iterator<Item = (i32, String, String, i64)>, commit: Option<bool>) {
        self.produce(topic, records.map(|(partition, key, value, time)| (partition, key, Some(value), time)), commit);
    }

    /// As [`Broker::write`], without a transaction, and a value may be null.
    pub fn write_values(&self, topic: &str, records: impl Iterator<Item = (i32, String, Option<String>, i64)>) {
        self.produce(topic, records, None);
    }

    fn produce(
        &self,
        topic: &str,
        records: impl Iterator<Item = (i32, String, Option<String>, i64)>,
        commit: Option<bool>,
    ) {
        let mut config = self.config();
        // Idempotent: otherwise batches that are sent again overtake each other, and what was in order is late.
        config.set("linger.ms", "20").set("queue.buffering.max.messages", "1000000").set("enable.idempotence", "true");
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
            let record = BaseRecord::to(topic).partition(partition).key(&key).timestamp(timestamp);
            let mut record = if let Some(value) = &value { record.payload(value) } else { record };
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

    /// Keys and values of [`Broker::records`].
    pub fn read(&self, topic: &str) -> Vec<Pair> {
        self.records(topic).into_iter().map(|record| (record.key, record.value)).collect()
    }

    /// Every committed record of a topic. An end of a transaction is answered before its markers are written: what is
    /// still open now is waited for.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        self.records_below(topic, "read_uncommitted")
    }

    /// Every record of a topic that a read_committed reader sees now; what it sees grows while transactions end.
    fn visible(&self, topic: &str) -> Vec<Record> {
        self.records_below(topic, "read_committed")
    }

    /// Every committed record below the end that this isolation level sees now.
    fn records_below(&self, topic: &str, ends_as: &str) -> Vec<Record> {
        let ends_of: BaseConsumer = self.config().set("isolation.level", ends_as).create().expect("a consumer");
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
            let (low, end) = watermarks(&ends_of, topic, partition.id());
            if end > low {
                partitions.add_partition_offset(topic, partition.id(), Offset::Offset(low)).expect("an offset");
                ends.insert(partition.id(), end);
            }
        }
        consumer.assign(&partitions).expect("assigns");
        let mut records = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            match consumer.poll(Duration::from_millis(50)) {
                Some(Ok(m)) => {
                    records.push(Record {
                        partition: m.partition(),
                        key: m.key().unwrap_or_default().to_vec(),
                        value: m.payload().map(<[u8]>::to_vec),
                        timestamp: m.timestamp().to_millis().expect("each record has a time"),
                    });
                    // The position costs more than a record.
                    if records.len() % 100 != 0 {
                        continue;
                    }
                }
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
            assert!(Instant::now() < deadline, "reading {topic} does not end, is a transaction open? ends: {ends:?}");
        }
    }

    /// A transaction with one record in a partition, which its owner does not end.
    pub fn open_transaction(&self, topic: &str, partition: i32) -> BaseProducer {
        self.open_transaction_with(topic, (partition, "key".into(), "value".into(), 0))
    }

    /// A transaction with a record (partition, key, value, timestamp), which its owner does not end.
    pub fn open_transaction_with(&self, topic: &str, record: (i32, String, String, i64)) -> BaseProducer {
        let mut config = self.config();
        let producer: BaseProducer =
            config.set("transactional.id", format!("hung-{topic}")).create().expect("a producer");
        let timeout = Duration::from_secs(30);
        producer.init_transactions(timeout).expect("initialises");
        producer.begin_transaction().expect("begins");
        let (partition, key, value, timestamp) = record;
        let record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value).timestamp(timestamp);
        producer.send(record).map_err(|(error, _)| error).expect("it is sent");
        producer.flush(timeout).expect("it is written");
        producer
    }

    /// The end of a partition as a read_committed reader sees it.
    pub fn stable_end(&self, topic: &str, partition: i32) -> i64 {
        let consumer: BaseConsumer =
            self.config().set("isolation.level", "read_committed").create().expect("a consumer");
        watermarks(&consumer, topic, partition).1
    }

    /// Lets a client read no more than so many bytes in a second.
    pub fn slow_down(&self, client_id: &str, bytes: u32) {
        assert!(script(&["quota", &self.port.to_string(), client_id, &bytes.to_string()]), "the quota is set");
    }

    /// Tells the committed offset of a partition, 0 before the first. It waits for a transaction that holds one.
    pub fn commits(&self, group: &str, topic: &str) -> impl Fn(i32) -> i64 + Send + Sync + use<> {
        let mut config = self.config();
        let consumer: BaseConsumer =
            config.set("group.id", group).set("isolation.level", "read_committed").create().expect("a consumer");
        let (group, topic) = (group.to_owned(), topic.to_owned());
        move |partition| {
            let mut partitions = TopicPartitionList::new();
            partitions.add_partition(&topic, partition);
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                match consumer.committed_offsets(partitions.clone(), Duration::from_secs(10)) {
                    Ok(found) => {
                        return found.elements()[0].offset().to_raw().filter(|offset| *offset >= 0).unwrap_or(0);
                    }
                    Err(error) => assert!(Instant::now() < deadline, "{group} has no offsets: {error}"),
                }
            }
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
        newest(self.records(topic))
    }

    /// [`Broker::fold`] of what a read_committed reader sees now.
    pub fn fold_visible(&self, topic: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        newest(self.visible(topic))
    }
}

fn newest(records: Vec<Record>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    for Record { key, value, .. } in records {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    rows
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
        script(&["kill", path(&self.data())]);
    }
}

fn script(arguments: &[&str]) -> bool {
    Command::new(SCRIPT).args(arguments).stdout(Stdio::null()).status().is_ok_and(|s| s.success())
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
