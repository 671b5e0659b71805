//! What a worker takes at most, over all its tasks.
#![expect(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use millstream::{
    record::{Fetch, Headers, Offset, RawRecord, TopicPartition},
    state::MemoryBackend,
    topology::StreamsBuilder,
    worker::{Effect, Event, GroupMetadata, LogRange, OpenedStore, Outcome, Request, Settings, Stable, Worker},
};
use std::{collections::BTreeMap, sync::Arc};

/// A worker that counts by key, each partition in a task of its own.
struct Scene {
    worker: Worker,
    fetches: BTreeMap<i32, Fetch>,
    /// Persists under way, with the rows of each.
    persists: Vec<(Request, usize)>,
}

impl Scene {
    fn new(partitions: i32, settings: Settings) -> Self {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("in").group_by_key().count();
        let topology = Arc::new(builder.build().unwrap());
        let resolved = Arc::new(topology.resolve("app", &BTreeMap::from([("in".into(), partitions)])).unwrap());
        let mut worker = Worker::new(topology, resolved, settings);
        let stable = |partition| Stable {
            partition: TopicPartition::new("in", partition),
            offset: Some(0),
            metadata: String::new(),
        };
        let group = GroupMetadata { generation: 1, member: "m".into(), instance: None };
        let (partitions, counts) = ((0..partitions).map(stable).collect(), vec![("in".into(), partitions)]);
        worker.handle(0, Event::Assigned { partitions, counts, group });
        let mut scene = Self { worker, fetches: BTreeMap::new(), persists: Vec::new() };
        scene.run(1);
        scene
    }

    /// Works until the worker rests; what it asks for is done at once, persists excepted.
    fn run(&mut self, now: i64) {
        loop {
            self.worker.step(now, 100_000);
            let Some(effect) = self.worker.poll_effect() else { return };
            let event = match effect {
                Effect::OpenStores { request, .. } => {
                    let backend = Arc::new(MemoryBackend::simulated_disk());
                    let (cluster_id, topic_id) = ("c".into(), "t".into());
                    let store = OpenedStore { backend, saved: None, cluster_id, topic_id };
                    Event::Opened { request, result: Ok(vec![store]) }
                }
                Effect::LogRanges { request, partitions } => {
                    let empty = partitions.iter().map(|_| LogRange { start: 0, end: 0 }).collect();
                    Event::LogRanges { request, result: Ok(empty) }
                }
                Effect::Commit { request, .. } => Event::CommitEnded { request, outcome: Outcome::Committed },
                Effect::Fetch { fetch, partition, .. } => {
                    self.fetches.insert(partition.partition, fetch);
                    continue;
                }
                Effect::Persist { request, batch, .. } => {
                    self.persists.push((request, batch.rows.len()));
                    continue;
                }
                _ => continue,
            };
            self.worker.handle(now, event);
        }
    }

    /// Records of different keys come, each with a value of `bytes`.
    fn feed(&mut self, partition: i32, records: Offset, bytes: usize) {
        let record = |offset: Offset| RawRecord {
            offset,
            timestamp: 1,
            key: Some(offset.to_string().into()),
            value: Some(vec![b'v'; bytes].into()),
            headers: Headers::new(),
        };
        let (fetch, records) = (self.fetches[&partition], (0..records).map(record).collect::<Vec<_>>());
        let (position, end) = (records.len() as Offset, records.len() as Offset);
        let partition = TopicPartition::new("in", partition);
        self.worker.handle(1, Event::Records { fetch, partition, records, position, end });
    }
}

#[test]
fn stores_are_persisted_two_at_a_time_and_the_largest_first() {
    let mut scene = Scene::new(5, Settings { persist_bytes: 1, ..Settings::default() });
    for (partition, records) in [(0, 20), (1, 50), (2, 10), (3, 40), (4, 30)] {
        scene.feed(partition, records, 1);
    }
    // One commit for all.
    (0..5).for_each(|_| assert!(!scene.worker.work(1, 1_000), "so much at a time"));
    let mut rows = Vec::new();
    for now in 1_000..1_005 {
        scene.run(now);
        assert_eq!(scene.persists.len(), (5 - rows.len()).min(2), "{:?}", scene.persists);
        let (request, written) = scene.persists.remove(0);
        rows.push(written);
        scene.worker.handle(now, Event::Persisted { request, result: Ok(()) });
    }
    assert_eq!(rows, [50, 40, 30, 20, 10]);
    scene.run(1_005);
    assert!(scene.persists.is_empty() && scene.worker.idle());
}

#[test]
fn waiting_records_share_one_limit_among_partitions() {
    let settings = || Settings { queues_bytes_max: 1 << 20, partition_queue_bytes_max: 1 << 20, ..Settings::default() };
    let dammed = |partitions, bytes: usize| {
        let mut scene = Scene::new(partitions, settings());
        scene.feed(0, 10, bytes / 10);
        let mut dammed = Vec::new();
        while let Some(effect) = scene.worker.poll_effect() {
            if let Effect::Flow { partition, on: false } = effect {
                dammed.push(partition.partition);
            }
        }
        dammed
    };
    assert_eq!(dammed(1, 900 << 10), [0; 0]);
    assert_eq!(dammed(1, 1_100 << 10), [0]);
    assert_eq!(dammed(4, 200 << 10), [0; 0]);
    assert_eq!(dammed(4, 300 << 10), [0]);
    // A share is never so small that records come one by one.
    assert_eq!(dammed(64, 50 << 10), [0; 0]);
    assert_eq!(dammed(64, 80 << 10), [0]);
}
