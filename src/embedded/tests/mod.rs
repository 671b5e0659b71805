//! Members on the model log: what outlives a hand-over, a crash and an idle day.

mod hand_over;
mod input;
mod membership;

use super::{ClientConfig, Member, MemoryDisks, Progress};
use crate::{
    fault::Fault,
    log::{Isolation, Log, TopicConfig},
    record::{Headers, OutRecord, RawRecord, Target, TaskId, Timestamp, TopicPartition},
    state::{Backend, MemoryBackend},
    topology::{Resolved, StreamsBuilder, Topology},
    worker::Settings,
};
use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

const START: Timestamp = 1_000_000;

/// Members of one group, each a process of its own with its own disk.
struct World {
    log: Log,
    topology: Arc<Topology>,
    resolved: Arc<Resolved>,
    settings: Settings,
    /// One per place; outlives its member.
    disks: Vec<MemoryDisks>,
    members: Vec<Option<Member>>,
    now: Timestamp,
}

fn disk() -> MemoryDisks {
    MemoryDisks::new(|| Arc::new(MemoryBackend::simulated_disk()) as Arc<dyn Backend>)
}

impl World {
    /// A world of `topics` with so many partitions each, and `places` for members; none is up yet.
    fn new(builder: StreamsBuilder, topics: &[(&str, i32)], places: usize) -> Self {
        let topology = Arc::new(builder.build().unwrap());
        let mut log = Log::new("test");
        for (topic, partitions) in topics {
            log.create_topic(topic, *partitions, TopicConfig::default());
        }
        let counts = topics.iter().map(|(topic, partitions)| (Arc::from(*topic), *partitions)).collect();
        let resolved = Arc::new(topology.resolve("app", &counts).unwrap());
        for topic in &resolved.internal {
            log.create_topic(&topic.name, topic.partitions, TopicConfig::from_settings(&topic.config));
        }
        let disks = (0..places).map(|_| disk()).collect();
        let members = (0..places).map(|_| None).collect();
        Self { log, topology, resolved, settings: Settings::default(), disks, members, now: START }
    }

    fn config(&self, place: usize) -> ClientConfig {
        ClientConfig::new("app", format!("m{place}"), self.resolved.subscription())
    }

    fn start(&mut self, place: usize) {
        let config = self.config(place);
        self.start_with(place, config);
    }

    fn start_with(&mut self, place: usize, config: ClientConfig) {
        let settings = Settings { session: self.now, ..self.settings.clone() };
        let (topology, resolved) = (Arc::clone(&self.topology), Arc::clone(&self.resolved));
        self.members[place] = Some(Member::new(topology, resolved, settings, config, place));
    }

    /// The process dies without a word.
    fn crash(&mut self, place: usize) {
        self.members[place] = None;
        self.disks[place].release_all();
    }

    /// Stops a member and waits for its end.
    fn stop(&mut self, place: usize) {
        self.members[place].as_mut().unwrap().stop(self.now);
        self.until("the member ends", |w| w.members[place].as_ref().unwrap().exited());
        assert_eq!(self.members[place].take().unwrap().fault(), None);
    }

    fn fault(&self, place: usize) -> Option<&Fault> {
        self.members[place].as_ref().and_then(Member::fault)
    }

    fn write(&mut self, topic: &str, partition: i32, key: &str, value: i64, timestamp: Timestamp) {
        self.append(topic, partition, key, &value.to_be_bytes(), timestamp);
    }

    fn append(&mut self, topic: &str, partition: i32, key: &str, value: &[u8], timestamp: Timestamp) {
        let record = OutRecord {
            topic: topic.into(),
            partition,
            key: Some(key.as_bytes().to_vec().into()),
            value: Some(value.to_vec().into()),
            timestamp,
            headers: Headers::new(),
            target: Target::Sink,
        };
        self.log.append(record).unwrap();
    }

    fn tick(&mut self) {
        for (place, member) in self.members.iter_mut().enumerate() {
            let Some(member) = member else { continue };
            for _ in 0..50 {
                if member.tick(&mut self.log, &mut self.disks[place], self.now, 100) != Progress::Busy {
                    break;
                }
            }
        }
        self.now += 10;
        self.log.tick(self.now);
    }

    /// Lets model time pass until `done`.
    fn until(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let deadline = self.now + 120_000;
        while !done(self) {
            assert!(self.now < deadline, "never: {what}");
            self.tick();
        }
    }

    /// Waits until all input is committed.
    fn settle(&mut self) {
        self.until("all input is committed", |w| {
            w.resolved.subscription().iter().all(|topic| {
                (0..w.log.partitions(topic).unwrap()).all(|partition| {
                    let tp = TopicPartition::new(Arc::clone(topic), partition);
                    let end = w.log.stable_end(&tp).unwrap();
                    end == 0 || w.log.committed("app", &tp).is_some_and(|c| c.offset >= end)
                })
            })
        });
    }

    /// Tasks of a member that process.
    fn running(&mut self, place: usize) -> usize {
        let snapshot = self.members[place].as_mut().unwrap().worker_mut().snapshot();
        snapshot.tasks.iter().filter(|t| t.state == "running").count()
    }

    fn read(&self, topic: &str, partition: i32) -> Vec<RawRecord> {
        self.log.read_all(&TopicPartition::new(topic, partition), Isolation::ReadCommitted).unwrap()
    }

    /// Values of a store by row, as a reader sees them.
    fn rows(&mut self, place: usize, task: &str, store: &str) -> BTreeMap<Vec<u8>, i64> {
        let (sub_topology, partition) = task.split_once('_').unwrap();
        let task = TaskId { sub_topology: sub_topology.parse().unwrap(), partition: partition.parse().unwrap() };
        let store = self.members[place].as_mut().unwrap().worker_mut().store(task, store).unwrap();
        let mut rows = BTreeMap::new();
        let mut visit = |row: &[u8], value: crate::state::Row| {
            rows.insert(row.to_vec(), i64::from_be_bytes(value.value[..].try_into().unwrap()));
            ControlFlow::Continue(())
        };
        store.scan(b"", None, false, &mut visit).unwrap();
        rows
    }
}
