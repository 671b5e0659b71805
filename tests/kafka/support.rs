//! A real broker, worker processes, and a plain client to feed and read topics with.

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// Key, value and timestamp of a record.
pub type Record = (Option<Vec<u8>>, Option<Vec<u8>>, i64);

/// A broker of its own for one test; it is killed and its data removed at the end.
pub struct Broker {
    dir: tempfile::TempDir,
    port: u16,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker")
}

fn free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = first.local_addr().expect("bound").port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

impl Broker {
    /// Starts a broker with these lines added to its settings.
    pub fn start(extra: &str) -> Self {
        let broker = Self { dir: tempfile::tempdir().expect("a temporary directory"), port: free_ports() };
        std::fs::write(broker.dir.path().join("extra.properties"), extra).expect("written");
        broker.up();
        broker
    }

    fn call(&self, command: &str) -> ExitStatus {
        let mut call = Command::new(script());
        call.arg(command).arg(self.dir.path());
        if command == "start" {
            call.arg(self.port.to_string());
        }
        call.status().expect("the broker script runs")
    }

    /// Starts it (again).
    pub fn up(&self) {
        assert!(self.call("start").success(), "the broker did not start");
    }

    /// Kills it as a crash would.
    #[allow(dead_code, reason = "not every test needs it")]
    pub fn crash(&self) {
        assert!(self.call("kill").success());
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    /// Creates a topic that keeps old event times.
    pub fn create_topic(&self, name: &str, count: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("an admin client");
        let topic = NewTopic::new(name, count, TopicReplication::Fixed(1)).set("retention.ms", "-1");
        let result = block_on(admin.create_topics([&topic], &AdminOptions::new())).expect("an answer");
        assert!(result.iter().all(Result::is_ok), "{result:?}");
        let deadline = Instant::now() + Duration::from_secs(30);
        let ready = || {
            let metadata = admin.inner().fetch_metadata(Some(name), Duration::from_secs(5)).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            Some(partitions.len() == usize::try_from(count).ok()? && partitions.iter().all(|p| p.leader() >= 0))
        };
        while ready() != Some(true) {
            assert!(Instant::now() < deadline, "topic {name} has no leaders");
        }
    }

    /// A producer; records go out with [`send`].
    pub fn producer(&self) -> BaseProducer {
        let mut config = self.client();
        config.set("linger.ms", "5").set("queue.buffering.max.messages", "1000000").set("enable.idempotence", "true");
        config.create().expect("a producer")
    }

    /// All committed records of a topic, in order of partition and offset.
    pub fn read(&self, topic: &str, partitions: i32) -> Vec<Record> {
        let mut config = self.client();
        config.set("group.id", "reader").set("isolation.level", "read_committed").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        let mut left = 0;
        for p in 0..partitions {
            let (low, high) = consumer.fetch_watermarks(topic, p, Duration::from_secs(10)).expect("watermarks");
            if high > low {
                left += 1;
                list.add_partition_offset(topic, p, Offset::Offset(low)).expect("an offset");
            }
        }
        let ends = ends(&consumer, topic, partitions);
        consumer.assign(&list).expect("assigned");
        let mut records = Vec::new();
        let start = Instant::now();
        while left > 0 && start.elapsed() < Duration::from_secs(60) {
            if let Some(Ok(m)) = consumer.poll(Duration::from_millis(100)) {
                records.push((
                    m.key().map(<[u8]>::to_vec),
                    m.payload().map(<[u8]>::to_vec),
                    m.timestamp().to_millis().unwrap_or(-1),
                ));
            } else {
                let position = consumer.position().expect("positions");
                let behind = |p: &i32| {
                    let at = position.find_partition(topic, *p).and_then(|e| e.offset().to_raw()).unwrap_or(-1);
                    at < ends[usize::try_from(*p).expect("not negative")]
                };
                let in_list: Vec<i32> = list
                    .elements()
                    .iter()
                    .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
                    .collect();
                left = in_list.iter().filter(|p| behind(p)).count();
            }
        }
        assert_eq!(left, 0, "{topic} could not be read to its end");
        records
    }
}

fn ends(consumer: &BaseConsumer, topic: &str, partitions: i32) -> Vec<i64> {
    (0..partitions)
        .map(|p| consumer.fetch_watermarks(topic, p, Duration::from_secs(10)).expect("watermarks").1)
        .collect()
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.call("kill");
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

/// A worker process. It is killed when dropped.
pub struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// Starts `millstream run ARGS`; its log is appended to `<dir>/<name>.log`, its state lies in `<dir>/<name>`.
    pub fn start(broker: &Broker, dir: &Path, name: &str, args: &[&str]) -> Self {
        let exe = std::env::current_exe().expect("a path");
        let worker = exe.parent().and_then(Path::parent).expect("target/release/deps").join("millstream");
        assert!(
            worker.exists(),
            "{} is missing: build it with `cargo build --release -p topologies`",
            worker.display()
        );
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = Command::new(worker)
            .arg("run")
            .args(args)
            .args(["--set", &format!("bootstrap.servers={}", broker.address())])
            .args(["--set", &format!("state.dir={}", dir.join(name).display())])
            .args(["--set", "http.listen=off"])
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .expect("the worker starts");
        Self { child, log }
    }

    /// Ends it without a goodbye.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("signalled");
        self.wait(Duration::from_secs(40))
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
            assert!(start.elapsed() < limit, "the worker does not end; its log:\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
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

fn block_on<T>(future: impl Future<Output = T>) -> T {
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
