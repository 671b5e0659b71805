use super::*;
use crate::{
    log::{Isolation, TopicConfig},
    record::{Headers, Offset, Request, Target},
    worker::{CommitOffset, GroupMetadata, Outcome},
};

const GROUP: &str = "app";

/// A log with two topics, and a client that is the only member of its group.
struct World {
    log: Log,
    client: Client,
    requests: u64,
}

fn record(topic: &str, value: &str) -> OutRecord {
    OutRecord {
        topic: topic.into(),
        partition: 0,
        key: Some("k".into()),
        value: Some(value.to_owned().into()),
        timestamp: 0,
        headers: Headers::new(),
        target: Target::Sink,
    }
}

fn config(guarantee: Guarantee) -> ClientConfig {
    ClientConfig { guarantee, ..ClientConfig::new(GROUP, "c", vec!["in".into()]) }
}

impl World {
    fn new(config: ClientConfig) -> Self {
        let mut log = Log::new("test");
        for topic in ["in", "a", "b"] {
            log.create_topic(topic, 1, TopicConfig::default());
        }
        let mut world = Self { log, client: Client::new(config, 0), requests: 0 };
        for now in 0..4 {
            world.client.group(&mut world.log, now);
        }
        assert!(matches!(world.client.next_event(), Some(Event::Assigned { .. })));
        world
    }

    fn act(&mut self, effect: Effect) {
        self.client.order(effect);
        for _ in 0..10 {
            self.client.act(&mut self.log, 10);
        }
    }

    fn send(&mut self, records: &[(&str, &str)]) {
        let records = records.iter().map(|(topic, value)| record(topic, value)).collect();
        self.act(Effect::Send { records });
    }

    /// Begins, sends one record to topic `a` and commits offset `offset`.
    fn transaction(&mut self, value: &str, offset: Offset) -> Outcome {
        self.act(Effect::Begin);
        self.send(&[("a", value)]);
        self.commit(offset)
    }

    fn commit(&mut self, offset: Offset) -> Outcome {
        self.requests += 1;
        let member = self.client.member_id().unwrap().to_string();
        let group = GroupMetadata { generation: 1, member, instance: None };
        let partition = TopicPartition::new("in", 0);
        let offsets = vec![CommitOffset { partition, offset, metadata: String::new() }];
        self.act(Effect::Commit { request: Request(self.requests), offsets, group });
        while let Some(event) = self.client.next_event() {
            if let Event::CommitEnded { request, outcome } = event {
                assert_eq!(request, Request(self.requests));
                return outcome;
            }
        }
        panic!("the commit has no outcome");
    }

    fn committed(&self) -> Option<Offset> {
        Some(self.log.committed(GROUP, &TopicPartition::new("in", 0))?.offset)
    }

    fn values(&self, topic: &str) -> Vec<String> {
        let records = self.log.read_all(&TopicPartition::new(topic, 0), Isolation::ReadCommitted).unwrap();
        records.iter().map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap()).into_owned()).collect()
    }
}

#[test]
fn a_lost_answer_leaves_the_commit_done_undone_or_on_its_way() {
    let unknown = |trouble| {
        let mut world = World::new(config(Guarantee::ExactlyOnceV2));
        world.client.trouble.commit = Some(trouble);
        assert_eq!(world.transaction("x", 5), Outcome::Unknown);
        world
    };
    assert_eq!(unknown(CommitTrouble::UnknownDone).committed(), Some(5));
    assert_eq!(unknown(CommitTrouble::UnknownNot).committed(), None);
    let mut late = unknown(CommitTrouble::UnknownLate);
    assert_eq!((late.committed(), late.client.has_late()), (None, true));
    assert!(late.client.arrive(&mut late.log, 20));
    assert_eq!((late.committed(), late.values("a")), (Some(5), vec!["x".to_owned()]));
    // A new producer decides first: then the request comes to nothing.
    let mut late = unknown(CommitTrouble::UnknownLate);
    late.act(Effect::ReplaceProducer { request: Request(9) });
    assert!(!late.client.arrive(&mut late.log, 20));
    assert_eq!((late.committed(), late.values("a")), (None, vec![]));
}

#[test]
fn another_producer_with_the_id_fences_the_commit_and_nothing_of_it_is_seen() {
    let mut world = World::new(config(Guarantee::ExactlyOnceV2));
    world.act(Effect::Begin);
    world.send(&[("a", "x")]);
    world.log.init_transactions("app-c", 1_000, 10).unwrap();
    assert_eq!(world.commit(5), Outcome::Fenced);
    assert_eq!((world.committed(), world.values("a")), (None, vec![]));
}

#[test]
fn at_least_once_a_refused_record_fails_the_commit_though_others_are_written() {
    let mut world = World::new(config(Guarantee::AtLeastOnce));
    world.client.trouble.send = true;
    world.send(&[("a", "refused"), ("a", "x"), ("b", "y")]);
    assert!(matches!(world.client.next_event(), Some(Event::SendFailed { .. })));
    assert!(matches!(world.commit(5), Outcome::Aborted(_)));
    assert_eq!((world.committed(), world.values("a"), world.values("b")), (None, vec!["x".into()], vec!["y".into()]));
}

#[test]
fn at_least_once_offsets_follow_the_records_and_their_lost_answer_is_unknown() {
    let mut world = World::new(config(Guarantee::AtLeastOnce));
    world.client.trouble.lazy = true;
    world.send(&[("a", "x")]);
    assert_eq!((world.client.buffered(), world.values("a")), (1, vec![]));
    world.client.trouble.commit = Some(CommitTrouble::UnknownDone);
    assert_eq!(world.commit(5), Outcome::Unknown);
    assert_eq!((world.committed(), world.values("a")), (Some(5), vec!["x".to_owned()]));
    assert_eq!(world.commit(5), Outcome::Committed);
}

#[test]
fn what_is_on_its_way_at_a_crash_reaches_each_partition_in_order() {
    let mut world = World::new(config(Guarantee::AtLeastOnce));
    world.client.trouble.lazy = true;
    world.send(&[("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"), ("a", "3")]);
    // First topic b as far as its first record, then all of topic a.
    let mut choices = [1, 1, 0, 3].into_iter();
    world.client.scatter(&mut world.log, 10, |_| choices.next().unwrap());
    assert_eq!(
        (world.values("a"), world.values("b")),
        (vec!["1".into(), "2".into(), "3".into()], vec!["1".to_owned()])
    );
}

#[test]
fn what_is_written_after_the_group_moved_on_is_noted() {
    let mut world = World::new(config(Guarantee::AtLeastOnce));
    world.send(&[("a", "x")]);
    assert!(world.client.stale_writes().is_empty());
    world.log.tick(20_000);
    world.log.rebalance(GROUP, 20_000);
    world.send(&[("a", "y")]);
    let stale = world.client.stale_writes();
    assert_eq!((stale.len(), stale[0].1.offset), (1, 1));
    assert_eq!(world.commit(5), Outcome::Lost, "but its offsets are refused");
    assert_eq!(world.committed(), None);
}

#[test]
fn what_is_written_after_another_took_the_instance_id_is_noted() {
    let instance_id = Some("i".to_owned());
    let mut world = World::new(ClientConfig { instance_id, ..config(Guarantee::AtLeastOnce) });
    let mut twin = Client::new(world.client.config.clone(), 10);
    for now in 10..14 {
        twin.group(&mut world.log, now);
    }
    assert!(matches!(twin.next_event(), Some(Event::Assigned { .. })));
    assert_eq!(world.log.generation(GROUP), 1, "nobody else has to join again");
    world.send(&[("a", "x")]);
    assert_eq!(world.client.stale_writes().len(), 1);
}

#[test]
fn a_static_member_leaves_without_a_word() {
    for (instance_id, stays) in [(None, false), (Some("i".to_owned()), true)] {
        let mut world = World::new(ClientConfig { instance_id, ..config(Guarantee::ExactlyOnceV2) });
        let member = world.client.member_id().unwrap().clone();
        world.act(Effect::Exit { fault: None });
        assert_eq!(world.log.is_member(GROUP, &member), stays);
    }
}
