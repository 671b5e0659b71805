//! The demo: a generator and two replicas on one embedded log, a kill in the middle, and a check of every window.
#![expect(clippy::disallowed_methods, reason = "a show for people runs by the wall clock")]

mod generator;
mod recount;
mod show;

use super::{ClientConfig, Cluster, Disks, Replica, ReplicaConfig, wall_clock};
use crate::{
    fault::{Fault, Result},
    log::{Log, TopicConfig},
    operator::TimeWindows,
    record::TopicPartition,
    topology::{Materialized, Resolved, StreamsBuilder, Topology},
    worker::Settings,
};
use generator::Generator;
use show::Show;
use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use recount::Verdict;

const INPUT: &str = "chat";
const OUTPUT: &str = "channel-stats";
const APPLICATION: &str = "demo";
const PARTITIONS: i32 = 8;
const WINDOW_MS: i64 = 2_000;
const GRACE_MS: i64 = 30_000;
/// After so long without a heartbeat a replica counts as dead; short, so that a kill is noticed while people watch.
const SESSION_MS: i64 = 1_500;
/// How long a replica may take to commit, close and leave.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// How a demo goes, in time since its start.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Messages per second.
    pub rate: u64,
    /// When replica 1 is killed.
    pub kill: Duration,
    /// When it is started again.
    pub restart: Duration,
    /// When the generator stops.
    pub end: Duration,
    /// When the demo gives up waiting for the last commit.
    pub limit: Duration,
}

impl Default for Script {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self { rate: 5_000, kill: s(5), restart: s(9), end: s(13), limit: s(19) }
    }
}

/// Makes the disk of a replica, by the replica's number. A killed replica's next life gets a disk made anew.
pub type MakeDisks = Arc<dyn Fn(usize) -> Box<dyn Disks> + Send + Sync>;

/// Runs the demo and tells it on `out`.
///
/// # Errors
/// When a replica fails, the last commit doesn't come in time, or `stop` is raised.
pub fn demo(script: Script, disks: MakeDisks, out: &mut dyn Write, stop: &AtomicBool) -> Result<Verdict> {
    let mut log = Log::new("embedded");
    log.create_topic(INPUT, PARTITIONS, TopicConfig::default());
    log.create_topic(OUTPUT, PARTITIONS, TopicConfig::default());
    let topology = Arc::new(topology()?);
    let counts = BTreeMap::from([(Arc::from(INPUT), PARTITIONS), (Arc::from(OUTPUT), PARTITIONS)]);
    let resolved = Arc::new(topology.resolve(APPLICATION, &counts)?);
    for topic in &resolved.internal {
        log.create_topic(&topic.name, topic.partitions, TopicConfig::from_settings(&topic.config));
    }
    let cluster = Cluster::new(log);
    let stage = Stage { cluster: cluster.clone(), topology, resolved, disks };
    let mut show = Show::new(out);
    show.opening(&script)?;

    let mut replicas = [Some(stage.start(0)?), Some(stage.start(1)?)];
    let mut generator = Generator::new(script.rate);
    let start = Instant::now();
    let (mut killed, mut restarted, mut ended) = (false, false, false);
    let mut second = 0;
    loop {
        if stop.load(Ordering::SeqCst) {
            return Err(Fault::stop("stopped before the end: no verdict"));
        }
        let elapsed = start.elapsed();
        if elapsed < script.end {
            cluster.with_log(|log| generator.send_until(log, elapsed, wall_clock()))?;
        } else if !ended {
            ended = true;
            show.say("the generator stops; the replicas work off what is left")?;
        }
        if elapsed >= script.kill && !killed {
            killed = true;
            if let Some(replica) = replicas[1].take() {
                replica.kill();
            }
            show.killed()?;
        }
        if elapsed >= script.restart && !restarted {
            restarted = true;
            replicas[1] = Some(stage.start(1)?);
            show.say("replica 1 starts again; it gets partitions back, and restores from the changelog what it lacks of them")?;
        }
        for (number, replica) in replicas.iter_mut().enumerate() {
            if let Some(fault) = replica.as_mut().and_then(Replica::failure) {
                return Err(fault.at(format!("replica-{number}")));
            }
        }
        if elapsed.as_secs() > second {
            second = elapsed.as_secs();
            let snapshots = replicas.each_ref().map(|r| r.as_ref().map(Replica::snapshot));
            cluster.with_log(|log| show.look(log))?;
            show.line(second, generator.sent(), &snapshots)?;
        }
        if ended && restarted && cluster.with_log(|log| all_committed(log))? {
            break;
        }
        if elapsed > script.limit {
            return Err(Fault::stop("the replicas did not commit everything in time").hint("is the machine busy?"));
        }
        thread::sleep(Duration::from_millis(10));
    }
    for replica in replicas.into_iter().flatten() {
        replica.stop(STOP_PATIENCE)?;
    }
    let verdict = cluster.with_log(|log| recount::check(log))?;
    show.verdict(&verdict)?;
    Ok(verdict)
}

/// Messages per channel in windows of two seconds.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::of_size_and_grace(millis(WINDOW_MS), millis(GRACE_MS));
    builder
        .stream::<String, String>(INPUT)
        .group_by_key()
        .windowed_by(windows)
        .count_with(Materialized::as_store("counts"))
        .to_stream()
        .to(OUTPUT);
    builder.build()
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// True when the committed offset of every input partition is its end.
fn all_committed(log: &Log) -> Result<bool> {
    for partition in partitions(INPUT) {
        let end = log.end(&partition).map_err(lost)?;
        if log.committed(APPLICATION, &partition).map_or(0, |c| c.offset) < end {
            return Ok(false);
        }
    }
    Ok(true)
}

fn partitions(topic: &str) -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(move |p| TopicPartition::new(topic, p))
}

fn lost(error: crate::log::LogError) -> Fault {
    Fault::stop(format!("the embedded log lost a topic: {error:?}"))
}

struct Stage {
    cluster: Cluster,
    topology: Arc<Topology>,
    resolved: Arc<Resolved>,
    disks: MakeDisks,
}

impl Stage {
    fn start(&self, number: usize) -> Result<Replica> {
        let mut client = ClientConfig::new(APPLICATION, format!("replica-{number}"), self.resolved.subscription());
        client.session_timeout_ms = SESSION_MS;
        client.heartbeat_interval_ms = 200;
        client.rebalance_timeout_ms = 5_000;
        client.transaction_timeout_ms = 2_000;
        let disks = Arc::clone(&self.disks);
        // Rows reach the disk, where there is one, before the kill.
        let (session, persist_interval_ms) = (wall_clock() + 1 + number as i64, 2_000);
        let settings = Settings { session, persist_interval_ms, ..Settings::default() };
        self.cluster.start(ReplicaConfig {
            topology: Arc::clone(&self.topology),
            resolved: Arc::clone(&self.resolved),
            settings,
            client,
            desk: None,
            disks: Box::new(move || disks(number)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{embedded::MemoryDisks, state::MemoryBackend};

    #[test]
    fn a_short_demo_ends_with_a_verdict() {
        let ms = Duration::from_millis;
        let script = Script { rate: 1_000, kill: ms(700), restart: ms(1_500), end: ms(2_500), limit: ms(30_000) };
        let disks: MakeDisks = Arc::new(|_| Box::new(MemoryDisks::new(|| Arc::new(MemoryBackend::new()))));
        let mut out = Vec::new();
        let verdict = demo(script, disks, &mut out, &AtomicBool::new(false)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(verdict.exact() && verdict.windows > 100, "{text}");
        assert!(text.contains("verdict: exactly once, "), "{text}");
    }
}
