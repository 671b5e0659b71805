//! The worker on the model log, end to end: windows and a table, two members, a clean stop and a crash.

use bytes::Bytes;
use millstream::{
    embedded::{ClientConfig, Member, MemoryDisks, Progress},
    log::{Isolation, Log, TopicConfig},
    operator::TimeWindows,
    record::{Headers, OutRecord, Target, TopicPartition},
    state::{Backend, MemoryBackend},
    topology::{Materialized, Resolved, StreamsBuilder, Topology},
    worker::Settings,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const PARTITIONS: i32 = 4;

fn topology() -> Arc<Topology> {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("words").group_by(|_, word| word.cloned()).count().to_stream().to("counts");
    Arc::new(builder.build().expect("a valid topology"))
}

struct World {
    log: Log,
    topology: Arc<Topology>,
    resolved: Arc<Resolved>,
    disks: Vec<MemoryDisks>,
    members: Vec<Option<Member>>,
    now: i64,
}

fn disk() -> MemoryDisks {
    MemoryDisks::new(|| Arc::new(MemoryBackend::simulated_disk()) as Arc<dyn Backend>)
}

impl World {
    fn new(members: usize) -> Self {
        Self::of(topology(), members)
    }

    fn of(topology: Arc<Topology>, members: usize) -> Self {
        let mut log = Log::new("test");
        for topic in ["words", "counts"] {
            log.create_topic(topic, PARTITIONS, TopicConfig::default());
        }
        let counts = BTreeMap::from([("words".into(), PARTITIONS), ("counts".into(), PARTITIONS)]);
        let resolved = Arc::new(topology.resolve("app", &counts).expect("resolves"));
        for topic in &resolved.internal {
            log.create_topic(&topic.name, topic.partitions, TopicConfig::from_settings(&topic.config));
        }
        let disks = (0..members).map(|_| disk()).collect();
        let mut world = Self { log, topology, resolved, disks, members: Vec::new(), now: 1_000 };
        for index in 0..members {
            let member = world.member(index);
            world.members.push(Some(member));
        }
        world
    }

    fn member(&self, index: usize) -> Member {
        self.member_with(index, Settings::default())
    }

    fn member_with(&self, index: usize, settings: Settings) -> Member {
        let settings = Settings { session: self.now, ..settings };
        let config = ClientConfig::new("app", format!("m{index}"), self.resolved.subscription());
        Member::new(Arc::clone(&self.topology), Arc::clone(&self.resolved), settings, config, index)
    }

    fn write(&mut self, words: &[&str]) {
        for (i, word) in words.iter().enumerate() {
            let record = OutRecord {
                topic: "words".into(),
                partition: i as i32 % PARTITIONS,
                key: None,
                value: Some(Bytes::copy_from_slice(word.as_bytes())),
                timestamp: self.now + i as i64,
                headers: Headers::new(),
                target: Target::Sink,
            };
            self.log.append(record).expect("the topic exists");
        }
    }

    /// Runs for `ms` of model time.
    fn run(&mut self, ms: i64) {
        let end = self.now + ms;
        while self.now < end {
            for (index, member) in self.members.iter_mut().enumerate() {
                if let Some(member) = member {
                    for _ in 0..50 {
                        if member.tick(&mut self.log, &mut self.disks[index], self.now, 100) != Progress::Busy {
                            break;
                        }
                    }
                    assert_eq!(member.fault(), None);
                }
            }
            self.now += 10;
            self.log.tick(self.now);
        }
    }

    /// The newest count of each word that a read_committed reader sees.
    fn counts(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let tp = TopicPartition::new("counts", partition);
            for record in self.log.read_all(&tp, Isolation::ReadCommitted).expect("the topic exists") {
                let word = String::from_utf8(record.key.expect("counts have keys").to_vec()).expect("text");
                let count = i64::from_be_bytes(record.value.expect("no deletions")[..].try_into().expect("8 bytes"));
                counts.insert(word, count);
            }
        }
        counts
    }
}

fn expected(batches: i64) -> BTreeMap<String, i64> {
    BTreeMap::from([("a".into(), 3 * batches), ("b".into(), 2 * batches), ("c".into(), batches)])
}

const WORDS: [&str; 6] = ["a", "b", "a", "c", "b", "a"];

#[test]
fn two_members_count_every_word_once() {
    let mut world = World::new(2);
    world.write(&WORDS);
    world.run(15_000);
    world.write(&WORDS);
    world.run(2_000);
    assert_eq!(world.counts(), expected(2));
}

#[test]
fn counts_go_on_after_a_clean_stop_on_the_same_disk_and_on_an_empty_one() {
    let mut world = World::new(1);
    world.write(&WORDS);
    world.run(5_000);
    for empty in [false, true] {
        let now = world.now;
        world.members[0].as_mut().expect("runs").stop(now);
        world.run(5_000);
        assert!(world.members[0].as_ref().expect("is there").exited(), "a stopped worker ends");
        if empty {
            world.disks[0] = disk();
        }
        world.members[0] = Some(world.member(0));
        world.write(&WORDS);
        world.run(20_000);
    }
    assert_eq!(world.counts(), expected(3));
}

#[test]
fn a_crash_costs_nothing_but_time() {
    let mut world = World::new(2);
    for round in 1..=6 {
        world.write(&WORDS);
        world.run(35);
        let victim = round % 2;
        world.members[victim] = None;
        world.disks[victim].release_all();
        world.run(300);
        world.members[victim] = Some(world.member(victim));
        world.run(30_000);
        assert_eq!(world.counts(), expected(round as i64), "round {round}");
    }
}

/// P-61: a cache of 0 bytes forwards each update, also of records that are processed in one turn.
#[test]
fn p61_without_a_cache_each_update_is_forwarded() {
    for (cache_bytes_max, updates) in [(0, 3..=3), (10 << 20, 1..=2)] {
        let mut world = World::new(1);
        world.members[0] = Some(world.member_with(0, Settings { cache_bytes_max, ..Settings::default() }));
        world.write(&["a", "b", "a", "b", "a"]);
        world.run(5_000);
        let partitions = (0..PARTITIONS).map(|p| TopicPartition::new("counts", p));
        let of_a =
            partitions.flat_map(|tp| world.log.read_all(&tp, Isolation::ReadCommitted).expect("the topic exists"));
        let found = of_a.filter(|r| r.key.as_deref() == Some(b"a")).count();
        assert!(updates.contains(&found), "{cache_bytes_max} bytes: {found}");
    }
}

/// Counts in windows of a second that are kept for ten days, on a changelog that the broker cleans by wall clock.
fn windows() -> Arc<Topology> {
    let builder = StreamsBuilder::new();
    let words = builder.stream::<String, String>("words").group_by(|_, word| word.cloned());
    let second = TimeWindows::of_size_and_grace(Duration::from_secs(1), Duration::ZERO);
    let kept = Materialized::as_store("windows").with_retention(Duration::from_secs(10 * 86_400));
    words.windowed_by(second).count_with(kept).to_stream().to("counts");
    Arc::new(builder.build().expect("a valid topology"))
}

#[test]
fn old_event_time_is_not_committed_where_the_changelog_can_not_be_kept() {
    const DAY_MS: i64 = 86_400_000;
    let refused = || Some("retention can't be changed".to_owned());
    // The margin is a day.
    let cases = [(DAY_MS / 2, false, None), (2 * DAY_MS, false, refused()), (4_000 * DAY_MS, false, refused())];
    for (behind_ms, may_keep, expected) in cases.into_iter().chain([(4_000 * DAY_MS, true, None)]) {
        let mut world = World::of(windows(), 1);
        world.write(&WORDS);
        world.now += behind_ms;
        let member = world.members[0].as_mut().expect("runs");
        for _ in 0..1_000 {
            member.client.trouble.keep = !may_keep;
            if member.tick(&mut world.log, &mut world.disks[0], world.now, 100) == Progress::Exited {
                break;
            }
            world.now += 10;
            world.log.tick(world.now);
        }
        let fault = member.fault().map(ToString::to_string);
        assert_eq!(fault, expected, "{behind_ms} ms behind");
        let changelog = world.resolved.internal.iter().find(|t| !t.repartition).expect("there is one store");
        for topic in [&changelog.name, &"counts".into()] {
            let partitions = (0..PARTITIONS).map(|p| TopicPartition::new(Arc::clone(topic), p));
            let read = |tp| world.log.read_all(&tp, Isolation::ReadCommitted).expect("the topic exists").len();
            let committed: usize = partitions.map(read).sum();
            assert_eq!(committed > 0, fault.is_none(), "{behind_ms} ms behind, {topic}");
        }
    }
}
