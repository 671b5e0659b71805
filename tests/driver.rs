//! What a worker makes of words of its driver that the drivers on the model log never say.

use millstream::{
    fault::Fault,
    operator::{ErrorSettings, OnError},
    record::{Fetch, Headers, RawRecord, TopicPartition},
    state::MemoryBackend,
    topology::StreamsBuilder,
    worker::{Effect, Event, GroupMetadata, LogRange, OpenedStore, Outcome, Request, Settings, Stable, Worker},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A worker that passes records of topic `in` on, with one record processed and its commit sent.
struct Scene {
    worker: Worker,
    fetch: Fetch,
    commit: Request,
}

fn partition() -> TopicPartition {
    TopicPartition::new("in", 0)
}

impl Scene {
    /// The record is the first, and the partition ends at `end` as far as the driver knows.
    fn new(end: i64) -> Self {
        Self::of(end, |_| {}, Settings::default())
    }

    /// The same with a function that sees each value.
    fn of(end: i64, see: impl Fn(&str) + Send + Sync + 'static, settings: Settings) -> Self {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("in").peek(move |_, value| see(value.map_or("", |v| v))).to("out");
        let topology = Arc::new(builder.build().expect("a sound topology"));
        let counts = BTreeMap::from([("in".into(), 1), ("out".into(), 1)]);
        let resolved = Arc::new(topology.resolve("app", &counts).expect("both topics are known"));
        let mut worker = Worker::new(topology, resolved, settings);
        let stable = Stable { partition: partition(), offset: Some(0), metadata: String::new() };
        let group = GroupMetadata { generation: 1, member: "m".into(), instance: None };
        worker.handle(0, Event::Assigned { partitions: vec![stable], counts: vec![("in".into(), 1)], group });
        let (mut fetched, mut commit) = (None, None);
        for now in [1, 1_000] {
            loop {
                worker.step(now, 100);
                let Some(effect) = worker.poll_effect() else { break };
                let event = match effect {
                    Effect::OpenStores { request, .. } => Event::Opened { request, result: Ok(Vec::new()) },
                    Effect::Fetch { fetch, partition, .. } => {
                        fetched = Some(fetch);
                        let value = Some(b"v".as_slice().into());
                        let record = RawRecord { offset: 0, timestamp: 1, key: None, value, headers: Headers::new() };
                        Event::Records { fetch, partition, records: vec![record], position: 1, end }
                    }
                    Effect::Commit { request, .. } => {
                        commit = Some(request);
                        continue;
                    }
                    _ => continue,
                };
                worker.handle(now, event);
            }
        }
        Self { worker, fetch: fetched.expect("a fetch"), commit: commit.expect("a commit") }
    }

    fn end_commit(&mut self, outcome: Outcome) {
        self.worker.handle(1_001, Event::CommitEnded { request: self.commit, outcome });
    }

    /// A second record comes and is processed.
    fn feed(&mut self) {
        let value = Some(b"w".as_slice().into());
        let record = RawRecord { offset: 1, timestamp: 2, key: None, value, headers: Headers::new() };
        let (fetch, partition) = (self.fetch, partition());
        self.worker.handle(1_000, Event::Records { fetch, partition, records: vec![record], position: 2, end: 2 });
        self.worker.step(1_000, 100);
    }

    /// What the worker asks for until it rests, in words, at a time when a commit is due.
    fn effects(&mut self) -> Vec<String> {
        let mut effects = Vec::new();
        self.worker.step(2_000, 100);
        while let Some(effect) = self.worker.poll_effect() {
            match effect {
                Effect::Send { records } => effects.push(format!("send {}", records.len())),
                Effect::Commit { offsets, .. } => effects.push(format!("commit {}", offsets[0].offset)),
                Effect::Fetch { from, .. } => effects.push(format!("fetch {from:?}")),
                Effect::Abort { request } => {
                    effects.push("abort".into());
                    self.worker.handle(2_000, Event::AbortEnded { request, result: Ok(()) });
                }
                Effect::Begin => effects.push("begin".into()),
                Effect::CloseStores { request, .. } => self.worker.handle(2_000, Event::Closed { request }),
                Effect::Exit { fault } => effects.push(format!("exit: {}", fault.expect("a reason").what())),
                other => effects.push(other.to_string()),
            }
            self.worker.step(2_000, 100);
        }
        effects
    }
}

#[test]
fn i4_what_is_processed_beside_a_commit_is_sent_after_it() {
    let mut scene = Scene::new(2);
    scene.feed();
    assert_eq!(scene.worker.processed_beside_commits(), 1);
    assert_eq!(scene.effects(), [""; 0], "nothing before the outcome, though a commit is due");
    assert!(!scene.worker.idle());
    scene.end_commit(Outcome::Committed);
    assert_eq!(scene.effects(), ["begin", "send 1", "commit 2"]);
}

#[test]
fn i4_what_is_processed_beside_a_commit_goes_with_it() {
    let mut scene = Scene::new(2);
    scene.feed();
    scene.end_commit(Outcome::Aborted(Fault::retry("refused")));
    assert_eq!(scene.effects(), ["abort", "fetch Offset(0)"]);
}

#[test]
fn i4_a_failure_beside_a_commit_leaves_the_commit_alone() {
    let mut scene = Scene::new(2);
    let fetch = scene.fetch;
    scene.worker.handle(1_000, Event::SendFailed { fault: Fault::retry("of a former transaction") });
    assert_eq!(scene.effects(), [""; 0], "the commit is with the driver already, and answers for itself");
    // No text, and records that can't be read end the worker.
    let bad = RawRecord {
        offset: 1,
        timestamp: 2,
        key: None,
        value: Some(b"\xff".as_slice().into()),
        headers: Headers::new(),
    };
    scene
        .worker
        .handle(1_000, Event::Records { fetch, partition: partition(), records: vec![bad], position: 2, end: 2 });
    scene.worker.step(1_000, 100);
    assert_eq!(scene.effects(), [""; 0], "the outcome comes first");
    scene.end_commit(Outcome::Committed);
    assert_eq!(scene.worker.snapshot().committed, 1);
    let effects = scene.effects();
    assert!(effects.len() == 1 && effects[0].starts_with("exit: "), "{effects:?}");
}

#[test]
fn an_end_that_turns_out_to_lie_lower_counts() {
    // Behind the record stands an open transaction, which a reader of committed records may never see.
    let mut scene = Scene::new(4);
    scene.end_commit(Outcome::Committed);
    assert!(!scene.worker.idle());
    assert_eq!(scene.worker.snapshot().tasks[0].lag, 3);
    let told = Event::Position { fetch: scene.fetch, partition: partition(), position: 1, end: 1 };
    scene.worker.handle(1_002, told);
    assert!(scene.worker.idle() && scene.worker.committed_up_to(&[(partition(), 1)]));
    assert_eq!(scene.worker.snapshot().tasks[0].lag, 0);
}

#[test]
fn a_commit_that_no_other_try_would_mend_ends_the_worker() {
    let mut scene = Scene::new(1);
    scene.end_commit(Outcome::Aborted(Fault::stop("no right to write")));
    let Some(Effect::Abort { request }) = scene.worker.poll_effect() else { panic!("the transaction is aborted") };
    scene.worker.handle(1_002, Event::AbortEnded { request, result: Ok(()) });
    while let Some(effect) = scene.worker.poll_effect() {
        match effect {
            Effect::CloseStores { request, .. } => scene.worker.handle(1_003, Event::Closed { request }),
            Effect::Exit { fault } => {
                assert_eq!(fault.expect("a reason").what(), "no right to write");
                return;
            }
            _ => {}
        }
    }
    panic!("it goes on");
}

#[test]
fn i4_a_record_that_is_to_be_tried_again_leaves_the_commit_alone() {
    let fails = AtomicBool::new(true);
    let see = move |value: &str| assert!(value != "w" || !fails.swap(false, Ordering::Relaxed), "once");
    let errors = ErrorSettings { processing: OnError::Retry, ..ErrorSettings::default() };
    let mut scene = Scene::of(2, see, Settings { errors, ..Settings::default() });
    scene.feed();
    assert_eq!(scene.effects(), [""; 0], "the outcome comes first");
    scene.end_commit(Outcome::Committed);
    assert_eq!(scene.effects(), ["fetch Offset(1)"], "from where the commit ended, and there is nothing to abort");
    assert_eq!(scene.worker.snapshot().committed, 1);
}

/// A worker that counts by key, whose changelog holds a record although no offset is committed: told so under generation 1.
fn suspicious() -> (Worker, Request) {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").group_by_key().count().to_stream().to("out");
    let topology = Arc::new(builder.build().expect("a sound topology"));
    let counts = BTreeMap::from([("in".into(), 1), ("out".into(), 1)]);
    let resolved = Arc::new(topology.resolve("app", &counts).expect("both topics are known"));
    let mut worker = Worker::new(topology, resolved, Settings::default());
    let stable = Stable { partition: partition(), offset: None, metadata: String::new() };
    let group = GroupMetadata { generation: 1, member: "m".into(), instance: None };
    worker.handle(0, Event::Assigned { partitions: vec![stable], counts: vec![("in".into(), 1)], group });
    loop {
        let event = match worker.poll_effect().expect("it goes on") {
            Effect::OpenStores { request, .. } => {
                let backend = Arc::new(MemoryBackend::new());
                let (cluster_id, topic_id) = ("c".into(), "t".into());
                Event::Opened { request, result: Ok(vec![OpenedStore { backend, saved: None, cluster_id, topic_id }]) }
            }
            Effect::LogRanges { request, .. } => {
                Event::LogRanges { request, result: Ok(vec![LogRange { start: 0, end: 2 }]) }
            }
            Effect::Restore { request, .. } => {
                let (key, value) = (Some(b"k".as_slice().into()), Some(vec![0; 8].into()));
                let record = RawRecord { offset: 0, timestamp: 1, key, value, headers: Headers::new() };
                Event::Restored { request, result: Ok((vec![record], 2)) }
            }
            Effect::FetchStable { request, .. } => return (worker, request),
            _ => continue,
        };
        worker.handle(1, event);
    }
}

/// The effects after the answer that `offset` is committed.
fn told(offset: Option<i64>) -> Vec<String> {
    let (mut worker, request) = suspicious();
    let stable = Stable { partition: partition(), offset, metadata: String::new() };
    worker.handle(2, Event::StableOffsets { request, result: Ok(vec![stable]) });
    let mut effects = Vec::new();
    while let Some(effect) = worker.poll_effect() {
        if let Effect::CloseStores { request, .. } = effect {
            worker.handle(2, Event::Closed { request });
        }
        effects.push(effect.to_string());
    }
    effects
}

#[test]
fn a_changelog_with_data_and_no_committed_offset_ends_the_worker_that_owns_it() {
    let effects = told(None);
    assert!(effects.last().is_some_and(|e| e.contains("no input offset is committed")), "{effects:?}");
}

#[test]
fn a_former_owner_that_sees_the_data_of_the_next_one_joins_again() {
    let effects = told(Some(1));
    assert!(effects.contains(&"Rejoin".into()), "{effects:?}");
    assert!(!effects.iter().any(|e| e.starts_with("Exit")), "{effects:?}");
}
