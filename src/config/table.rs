//! The table of settings.

use super::Kind;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name in Kafka Streams' words.
    pub name: &'static str,
    /// Type of its value.
    pub kind: Kind,
    /// Value when nobody sets it; empty means "not set".
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

const fn s(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    Setting { name, kind, default, doc }
}

const MS: Kind = Kind::at_least(0);
const COUNT: Kind = Kind::at_least(1);

/// Every setting but those of the [`PREFIXES`].
pub const SETTINGS: &[Setting] = &[
    s(
        "application.id",
        Kind::Text,
        "",
        "Consumer group and prefix of internal topics; by default the topology's name.",
    ),
    s(
        "application.server",
        Kind::Text,
        "",
        "Where other replicas and their clients reach this process' queries, as host:port; by default what it listens at.",
    ),
    s(
        "auto.offset.reset",
        Kind::OneOf(&["earliest", "latest", "none"]),
        "earliest",
        "Where to start without a committed offset.",
    ),
    s("bootstrap.servers", Kind::Text, "localhost:9092", "Brokers to ask first, as host:port, comma separated."),
    s(
        "changelog.deduplicate",
        Kind::Flag,
        "true",
        "One changelog record per changed row and commit; false logs every write.",
    ),
    s(
        "client.id",
        Kind::Text,
        "",
        "Name of this process at the brokers; by default made of application and process id.",
    ),
    s(
        "commit.interval.ms",
        MS,
        "100",
        "Time between two commits, from start to start while the worker keeps up; 30000 by default at least once.",
    ),
    s(
        "deserialization.exception.handler",
        Kind::OneOf(&["fail", "continue"]),
        "fail",
        "Input that can't be read: `fail` stops, `continue` leaves it out and counts it.",
    ),
    s(
        "ensure.explicit.internal.resource.naming",
        Kind::Flag,
        "false",
        "Refuses a topology whose stores, changelogs or repartition topics have generated names.",
    ),
    s(
        "errors.dead.letter.queue.topic.name",
        Kind::Text,
        "",
        "Topic for input records that failed, with KIP-1034's headers, in the same transaction.",
    ),
    s(
        "errors.late.topic.name",
        Kind::Text,
        "",
        "Topic for input records that came too late for a window, with the window in headers.",
    ),
    s(
        "fetch.queue.max.bytes",
        Kind::Bytes,
        "16777216",
        "Input fetched ahead by the Kafka clients, and half as much again in the queues of tasks, in bytes, divided among partitions.",
    ),
    s("group.instance.id", Kind::Text, "", "Static membership: the member's lasting id; a thread adds its number."),
    s("group.join.timeout.ms", MS, "600000", "How long to wait for a group that members of another program hold."),
    s("heartbeat.interval.ms", COUNT, "1000", "Time between two heartbeats to the group."),
    s(
        "http.listen",
        Kind::Text,
        "127.0.0.1:8080",
        "Address of /metrics, /health, /topology, /tasks and /stores; `off` for none.",
    ),
    s("input.topic", Kind::Text, "", "Input topic of a topology with one input; by default the topology's own."),
    s("log.format", Kind::OneOf(&["text", "json"]), "text", "Form of log lines on standard error."),
    s("log.level", Kind::Text, "info", "Log filter: a level, or directives such as `info,millstream::kafka=debug`."),
    s("max.poll.interval.ms", COUNT, "300000", "Longest time between two polls before the group gives up on a member."),
    s("max.request.size", Kind::Bytes, "1048576", "Largest record that a sink may write, in bytes."),
    s(
        "max.task.idle.ms",
        Kind::at_least(-1),
        "0",
        "How long a task waits for data of all its partitions; -1 never waits.",
    ),
    s(
        "memory.limit",
        Kind::Bytes,
        "335544320",
        "Memory of the whole process, in bytes; divided among the settings for tables, overlays, RocksDB and queues.",
    ),
    s("num.stream.threads", Kind::Int { min: 1, max: 1024 }, "1", "Stream threads of this process."),
    s("output.topic", Kind::Text, "", "Output topic of a topology with one output; by default the topology's own."),
    s(
        "partition.queue.max.bytes",
        Kind::Bytes,
        "1048576",
        "Records of one partition waiting in its task's queue, in bytes, where fetch.queue.max.bytes leaves it so many.",
    ),
    s(
        "process.id",
        Kind::Text,
        "",
        "Lasting id of this process; by default drawn once and kept in the state directory.",
    ),
    s(
        "processing.exception.handler",
        Kind::OneOf(&["fail", "continue", "retry"]),
        "fail",
        "Failures of processors and functions: stop, leave out what failed, or do the transaction again.",
    ),
    s(
        "processing.guarantee",
        Kind::OneOf(&["exactly_once_v2", "at_least_once"]),
        "exactly_once_v2",
        "What a crash may do: nothing at all, or repeat.",
    ),
    s(
        "production.exception.handler",
        Kind::OneOf(&["fail", "continue", "retry"]),
        "fail",
        "Records that a sink can't write: stop, leave them out, or do the transaction again.",
    ),
    s("query.queue.max", COUNT, "1024", "Queries that wait for one stream thread; more are turned away with 503."),
    s(
        "query.timeout.ms",
        COUNT,
        "2000",
        "How long a query may wait for a stream thread; then it is answered with 503.",
    ),
    s(
        "query.token",
        Kind::Text,
        "",
        "What a client must show to ask /stores (`Authorization: Bearer`); without one only loopback is served.",
    ),
    s("query.token.file", Kind::Text, "", "File that holds the token, in place of `query.token`."),
    s(
        "repartition.purge.interval.ms",
        MS,
        "30000",
        "Time between two purges of processed records of repartition topics.",
    ),
    s(
        "replication.factor",
        Kind::Int { min: -1, max: 32767 },
        "-1",
        "Replicas of internal topics; -1 is the broker's default.",
    ),
    s(
        "rocksdb.block.cache.bytes",
        Kind::Bytes,
        "25165824",
        "RocksDB's cache of blocks read from disk, shared by all tasks, in bytes.",
    ),
    s("rocksdb.write.buffer.bytes", Kind::Bytes, "29360128", "RocksDB's memtables, shared by all tasks, in bytes."),
    s("session.timeout.ms", COUNT, "10000", "After so long without a heartbeat a member's partitions go to others."),
    s("shutdown.timeout.ms", COUNT, "30000", "Longest time of a clean stop; then the process ends anyway."),
    s("state.dir", Kind::Text, "millstream-state", "Directory of the state stores."),
    s(
        "state.memory.bytes",
        Kind::Bytes,
        "92274688",
        "Rows of state stores in memory, shared by all threads, in bytes.",
    ),
    s(
        "state.persist.bytes",
        Kind::Bytes,
        "13182098",
        "Unsaved rows of one store that are written to disk at once, in bytes.",
    ),
    s(
        "state.persist.interval.ms",
        MS,
        "30000",
        "Longest time a committed row stays in memory only: bounds the replay after a crash.",
    ),
    s(
        "statestore.cache.max.bytes",
        Kind::Bytes,
        "10485760",
        "Record caches, shared by all threads, in bytes; 0 forwards each update.",
    ),
    s(
        "suspended.task.close.ms",
        MS,
        "60000",
        "How long a suspended task keeps its stores open for its partitions to come back.",
    ),
    s("thread.stall.timeout.ms", COUNT, "120000", "A stream thread stuck for so long ends the process."),
    s("transaction.abort.backoff.ms", MS, "50", "Pause after an aborted transaction; doubles with each further one."),
    s(
        "transaction.aborts.max",
        Kind::Int { min: 1, max: 1_000_000 },
        "20",
        "Aborts in a row without a commit that stop the worker.",
    ),
    s(
        "transaction.outbox.max.bytes",
        Kind::Bytes,
        "1048576",
        "Output that waits in memory before a part of it is sent, in bytes.",
    ),
    s(
        "transaction.overlay.max.bytes",
        Kind::Bytes,
        "8388608",
        "Uncommitted rows at which a commit is due, shared by all threads, in bytes.",
    ),
    s(
        "transaction.sink.max.bytes",
        Kind::Bytes,
        "4194304",
        "Rows for sinks beyond Kafka at which a commit is due, shared by all threads, in bytes.",
    ),
    s("transaction.timeout.ms", COUNT, "10000", "After so long the broker aborts a transaction whose owner is silent."),
    s(
        "windowstore.changelog.additional.retention.ms",
        MS,
        "86400000",
        "Added to the retention of changelogs of window stores, which brokers count by wall clock.",
    ),
];

/// Prefixes whose keys go to the Kafka clients or to topics as they are, and what each is for.
pub const PREFIXES: &[(&str, &str)] = &[
    ("admin.", "admin client"),
    ("consumer.", "all consumers"),
    ("main.consumer.", "the consumer of input"),
    ("producer.", "producer"),
    ("restore.consumer.", "the consumer of changelogs"),
    ("sasl.", "all clients: authentication"),
    ("security.protocol", "all clients: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
    ("ssl.", "all clients: TLS"),
    ("topic.", "configuration of internal topics"),
];

/// The setting with this name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.name == name)
}

/// True for a key of the [`PREFIXES`].
pub(super) fn passes_through(name: &str) -> bool {
    PREFIXES
        .iter()
        .any(|(p, _)| if p.ends_with('.') { name.len() > p.len() && name.starts_with(p) } else { name == *p })
}

/// Keys below `sasl.` whose values everybody may read. All others are masked: a misspelt `sasl.password` is a secret too.
const PUBLIC_SASL: &[&str] = &[
    "mechanism",
    "mechanisms",
    "username",
    "kerberos.service.name",
    "kerberos.principal",
    "kerberos.keytab",
    "kerberos.min.time.before.relogin",
    "oauthbearer.method",
    "oauthbearer.client.id",
    "oauthbearer.scope",
    "oauthbearer.token.endpoint.url",
];

/// True for a value that nobody may read in a log or on a screen.
pub(super) fn secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let sasl = name.split_once("sasl.").is_some_and(|(_, key)| !PUBLIC_SASL.contains(&key));
    let words = ["password", "secret", "token", "ssl.key.pem", "keystore.key", "jaas.config", "oauthbearer.config"];
    sasl || words.iter().any(|w| name.contains(w)) && !name.ends_with("sasl.oauthbearer.token.endpoint.url")
}

/// The known name nearest to a wrong one, if one is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    SETTINGS
        .iter()
        .map(|s| s.name)
        .chain(PREFIXES.iter().map(|(p, _)| *p))
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
