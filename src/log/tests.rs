use super::*;
use crate::record::{Headers, Target};

const GROUP: &str = "app";

fn record(topic: &str, partition: i32, key: &str, value: Option<&str>) -> OutRecord {
    OutRecord {
        topic: topic.into(),
        partition,
        key: Some(key.to_owned().into()),
        value: value.map(|v| v.to_owned().into()),
        timestamp: 0,
        headers: Headers::new(),
        target: Target::Sink,
    }
}

fn log() -> Log {
    let mut log = Log::new("c");
    log.create_topic("t", 2, TopicConfig::default());
    log.create_topic("c", 1, TopicConfig { compact: true, delete_retention_ms: 100, ..TopicConfig::default() });
    log
}

fn t0() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn c0() -> TopicPartition {
    TopicPartition::new("c", 0)
}

fn offsets(records: &[RawRecord]) -> Vec<Offset> {
    records.iter().map(|r| r.offset).collect()
}

fn read(log: &Log, partition: &TopicPartition, isolation: Isolation) -> (Vec<Offset>, Offset) {
    let start = log.start(partition).unwrap();
    let fetched = log.fetch(partition, start, isolation, usize::MAX).unwrap();
    (offsets(&fetched.records), fetched.position)
}

fn offset(offset: Offset) -> Committed {
    Committed { offset, metadata: "m".into() }
}

fn anyone() -> Identity {
    Identity { generation: -1, member: String::new() }
}

#[test]
fn markers_take_an_offset_and_are_skipped() {
    let mut log = log();
    let p = log.init_transactions("x", 1000, 0).unwrap();
    log.produce(p, record("t", 0, "a", Some("1")), 0).unwrap();
    log.end_transaction(p, true, 0).unwrap();
    assert_eq!(log.end(&t0()), Ok(2));
    assert_eq!(read(&log, &t0(), Isolation::ReadCommitted), (vec![0], 2));
}

#[test]
fn open_transactions_hold_the_stable_end() {
    let mut log = log();
    let (p, q) = (log.init_transactions("p", 1000, 0).unwrap(), log.init_transactions("q", 1000, 0).unwrap());
    log.produce(p, record("t", 0, "a", None), 0).unwrap();
    log.produce(q, record("t", 0, "b", None), 0).unwrap();
    log.end_transaction(q, true, 0).unwrap();
    assert_eq!((log.stable_end(&t0()), log.end(&t0())), (Ok(0), Ok(3)));
    assert_eq!(read(&log, &t0(), Isolation::ReadCommitted), (vec![], 0));
    assert_eq!(read(&log, &t0(), Isolation::ReadUncommitted), (vec![0, 1], 3));
    log.end_transaction(p, false, 0).unwrap();
    assert_eq!(read(&log, &t0(), Isolation::ReadCommitted), (vec![1], 4));
}

#[test]
fn bytes_bound_a_fetch_but_one_record_always_comes() {
    let mut log = log();
    for _ in 0..3 {
        log.append(record("t", 0, "key", Some("value"))).unwrap();
    }
    let fetched = log.fetch(&t0(), 0, Isolation::ReadCommitted, 1).unwrap();
    assert_eq!((offsets(&fetched.records), fetched.position, fetched.end), (vec![0], 1, 3));
    let fetched = log.fetch(&t0(), 1, Isolation::ReadCommitted, 16).unwrap();
    assert_eq!((offsets(&fetched.records), fetched.position), (vec![1, 2], 3));
}

#[test]
fn an_offset_outside_of_the_log_is_refused() {
    let mut log = log();
    log.append(record("t", 0, "a", None)).unwrap();
    log.append(record("t", 0, "a", None)).unwrap();
    assert_eq!(log.delete_records(&t0(), 1), Ok(1));
    let refused = Err(LogError::OutOfRange { start: 1, end: 2 });
    assert_eq!(log.fetch(&t0(), 0, Isolation::ReadCommitted, 9), refused);
    assert_eq!(log.fetch(&t0(), 3, Isolation::ReadCommitted, 9), refused);
    assert_eq!(log.delete_records(&t0(), 3), Err(LogError::OutOfRange { start: 1, end: 2 }));
    assert!(log.fetch(&t0(), 2, Isolation::ReadCommitted, 9).unwrap().records.is_empty());
    assert_eq!(log.fetch(&TopicPartition::new("t", 2), 0, Isolation::ReadCommitted, 9), Err(LogError::UnknownTopic));
}

#[test]
fn init_fences_the_former_producer_and_aborts_its_transaction() {
    let mut log = log();
    let old = log.init_transactions("x", 1000, 0).unwrap();
    log.produce(old, record("t", 0, "a", None), 0).unwrap();
    log.send_offsets(old, GROUP, &anyone(), vec![(t0(), offset(7))], 0).unwrap();
    assert_eq!(log.stable(GROUP, &[t0()]), Err(LogError::Unstable));
    let new = log.init_transactions("x", 1000, 0).unwrap();
    assert_eq!(log.produce(old, record("t", 0, "a", None), 0), Err(LogError::Fenced));
    assert_eq!(log.end_transaction(old, true, 0), Err(LogError::Fenced));
    assert_eq!(read(&log, &t0(), Isolation::ReadCommitted), (vec![], 2));
    assert_eq!(log.stable(GROUP, &[t0()]), Ok(vec![None]));
    log.produce(new, record("t", 0, "a", None), 0).unwrap();
    log.end_transaction(new, true, 0).unwrap();
    assert_eq!(read(&log, &t0(), Isolation::ReadCommitted), (vec![2], 4));
}

#[test]
fn a_transaction_over_its_timeout_is_aborted_and_its_producer_fenced() {
    let mut log = log();
    let p = log.init_transactions("x", 1000, 0).unwrap();
    log.produce(p, record("t", 0, "a", None), 5).unwrap();
    log.tick(1004);
    assert_eq!(log.stable_end(&t0()), Ok(0));
    log.tick(1005);
    assert_eq!(log.stable_end(&t0()), Ok(2));
    assert_eq!(log.end_transaction(p, true, 1006), Err(LogError::Fenced));
}

#[test]
fn deferred_markers_come_one_by_one() {
    let mut log = log();
    log.defer_markers(true);
    let p = log.init_transactions("x", 1000, 0).unwrap();
    log.produce(p, record("t", 0, "a", None), 0).unwrap();
    log.send_offsets(p, GROUP, &anyone(), vec![(t0(), offset(7))], 0).unwrap();
    log.end_transaction(p, true, 0).unwrap();
    assert_eq!(log.produce(p, record("t", 0, "a", None), 0), Err(LogError::Concurrent));
    assert_eq!(log.init_transactions("x", 1000, 0), Err(LogError::Concurrent));
    assert_eq!((log.pending_markers(), log.stable_end(&t0())), (2, Ok(0)));
    log.write_marker(1, 0);
    assert_eq!(log.stable(GROUP, &[t0()]), Ok(vec![Some(offset(7))]));
    assert_eq!(log.stable_end(&t0()), Ok(0));
    log.write_marker(0, 0);
    assert_eq!((log.pending_markers(), log.stable_end(&t0())), (0, Ok(2)));
}

#[test]
fn compaction_keeps_the_newest_committed_value_per_key() {
    let mut log = log();
    let p = log.init_transactions("x", 1000, 0).unwrap();
    for (key, value, commit) in [("a", Some("1"), true), ("a", Some("2"), true), ("a", Some("3"), false)] {
        log.produce(p, record("c", 0, key, value), 0).unwrap();
        log.end_transaction(p, commit, 0).unwrap();
    }
    log.produce(p, record("c", 0, "a", Some("4")), 0).unwrap();
    log.clean("c", 0).unwrap();
    assert_eq!(read(&log, &c0(), Isolation::ReadCommitted), (vec![2], 6));
    assert_eq!(read(&log, &c0(), Isolation::ReadUncommitted), (vec![2, 6], 7));
    assert_eq!(log.start(&c0()), Ok(0));
}

#[test]
fn tombstones_go_after_delete_retention() {
    let mut log = log();
    log.append(record("c", 0, "a", Some("1"))).unwrap();
    log.append(record("c", 0, "a", None)).unwrap();
    for (now, left) in [(50, vec![1]), (149, vec![1]), (150, vec![])] {
        log.clean("c", now).unwrap();
        assert_eq!(read(&log, &c0(), Isolation::ReadCommitted), (left, 2));
    }
}

#[test]
fn compaction_leaves_alone_what_is_younger_than_its_lag() {
    let mut log = log();
    let lag = TopicConfig { min_compaction_lag_ms: 10, ..log.topic_config("c").unwrap() };
    log.configure_topic("c", lag).unwrap();
    for timestamp in [5, 6, 20, 7] {
        log.append(OutRecord { timestamp, ..record("c", 0, "a", Some("1")) }).unwrap();
    }
    for (now, left) in [(12, vec![0, 1, 2, 3]), (20, vec![1, 2, 3]), (30, vec![3])] {
        log.clean("c", now).unwrap();
        assert_eq!(read(&log, &c0(), Isolation::ReadCommitted).0, left, "at {now}");
    }
}

#[test]
fn retention_moves_the_start_up_to_the_first_young_record() {
    let mut log = log();
    log.configure_topic("t", TopicConfig { retention_ms: Some(10), ..TopicConfig::default() }).unwrap();
    for timestamp in [5, 30, 6] {
        log.append(OutRecord { timestamp, ..record("t", 0, "a", None) }).unwrap();
    }
    log.clean("t", 20).unwrap();
    assert_eq!((log.start(&t0()), log.end(&t0())), (Ok(1), Ok(3)));
}

fn join(log: &mut Log, member: Option<&str>, client_id: &str, now: Timestamp) -> Result<Arc<str>, LogError> {
    let topics = ["t".into()];
    let (session_timeout_ms, rebalance_timeout_ms) = (100, 300);
    let (group, instance) = (GROUP, client_id.strip_prefix("static-"));
    let join = Join { group, member, client_id, instance, topics: &topics, session_timeout_ms, rebalance_timeout_ms };
    log.join(&join, now)
}

#[test]
fn a_rebalance_waits_until_every_member_has_joined_again() {
    let mut log = log();
    let a = join(&mut log, None, "a", 0).unwrap();
    assert_eq!(log.assignment(GROUP, &a).unwrap().partitions.len(), 2);
    let b = join(&mut log, None, "b", 1).unwrap();
    assert_eq!((log.assignment(GROUP, &a), log.assignment(GROUP, &b)), (None, None));
    assert_eq!(log.heartbeat(GROUP, &a, 1, 2), Ok(Heartbeat::Rebalance));
    let first = Identity { generation: 1, member: a.to_string() };
    log.commit_offsets(GROUP, &first, vec![(t0(), offset(1))]).expect("the old generation holds until the new one");
    join(&mut log, Some(&a), "a", 3).unwrap();
    assert_eq!(log.assignment(GROUP, &a).unwrap().partitions, [t0()]);
    assert_eq!(
        log.assignment(GROUP, &b),
        Some(Assignment { generation: 2, partitions: vec![TopicPartition::new("t", 1)] })
    );
    assert_eq!(log.commit_offsets(GROUP, &first, vec![]), Err(LogError::IllegalGeneration));
    assert_eq!(log.heartbeat(GROUP, &a, 1, 4), Err(LogError::IllegalGeneration));
}

#[test]
fn silent_members_are_thrown_out() {
    let mut log = log();
    let a = join(&mut log, None, "a", 0).unwrap();
    let b = join(&mut log, None, "b", 0).unwrap();
    join(&mut log, Some(&a), "a", 0).unwrap();
    log.heartbeat(GROUP, &b, 2, 90).unwrap();
    log.tick(100);
    assert_eq!(log.heartbeat(GROUP, &a, 2, 100), Err(LogError::UnknownMember));
    assert_eq!(log.heartbeat(GROUP, &b, 2, 100), Ok(Heartbeat::Rebalance));
    let p = log.init_transactions("x", 1000, 0).unwrap();
    let zombie = Identity { generation: 2, member: a.to_string() };
    assert_eq!(log.send_offsets(p, GROUP, &zombie, vec![], 100), Err(LogError::UnknownMember));
    join(&mut log, Some(&b), "b", 101).unwrap();
    assert_eq!(log.assignment(GROUP, &b).unwrap().partitions.len(), 2);
    assert_eq!(join(&mut log, Some(&a), "a", 102), Err(LogError::UnknownMember));
}

#[test]
fn who_keeps_its_partitions_too_long_is_thrown_out() {
    let mut log = log();
    let a = join(&mut log, None, "a", 0).unwrap();
    let b = join(&mut log, None, "b", 0).unwrap();
    for now in [90, 180, 270] {
        assert_eq!(log.heartbeat(GROUP, &a, 1, now), Ok(Heartbeat::Rebalance));
        log.tick(now);
        assert_eq!(log.assignment(GROUP, &b), None);
    }
    log.tick(300);
    assert_eq!(log.assignment(GROUP, &b).unwrap().partitions.len(), 2);
    assert_eq!(log.heartbeat(GROUP, &a, 1, 300), Err(LogError::UnknownMember));
}

#[test]
fn leaving_hands_over_at_once() {
    let mut log = log();
    let a = join(&mut log, None, "a", 0).unwrap();
    let b = join(&mut log, None, "b", 0).unwrap();
    log.leave(GROUP, &a, 5);
    assert_eq!(log.assignment(GROUP, &b).unwrap().partitions.len(), 2);
    assert_eq!(log.members(GROUP), [b]);
}

#[test]
fn a_static_member_that_comes_back_finds_its_place_without_a_rebalance() {
    let mut log = log();
    let a = join(&mut log, None, "static-a", 0).unwrap();
    let b = join(&mut log, None, "static-b", 0).unwrap();
    join(&mut log, Some(&a), "static-a", 0).unwrap();
    let before = log.assignment(GROUP, &a).unwrap();
    let again = join(&mut log, None, "static-a", 50).unwrap();
    assert_eq!(log.assignment(GROUP, &again), Some(before.clone()));
    assert_eq!(log.heartbeat(GROUP, &b, before.generation, 50), Ok(Heartbeat::Stable));
    // The former holder of the id is fenced: it may not even commit.
    assert!(log.is_fenced(GROUP, &a));
    assert_eq!(log.heartbeat(GROUP, &a, before.generation, 50), Err(LogError::FencedInstance));
    let identity = Identity { generation: before.generation, member: a.to_string() };
    assert_eq!(log.commit_offsets(GROUP, &identity, vec![(t0(), offset(1))]), Err(LogError::FencedInstance));
    assert_eq!(join(&mut log, Some(&a), "static-a", 50), Err(LogError::FencedInstance));
    let p = log.init_transactions("x", 1000, 50).unwrap();
    assert_eq!(log.send_offsets(p, GROUP, &identity, vec![(t0(), offset(1))], 50), Err(LogError::FencedInstance));
}

#[test]
fn a_static_member_keeps_its_place_until_its_session_ends() {
    let mut log = log();
    let a = join(&mut log, None, "static-a", 0).unwrap();
    join(&mut log, None, "static-b", 0).unwrap();
    for now in [90, 180, 270] {
        assert_eq!(log.heartbeat(GROUP, &a, 1, now), Ok(Heartbeat::Rebalance));
        log.tick(now);
    }
    log.tick(300);
    assert_eq!(log.generation(GROUP), 2, "the rebalance goes on without it");
    assert_eq!(log.members(GROUP).len(), 2, "and counts it");
    assert_eq!(log.heartbeat(GROUP, &a, 1, 310), Err(LogError::IllegalGeneration));
    log.tick(370);
    assert!(!log.is_member(GROUP, &a));
}

#[test]
fn an_offset_commit_without_a_member_needs_an_empty_group() {
    let mut log = log();
    log.commit_offsets(GROUP, &anyone(), vec![(t0(), offset(1))]).unwrap();
    join(&mut log, None, "a", 0).unwrap();
    assert_eq!(log.commit_offsets(GROUP, &anyone(), vec![(t0(), offset(2))]), Err(LogError::UnknownMember));
}
