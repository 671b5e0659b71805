//! What each Kafka client is configured with: our defaults, under what the user sets, under what exactly-once needs.

use super::owners;
use crate::{
    config::{Client, Config},
    fault::{Fault, Result},
};
use rdkafka::{ClientConfig, ClientContext, config::RDKafkaLogLevel, error::KafkaError};
use std::time::Duration;

/// The least librdkafka must say to be heard; passes its log on.
#[derive(Debug, Clone, Default)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_error(&error, reason);
    }
}

/// Passes a log line of librdkafka on.
pub(super) fn log(level: RDKafkaLogLevel, fac: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::warn!(fac, "librdkafka: {message}");
        }
        _ => tracing::debug!(fac, "librdkafka: {message}"),
    }
}

/// An error that librdkafka mends itself by trying again, or that the next call reports.
pub(super) fn client_error(error: &KafkaError, reason: &str) {
    tracing::debug!(%error, reason, "librdkafka reports an error");
}

/// Names the clients of one process get, and the settings they share.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    config: Config,
    /// Consumer group, prefix of transactional ids.
    pub application_id: String,
    /// Lasting id of the process.
    pub process_id: String,
    /// Partitions of all input topics: what this process reads when it is alone.
    pub partitions: usize,
}

impl Clients {
    pub fn new(config: &Config, application_id: &str, process_id: &str) -> Self {
        let (application_id, process_id) = (application_id.to_owned(), process_id.to_owned());
        Self { config: config.clone(), application_id, process_id, partitions: 1 }
    }

    /// `client.id`: sorts by process and thread, so that the range assignor's choice is predictable.
    fn name(&self, role: &str) -> String {
        format!("{}{role}", self.prefix())
    }

    /// What the client ids of this process begin with.
    pub fn prefix(&self) -> String {
        let own = || format!("{}-{}", self.application_id, self.process_id);
        format!("{}-", self.config.text("client.id").map_or_else(own, str::to_owned))
    }

    /// How long the group keeps a member whose farewell was lost; `None` where members don't leave at all.
    pub fn farewell(&self) -> Option<Duration> {
        let session = u64::try_from(self.config.int("session.timeout.ms")).unwrap_or(0);
        self.config.text("group.instance.id").is_none().then(|| Duration::from_millis(session + 1_000))
    }

    fn base<V: Clone + Into<String>>(
        &self,
        kind: Client,
        role: &str,
        defaults: &[(&str, V)],
        forced: &[(&str, &str)],
    ) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("client.id", self.name(role));
        client.set("bootstrap.servers", self.config.text("bootstrap.servers").unwrap_or("localhost:9092"));
        client.set("log.connection.close", "false");
        for (name, value) in defaults {
            client.set(*name, value.clone());
        }
        for (name, value) in self.config.client(kind) {
            client.set(name, value);
        }
        for (name, value) in forced {
            client.set(*name, *value);
        }
        client
    }

    /// How a reader fetches. Small fetches are as fast as large ones, and take a tenth of the memory.
    fn fetches(&self, wait_ms: i64) -> [(&'static str, String); 6] {
        /// A message of ordinary size with what the client keeps of it.
        const MESSAGE_BYTES: usize = 512;
        let share = (self.config.size("fetch.queue.max.bytes") / self.partitions.max(1)).clamp(64 << 10, 2 << 20);
        [
            ("fetch.message.max.bytes", (share / 8).to_string()),
            ("queued.max.messages.kbytes", (share >> 10).to_string()),
            ("queued.min.messages", (share / MESSAGE_BYTES).to_string()),
            ("fetch.queue.backoff.ms", "1".into()),
            ("fetch.wait.max.ms", wait_ms.to_string()),
            ("allow.auto.create.topics", "false".into()),
        ]
    }

    /// The member of the group of stream thread `thread`.
    pub fn consumer(&self, thread: usize) -> ClientConfig {
        let forced = [
            ("group.id", self.application_id.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            ("partition.assignment.strategy", "range"),
            // A committed offset below the log's start is a loss of input; `auto.offset.reset` decides.
            (
                "auto.offset.reset",
                match self.config.text("auto.offset.reset") {
                    Some("latest") => "latest",
                    Some("none") => "error",
                    _ => "earliest",
                },
            ),
        ];
        let role = format!("{thread:03}{}", owners::suffix(self.config.text("application.server")));
        let mut client = self.base(Client::Consumer, &role, &self.fetches(100), &forced);
        for name in ["session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms"] {
            client.set(name, self.config.int(name).to_string());
        }
        if let Some(instance) = self.config.text("group.instance.id") {
            client.set("group.instance.id", format!("{instance}-{thread:03}"));
        }
        client
    }

    /// A reader outside the group, read_committed: changelogs, and where committed input ends.
    pub fn reader(&self, role: &str) -> ClientConfig {
        let forced = [
            ("group.id", self.application_id.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "error"),
        ];
        // The end of a changelog shows in an answer without records: who waits for it wants it soon.
        self.base(Client::Restore, role, &self.fetches(10), &forced)
    }

    /// A reader outside the group, read_uncommitted: where logs start and end.
    pub fn ends(&self, role: &str) -> ClientConfig {
        let mut client = self.reader(role);
        client.set("isolation.level", "read_uncommitted");
        client
    }

    /// The producer of stream thread `thread`; `exactly_once` makes it transactional.
    pub fn producer(&self, thread: usize, exactly_once: bool) -> ClientConfig {
        let defaults = [
            // A commit flushes at once whatever this says. Until then a partition gathers one large batch: with several
            // small ones in flight librdkafka's broker thread spins, and takes a third of the CPU.
            ("linger.ms", "1000"),
            ("batch.num.messages", "100000"),
            ("compression.type", "lz4"),
            ("queue.buffering.max.messages", "1000000"),
            ("queue.buffering.max.kbytes", "262144"),
            // Above it each transaction waits for the markers of the one before.
            ("retry.backoff.ms", "10"),
        ];
        let forced = [("enable.idempotence", "true"), ("delivery.report.only.error", "true")];
        let mut client = self.base(Client::Producer, &format!("{thread:03}-producer"), &defaults, &forced);
        client.set("message.max.bytes", (self.config.int("max.request.size").max(1_000_000) + 100_000).to_string());
        if exactly_once {
            client.set("transactional.id", self.transactional_id(thread));
            client.set("transaction.timeout.ms", self.transaction_timeout_ms().to_string());
        }
        client
    }

    /// Stable over restarts, so that a restart aborts its own hung transaction; different between processes.
    pub fn transactional_id(&self, thread: usize) -> String {
        format!("{}-{}-{thread}", self.application_id, self.process_id)
    }

    pub fn transaction_timeout_ms(&self) -> i64 {
        self.config.int("transaction.timeout.ms")
    }

    /// Makes and looks up topics.
    pub fn admin(&self) -> ClientConfig {
        self.base(Client::Admin, "admin", &[("retry.backoff.ms", "10")], &[])
    }

    /// That the clients know every key they get.
    ///
    /// # Errors
    /// On an unknown key or a value of the wrong type, without the value: it may be a secret.
    pub fn check(&self) -> Result<()> {
        let exactly_once = self.config.text("processing.guarantee") != Some("at_least_once");
        for (what, client) in [
            ("consumer", self.consumer(0)),
            ("restore consumer", self.reader("restore")),
            ("producer", self.producer(0, exactly_once)),
            ("admin client", self.admin()),
        ] {
            client.create_native_config().map_err(|error| match error {
                KafkaError::ClientConfig(_, why, key, _) => {
                    Fault::stop(format!("the Kafka {what} refuses `{key}`: {why}"))
                        .hint("librdkafka's CONFIGURATION.md lists its keys and their values")
                }
                other => Fault::stop(format!("the Kafka {what} can't be set up: {other}")),
            })?;
        }
        Ok(())
    }

    pub fn brokers(&self) -> &str {
        self.config.text("bootstrap.servers").unwrap_or("localhost:9092")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(set: &[(&str, &str)]) -> Clients {
        let set: Vec<(String, String)> = set.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Clients::new(&Config::load(&set, [], None).unwrap(), "app", "p1")
    }

    #[test]
    fn names_are_stable_and_sortable() {
        let c = clients(&[]);
        assert_eq!(c.consumer(2).get("client.id"), Some("app-p1-002"));
        let served = clients(&[("application.server", "host:8080")]);
        assert_eq!(served.consumer(2).get("client.id"), Some("app-p1-002@host:8080"));
        assert_eq!(c.producer(2, true).get("transactional.id"), Some("app-p1-2"));
        assert_eq!(c.producer(2, false).get("transactional.id"), None);
    }

    #[test]
    fn the_user_sets_what_exactly_once_does_not_need() {
        let c =
            clients(&[("consumer.fetch.wait.max.ms", "7"), ("producer.linger.ms", "3"), ("security.protocol", "SSL")]);
        assert_eq!(c.consumer(0).get("fetch.wait.max.ms"), Some("7"));
        assert_eq!(c.consumer(0).get("security.protocol"), Some("SSL"));
        assert_eq!(c.producer(0, true).get("linger.ms"), Some("3"));
        assert_eq!(c.consumer(0).get("isolation.level"), Some("read_committed"));
    }

    #[test]
    fn what_is_fetched_ahead_is_divided_among_the_partitions() {
        let mut c = clients(&[("fetch.queue.max.bytes", "8MiB")]);
        let of = |c: &Clients, key: &str| c.consumer(0).get(key).unwrap().parse::<usize>().unwrap();
        c.partitions = 8;
        assert_eq!((of(&c, "queued.max.messages.kbytes"), of(&c, "queued.min.messages")), (1_024, 2_048));
        c.partitions = 1_000;
        assert_eq!(of(&c, "queued.max.messages.kbytes"), 64, "a partition always has something");
    }

    #[test]
    fn a_key_that_the_clients_do_not_know_is_named_without_its_value() {
        assert_eq!(clients(&[("sasl.mechanism", "PLAIN"), ("consumer.fetch.min.bytes", "7")]).check(), Ok(()));
        for (key, named) in [("sasl.pasword", "`sasl.pasword`"), ("producer.lingerms", "`lingerms`")] {
            let fault = clients(&[(key, "hush")]).check().unwrap_err().to_string();
            assert!(fault.contains(named) && !fault.contains("hush"), "{fault}");
        }
    }

    #[test]
    fn static_members_get_one_id_per_thread() {
        let c = clients(&[("group.instance.id", "web-0")]);
        assert_eq!(c.consumer(1).get("group.instance.id"), Some("web-0-001"));
        assert_eq!(clients(&[]).consumer(1).get("group.instance.id"), None);
    }
}
