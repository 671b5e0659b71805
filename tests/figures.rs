//! The figures that metrics and health go by, of a worker whose driver is the test.

use millstream::{
    record::{Headers, RawRecord, TopicPartition},
    runtime::Board,
    topology::StreamsBuilder,
    worker::{Effect, Event, GroupMetadata, Outcome, Request, Settings, Snapshot, Stable, Worker},
};
use std::{collections::BTreeMap, sync::Arc};

/// A worker that passes records of topic `in` on, and the request of its last commit.
struct Scene {
    worker: Worker,
    offset: i64,
    commit: Option<Request>,
}

impl Scene {
    fn new() -> Self {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("in").to("out");
        let topology = Arc::new(builder.build().expect("a sound topology"));
        let counts = BTreeMap::from([("in".into(), 1), ("out".into(), 1)]);
        let resolved = Arc::new(topology.resolve("app", &counts).expect("both topics are known"));
        Self { worker: Worker::new(topology, resolved, Settings::default()), offset: 0, commit: None }
    }

    fn handle(&mut self, now: i64, event: Event) {
        self.worker.handle(now, event);
        self.step(now);
    }

    fn assign(&mut self, now: i64) {
        let partition = TopicPartition::new("in", 0);
        let stable = Stable { partition, offset: Some(self.offset), metadata: String::new() };
        let group = GroupMetadata { generation: 1, member: "m".into(), instance: None };
        self.handle(now, Event::Assigned { partitions: vec![stable], counts: vec![("in".into(), 1)], group });
    }

    /// Steps and answers everything but a commit; a fetch gets one record of this time.
    fn step(&mut self, now: i64) {
        loop {
            self.worker.step(now, 100);
            let Some(effect) = self.worker.poll_effect() else { return };
            let event = match effect {
                Effect::OpenStores { request, .. } => Event::Opened { request, result: Ok(Vec::new()) },
                Effect::CloseStores { request, .. } => Event::Closed { request },
                Effect::Fetch { fetch, partition, .. } => {
                    let value = Some(b"v".as_slice().into());
                    let record =
                        RawRecord { offset: self.offset, timestamp: now, key: None, value, headers: Headers::new() };
                    self.offset += 1;
                    Event::Records { fetch, partition, records: vec![record], position: self.offset, end: self.offset }
                }
                Effect::Commit { request, .. } => {
                    self.commit = Some(request);
                    continue;
                }
                _ => continue,
            };
            self.worker.handle(now, event);
        }
    }

    fn end_commit(&mut self, now: i64, outcome: Outcome) {
        let request = self.commit.take().expect("a commit was sent");
        self.handle(now, Event::CommitEnded { request, outcome });
    }

    fn figures(&mut self) -> Snapshot {
        self.worker.snapshot()
    }
}

#[test]
fn a_commit_is_overdue_from_the_interval_after_the_work_to_its_end() {
    let mut scene = Scene::new();
    scene.step(900);
    assert_eq!((scene.figures().state, scene.figures().overdue_since), ("starting", None));
    scene.assign(1_000);
    assert_eq!((scene.figures().state, scene.figures().overdue_since), ("running", Some(1_100)));
    scene.step(1_100);
    scene.step(90_000);
    assert_eq!(scene.figures().overdue_since, Some(1_100), "no answer comes");
    scene.end_commit(90_000, Outcome::Committed);
    scene.step(90_100);
    assert_eq!((scene.figures().overdue_since, scene.figures().committed), (None, 1));
}

/// `/health/live` and `/health/ready`, of a worker that works, waits for an answer, gets it, and is asked for its
/// partitions.
#[test]
fn health_follows_the_worker() {
    let board = Board::new(1, 60_000);
    let mut scene = Scene::new();
    let health = |scene: &mut Scene, now: i64| {
        board.publish(0, scene.figures());
        (board.live(now), board.ready())
    };
    scene.step(900);
    assert_eq!(health(&mut scene, 900), (Ok(()), Err("stream thread 0 is starting".into())));
    scene.assign(1_000);
    assert_eq!(health(&mut scene, 1_000), (Ok(()), Ok(())));
    scene.step(1_100);
    assert_eq!(health(&mut scene, 61_100), (Ok(()), Ok(())), "slow, but not yet too slow");
    let overdue = "stream thread 0 has work, and its commit is overdue for 60001 ms".to_owned();
    assert_eq!(health(&mut scene, 61_101), (Err(overdue), Ok(())));
    scene.end_commit(61_200, Outcome::Committed);
    assert_eq!(health(&mut scene, 61_200), (Ok(()), Ok(())));
    scene.handle(62_000, Event::Revoked);
    assert_eq!(health(&mut scene, 200_000), (Ok(()), Err("stream thread 0 is rebalancing".into())));
}

#[test]
fn an_abort_does_not_make_a_commit_less_overdue_but_another_owner_does() {
    let mut scene = Scene::new();
    scene.assign(1_000);
    scene.step(1_100);
    scene.end_commit(1_200, Outcome::Fenced);
    let figures = scene.figures();
    assert_eq!((figures.fenced, figures.aborted, figures.committed), (1, 0, 0), "each transaction counts once");
    scene.step(1_300);
    assert_eq!((scene.figures().overdue_since, scene.figures().state), (None, "rebalancing"));
}

#[test]
fn pauses_last_until_every_task_runs() {
    let mut scene = Scene::new();
    scene.step(500);
    scene.assign(1_000);
    scene.step(1_100);
    scene.end_commit(1_150, Outcome::Committed);
    scene.handle(2_000, Event::Revoked);
    assert_eq!(scene.figures().state, "rebalancing");
    scene.step(2_100);
    scene.assign(5_000);
    scene.step(5_000);
    let figures = scene.figures();
    assert_eq!((figures.rebalances, figures.pauses.count(), figures.pauses.sum_us), (2, 2, 3_500_000));
}

#[test]
fn a_records_latency_ends_with_its_commit() {
    let mut scene = Scene::new();
    scene.assign(1_000);
    scene.step(1_100);
    let event = |scene: &mut Scene| {
        let topic = scene.figures().counters[&0].topics[0].clone();
        (topic.topic.to_string(), topic.processed, topic.event.count(), topic.event.sum_us)
    };
    assert_eq!(event(&mut scene), ("in".into(), 1, 0, 0));
    scene.end_commit(1_250, Outcome::Committed);
    assert_eq!(event(&mut scene), ("in".into(), 1, 1, 250_000));
    assert_eq!(scene.worker.processed(), 1);
}
