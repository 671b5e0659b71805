//! A real broker, worker processes, and a plain client to feed and read topics with.

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    groups::GroupInfo,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use std::{
    collections::BTreeMap,
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// Key, value and timestamp of a record.
pub type Record = (Option<Vec<u8>>, Option<Vec<u8>>, i64);

/// A broker; it is killed and its data removed at the end.
pub struct Broker {
    dir: tempfile::TempDir,
    port: u16,
}

/// What most tests need of a broker: old event times are looked for at once, and members may be declared dead early.
const COMMON: &str = "log.retention.check.interval.ms=1000\ngroup.min.session.timeout.ms=1000\n";

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker")
}

fn free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = first.local_addr().expect("bound").port();
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        // The second one is the controller's, the third one for TLS.
        if port < u16::MAX - 1 && free(port + 1) && free(port + 2) {
            return port;
        }
    }
}

impl Broker {
    /// One broker for all tests that run at the same time and leave it as it is; each has its own topics and groups.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let broker = Arc::new(Self::start(""));
            *shared = Arc::downgrade(&broker);
            broker
        })
    }

    /// Starts a broker with these lines added to its settings.
    pub fn start(extra: &str) -> Self {
        Self::prepared(extra, |_| ())
    }

    /// As [`Broker::start`], once its directory is prepared.
    pub fn prepared(extra: &str, prepare: impl FnOnce(&Path)) -> Self {
        let mut broker = Self { dir: tempfile::tempdir().expect("a temporary directory"), port: 0 };
        std::fs::write(broker.dir.path().join("extra.properties"), format!("{COMMON}{extra}")).expect("written");
        prepare(broker.dir.path());
        // Somebody else may take a port between the look and the start.
        for _ in 0..5 {
            broker.port = free_ports();
            if broker.call("start", &[&broker.port.to_string()]).success() {
                return broker;
            }
        }
        panic!("the broker did not start");
    }

    fn call(&self, command: &str, arguments: &[&str]) -> ExitStatus {
        let mut call = Command::new(script());
        call.arg(command).arg(self.dir.path()).args(arguments);
        call.status().expect("the broker script runs")
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: &str) {
        assert!(self.call("signal", &[signal]).success());
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Its address for TLS, where its settings have a listener at `@TLS_PORT@`.
    pub fn tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.port + 2)
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What every client of it needs.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    /// A client for chores.
    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// Creates a topic that keeps old event times.
    pub fn create_topic(&self, name: &str, count: i32) {
        self.create_topic_with(name, count, &[("retention.ms", "-1")]);
    }

    /// Creates a topic.
    pub fn create_topic_with(&self, name: &str, count: i32, config: &[(&str, &str)]) {
        let admin = self.admin();
        let new = NewTopic::new(name, count, TopicReplication::Fixed(1));
        let topic = config.iter().fold(new, |topic, (name, value)| topic.set(name, value));
        let result = block_on(admin.create_topics([&topic], &AdminOptions::new())).expect("an answer");
        assert!(result.iter().all(Result::is_ok), "{result:?}");
        self.await_partitions(name, count);
    }

    /// Waits until a topic has so many partitions, each with a leader.
    pub fn await_partitions(&self, name: &str, count: i32) {
        let admin = self.admin();
        let ready = || {
            let metadata = admin.inner().fetch_metadata(Some(name), Duration::from_secs(5)).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            Some(partitions.len() == usize::try_from(count).ok()? && partitions.iter().all(|p| p.leader() >= 0))
        };
        until(&format!("topic {name} has {count} partitions with leaders"), || ready() == Some(true));
    }

    /// Client ids of the members of a group.
    pub fn members(&self, group: &str) -> Vec<String> {
        let admin = self.admin();
        let ask = || admin.inner().fetch_group_list(Some(group), Duration::from_secs(10));
        // The coordinator may still be loading the group's log.
        let mut list = ask();
        until("the group is described", || {
            if list.is_err() {
                list = ask();
            }
            list.is_ok()
        });
        let list = list.expect("asked until there is one");
        let members = list.groups().iter().filter(|g| g.name() == group).flat_map(GroupInfo::members);
        members.map(|m| m.client_id().to_owned()).collect()
    }

    /// The end of each partition of a topic, as an isolation level sees it.
    pub fn ends(&self, topic: &str, partitions: i32, isolation: &str) -> Vec<i64> {
        let mut config = self.client();
        config.set("group.id", "ends").set("isolation.level", isolation);
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for p in 0..partitions {
            list.add_partition_offset(topic, p, Offset::End).expect("an offset");
        }
        let ends = consumer.offsets_for_times(list, Duration::from_secs(10)).expect("ends");
        ends.elements().iter().map(|e| e.offset().to_raw().expect("an offset")).collect()
    }

    /// Waits until no transaction is open in a topic: an end of one is answered before its markers are written.
    pub fn await_settled(&self, topic: &str, partitions: i32) {
        let ends = |isolation| self.ends(topic, partitions, isolation);
        until(&format!("no transaction is open in {topic}"), || ends("read_committed") == ends("read_uncommitted"));
    }

    /// The offsets that a group has committed, -1 where there is none.
    pub fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<i64> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let mut committed = None;
        until("the group's offsets are told", || {
            committed = consumer.committed_offsets(list.clone(), Duration::from_secs(10)).ok();
            committed.is_some()
        });
        let committed = committed.expect("asked until there are some");
        committed.elements().iter().map(|e| e.offset().to_raw().filter(|o| *o >= 0).unwrap_or(-1)).collect()
    }

    /// A producer with an open transaction.
    pub fn transaction(&self, id: &str) -> BaseProducer {
        let mut config = self.client();
        config.set("transactional.id", id).set("transaction.timeout.ms", "600000");
        let producer: BaseProducer = config.create().expect("a producer");
        producer.init_transactions(Duration::from_secs(30)).expect("registered");
        producer.begin_transaction().expect("open");
        producer
    }

    /// A producer; records go out with [`send`].
    pub fn producer(&self) -> BaseProducer {
        let mut config = self.client();
        config.set("linger.ms", "5").set("queue.buffering.max.messages", "1000000").set("enable.idempotence", "true");
        config.create().expect("a producer")
    }

    /// All committed records of a topic, in order of partition and offset.
    pub fn read(&self, topic: &str, partitions: i32) -> Vec<Record> {
        self.read_as(topic, partitions, "read_committed")
    }

    /// All records of a topic that an isolation level lets see, up to the end that it has now.
    pub fn read_as(&self, topic: &str, partitions: i32, isolation: &str) -> Vec<Record> {
        let mut config = self.client();
        config.set("group.id", "reader").set("isolation.level", isolation).set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for p in 0..partitions {
            list.add_partition_offset(topic, p, Offset::Beginning).expect("an offset");
        }
        let ends = self.ends(topic, partitions, "read_uncommitted");
        consumer.assign(&list).expect("assigned");
        let mut records = Vec::new();
        let mut left: BTreeMap<i32, i64> = (0..partitions).zip(ends).filter(|(_, end)| *end > 0).collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !left.is_empty() {
            assert!(Instant::now() < deadline, "{topic} could not be read to its end: {left:?}");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(m)) => records.push((
                    m.key().map(<[u8]>::to_vec),
                    m.payload().map(<[u8]>::to_vec),
                    m.timestamp().to_millis().unwrap_or(-1),
                )),
                // The end of a partition for now; behind an open transaction it is not yet the end asked for.
                Some(Err(KafkaError::PartitionEOF(_))) | None => {
                    let position = consumer.position().expect("positions are local");
                    let at = |p: &i32| position.find_partition(topic, *p).and_then(|e| e.offset().to_raw());
                    left.retain(|p, end| at(p).unwrap_or(-1) < *end);
                }
                Some(Err(error)) => panic!("reading {topic}: {error}"),
            }
        }
        records
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.call("kill", &[]);
    }
}

/// Waits for a condition; a test fails that waits for a minute.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come true that {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends one record to a partition.
pub fn send(producer: &BaseProducer, topic: &str, partition: i32, key: &str, value: &str, timestamp: i64) {
    let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value).timestamp(timestamp);
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(rdkafka::error::RDKafkaErrorCode::QueueFull), "{error}");
        producer.poll(Duration::from_millis(10));
        record = back;
    }
}

/// Waits until all that was sent has arrived.
pub fn flush(producer: &BaseProducer) {
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

/// The worker's program.
fn millstream() -> PathBuf {
    let exe = std::env::current_exe().expect("a path");
    let worker = exe.parent().and_then(Path::parent).expect("target/release/deps").join("millstream");
    assert!(worker.exists(), "{} is missing: build it with `cargo build --release -p topologies`", worker.display());
    worker
}

/// A worker process. It is killed when dropped.
pub struct Worker {
    child: Child,
    log: PathBuf,
    /// Where its own part of the log begins; a former worker of the same name may have written before.
    begin: usize,
}

impl Worker {
    /// Starts `millstream run ARGS`; its log is appended to `<dir>/<name>.log`, its state lies in `<dir>/<name>`.
    pub fn start(broker: &Broker, dir: &Path, name: &str, args: &[&str]) -> Self {
        let address = format!("bootstrap.servers={}", broker.address());
        let mut all = vec![args[0], "--set", &address];
        all.extend(&args[1..]);
        Self::alone(dir, name, &all)
    }

    /// As [`Worker::start`], with the broker that `args` name.
    pub fn alone(dir: &Path, name: &str, args: &[&str]) -> Self {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("a log file");
        let begin = std::fs::read(&log).map_or(0, |former| former.len());
        let child = Command::new(millstream())
            .arg("run")
            .args(["--set", &format!("state.dir={}", dir.join(name).display())])
            .args(["--set", "http.listen=off"])
            // A failure that comes once in a hundred runs is told by nothing but this log.
            .args(["--set", "log.level=info,millstream=debug,member=debug"])
            .args(args)
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .expect("the worker starts");
        Self { child, log, begin }
    }

    /// Ends it without a goodbye.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Waits until it has set itself up: from then on a first SIGTERM is a wish.
    pub fn await_start(&self) {
        let own = || std::fs::read(&self.log).map(|l| String::from_utf8_lossy(&l[self.begin..]).into_owned());
        until("the worker starts", || own().is_ok_and(|l| l.contains("asking the brokers for topics")));
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let (signal, pid) = (format!("-{signal}"), self.child.id().to_string());
        assert!(Command::new("kill").args([&signal, &pid]).status().expect("a signal").success());
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait(Duration::from_secs(40))
    }

    /// Runs it to its end, which must be a success.
    pub fn finish(mut self) {
        let status = self.wait(Duration::from_secs(60));
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// True when it has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end; a test fails with its log when that takes too long.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < limit, "the worker does not end; its log:\n{}", self.last_lines());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The end of what it said.
    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(150)..].join("\n")
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Waits for an answer of an admin client.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    use std::task::{Context, Poll, Waker};
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
