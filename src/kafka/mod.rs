//! The worker on Kafka: one stream thread per group member, each with its own consumer and producer.
#![expect(clippy::disallowed_methods, reason = "a driver reads the clock, waits and starts threads")]
#![expect(unsafe_code, reason = "the C library's transaction, queue and admin calls")]

mod admin;
mod calls;
mod clients;
mod committer;
mod config_check;
mod consumer;
mod dead_letters;
mod deliver;
mod fence;
mod globals;
mod group;
mod helpers;
mod owners;
mod process;
mod producer;
mod raw;
mod raw_admin;
mod restore;
mod stores;
mod thread;
mod until_end;

pub use calls::TellCall;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use owners::owners;
pub use process::StateHome;
#[cfg(feature = "rocksdb")]
pub use stores::RocksState;
pub use stores::{MemoryState, StateDir};

use crate::{
    config::Config,
    fault::{Fault, Result},
    record::Timestamp,
    topology::{Resolved, Topology},
    worker::{Desk, Guarantee, Settings, Snapshot},
};
use admin::{Admin, Counts};
use clients::Clients;
use consumer::Reset;
use helpers::Shared;
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use until_end::InputEnd;

/// How long everything must have been read before `--until-end` believes it, when topics of its own are in between.
const SETTLED: Duration = Duration::from_millis(1_500);

/// What to run, and how it talks to the process around it.
pub struct Run {
    /// The topology.
    pub topology: Arc<Topology>,
    /// Ends, without a fault, once all input that was there at the start is committed.
    pub until_end: bool,
    /// Creates input and output topics that are missing.
    pub create_topics: bool,
    /// Settings of one thread, given the number of threads.
    pub settings: Box<dyn Fn(usize) -> Settings + Send + Sync>,
    /// Where state lies; `None` for the best that is built in.
    pub state: Option<Arc<dyn StateDir>>,
    /// Set from outside: commit, close, leave.
    pub stop: Arc<AtomicBool>,
    /// Takes figures of a thread twice a second; also a sign that it lives.
    pub publish: Arc<dyn Fn(usize, Snapshot) + Send + Sync>,
    /// Where queries wait for the stream threads; `None` when nobody may ask.
    pub desk: Option<Arc<dyn Desk>>,
    /// Told when a thread enters a call of the Kafka client, and when it is back.
    pub calls: Arc<TellCall>,
}

fn wall_clock() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| Timestamp::try_from(d.as_millis()).unwrap_or(0))
}

/// Checks what goes to the Kafka clients as it is. Connects to nothing.
///
/// # Errors
/// On a key that they don't know, or a value of the wrong type.
pub fn check(config: &Config) -> Result<()> {
    Clients::new(config, config.text("application.id").unwrap_or("millstream"), "").check()
}

/// Runs a topology on Kafka with `num.stream.threads` threads, until it is asked to stop or a thread fails.
///
/// # Errors
/// The first fault of any thread, or what is wrong with brokers, topics, rights or the state directory.
pub fn run(config: &Config, run: Run) -> Result<()> {
    let application_id = config.text("application.id").ok_or_else(|| Fault::stop("application.id is not set"))?;
    let base = Path::new(config.text("state.dir").unwrap_or("millstream-state"));
    let home = StateHome::take(base, application_id, config.text("process.id"))?;
    let mut clients = Clients::new(config, application_id, &home.process_id);
    tracing::info!(application = application_id, brokers = clients.brokers(), "asking the brokers for topics");
    let admin = Admin::connect(&clients)?;
    let resolved = Arc::new(prepare(config, &run, &admin, application_id)?);
    clients.partitions = resolved.source_partitions();
    if let Some(desk) = &run.desk {
        desk.tied(&resolved);
    }
    group::await_foreign(&admin, application_id, config.int("group.join.timeout.ms"), &run.stop)?;
    let count = config.size("num.stream.threads").max(1);
    let exactly_once = (run.settings)(count).guarantee == Guarantee::ExactlyOnceV2;
    fence::former_threads(&home, &clients, count, exactly_once)?;
    let end = if run.until_end { Some(InputEnd::now(&clients, &run.topology, &resolved)?) } else { None };
    let shared = Arc::new(Shared {
        cluster_id: admin.cluster_id(),
        topic_ids: admin.topic_ids(&resolved.changelogs())?,
        registry: stores::Registry::new(run.state.clone().unwrap_or_else(|| default_state(config, &home))),
        admin,
        clients,
        purge_warned: AtomicBool::new(false),
    });
    let own_topics = resolved.internal.iter().any(|t| t.repartition);
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads: Vec<(JoinHandle<Result<()>>, Arc<AtomicBool>)> = Vec::new();
    if let Some(reader) = globals::start(&shared.clients, &resolved.globals, &(run.settings)(count), &run.stop, &stop)?
    {
        // It is never what a run until the end waits for.
        threads.push((reader, Arc::new(AtomicBool::new(true))));
    }
    for number in 0..count {
        let done = Arc::new(AtomicBool::new(false));
        let plan = thread::Plan {
            thread: number,
            topology: Arc::clone(&run.topology),
            resolved: Arc::clone(&resolved),
            settings: (run.settings)(count),
            default_reset: match config.text("auto.offset.reset") {
                Some("latest") => Reset::Latest,
                Some("none") => Reset::Fail,
                _ => Reset::Earliest,
            },
            resets: run.topology.offset_resets(&resolved),
            shared: Arc::clone(&shared),
            stop: Arc::clone(&stop),
            ends: end.as_ref().map(InputEnd::ends),
            done: Arc::clone(&done),
            publish: Arc::clone(&run.publish),
            calls: Arc::clone(&run.calls),
            desk: run.desk.clone(),
        };
        let handle = std::thread::Builder::new()
            .name(format!("stream-{number}"))
            .spawn(move || thread::run(plan))
            .map_err(|e| Fault::stop(format!("a stream thread can't be started: {e}")))?;
        threads.push((handle, done));
    }
    supervise(&run, &stop, &threads, own_topics, end.as_ref());
    let mut result = Ok(());
    for (handle, _) in threads {
        let ended = handle.join().unwrap_or_else(|_| Err(Fault::stop("a stream thread panicked")));
        result = result.and(ended);
    }
    tracing::debug!("all threads have ended");
    if let Some(limit) = shared.clients.farewell() {
        group::await_left(&shared.admin, application_id, &shared.clients.prefix(), limit);
    }
    drop(home);
    result
}

/// Waits for a reason to stop: a wish, the end of input, or the end of a thread.
fn supervise(
    run: &Run,
    stop: &AtomicBool,
    threads: &[(JoinHandle<Result<()>>, Arc<AtomicBool>)],
    own_topics: bool,
    end: Option<&InputEnd>,
) {
    let mut settled: Option<Instant> = None;
    loop {
        let ended = threads.iter().any(|(handle, _)| handle.is_finished());
        let done = end.is_some() && threads.iter().all(|(_, done)| done.load(Ordering::Acquire));
        settled = if done { settled.or_else(|| Some(Instant::now())) } else { None };
        let finished = settled.is_some_and(|since| !own_topics || since.elapsed() >= SETTLED);
        // What others own may have been left by them: whoever stays gets it.
        if run.stop.load(Ordering::Relaxed) || ended || finished && end.is_none_or(InputEnd::is_committed) {
            stop.store(true, Ordering::Relaxed);
            return;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Looks at the topics, creates what may be created, and ties the topology to the real partition counts.
fn prepare(config: &Config, run: &Run, admin: &Admin, application_id: &str) -> Result<Resolved> {
    if config.is("ensure.explicit.internal.resource.naming") {
        run.topology.require_explicit_names()?;
    }
    let mut counts = admin.counts()?;
    let mut external = run.topology.external_sources();
    external.extend(run.topology.external_sinks());
    external.extend(run.topology.global_topics());
    external.extend((run.settings)(1).errors.topics().cloned());
    let missing: Vec<Arc<str>> =
        external.iter().filter(|t| !counts.contains_key(*t)).cloned().collect::<BTreeSet<_>>().into_iter().collect();
    if !missing.is_empty() {
        if !run.create_topics {
            let names: Vec<&str> = missing.iter().map(|t| &**t).collect();
            return Err(admin.missing(&names).at(format!("application `{application_id}`")));
        }
        admin.create_plain(&missing)?;
        counts = admin.await_topics(&external)?;
    }
    external.extend(run.topology.pattern_sources(application_id, counts.keys()));
    // Internal topics are sized by what they come from, never by what a former run left behind.
    let known: Counts = external.iter().filter_map(|t| Some((Arc::clone(t), *counts.get(t)?))).collect();
    let mut resolved = run.topology.resolve(application_id, &known)?;
    resolved.set_changelog_margin(config.int("windowstore.changelog.additional.retention.ms"));
    let replicas = i32::try_from(config.int("replication.factor")).unwrap_or(-1);
    admin.ensure_internal(&resolved.internal, &config.topic(), replicas, &counts)?;
    admin.check_sources(&resolved.reused_sources());
    let internal: Vec<Arc<str>> = resolved.internal.iter().map(|t| Arc::clone(&t.name)).collect();
    admin.await_topics(&internal)?;
    Ok(resolved)
}

#[cfg(not(feature = "rocksdb"))]
fn default_state(_: &Config, _: &StateHome) -> Arc<dyn StateDir> {
    Arc::new(MemoryState)
}

#[cfg(feature = "rocksdb")]
fn default_state(config: &Config, home: &StateHome) -> Arc<dyn StateDir> {
    let (cache, buffers) = (config.size("rocksdb.block.cache.bytes"), config.size("rocksdb.write.buffer.bytes"));
    let runtime = Arc::new(crate::state::RocksRuntime::new(cache, buffers));
    Arc::new(RocksState::new(runtime, home.path.clone()))
}
