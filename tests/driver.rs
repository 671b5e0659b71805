//! What a worker makes of words of its driver that the drivers on the model log never say.

use millstream::{
    fault::Fault,
    record::{Fetch, Headers, RawRecord, TopicPartition},
    topology::StreamsBuilder,
    worker::{Effect, Event, GroupMetadata, Outcome, Request, Settings, Stable, Worker},
};
use std::{collections::BTreeMap, sync::Arc};

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
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("in").to("out");
        let topology = Arc::new(builder.build().expect("a sound topology"));
        let counts = BTreeMap::from([("in".into(), 1), ("out".into(), 1)]);
        let resolved = Arc::new(topology.resolve("app", &counts).expect("both topics are known"));
        let mut worker = Worker::new(topology, resolved, Settings::default());
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
