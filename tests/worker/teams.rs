//! A table whose source topic is its changelog, and the topics of a pattern (D-1), under kills: what is counted at the
//! end is what the records say.

use super::{
    BASE_MS, LIMIT,
    broker::Broker,
    replica::{Launch, Replica},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 4;
const ROUNDS: i64 = 3;
/// Records of a round in each topic.
const ROUND: i64 = 4_000;
/// Records that are written at once.
const PIECE: usize = 1_000;
const MEMBERS: i64 = 500;
const TEAMS: i64 = 7;

/// Partition, key, value, time; a member without a team has left.
type Fed = (i32, String, Option<String>, i64);

/// A number that depends on another in no simple way.
fn mixed(n: i64) -> i64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64).rotate_left(29).wrapping_mul(31).unsigned_abs() as i64 >> 8
}

/// A member joins, changes the team, or leaves.
fn members(round: i64) -> impl Iterator<Item = Fed> {
    (round * ROUND..(round + 1) * ROUND).map(|n| {
        let member = mixed(n) % MEMBERS;
        let team = (mixed(n + 1_000_003) % 9 < TEAMS).then(|| format!("team-{}", mixed(n + 7) % TEAMS));
        (member as i32 % PARTITIONS, format!("member-{member}"), team, BASE_MS + n)
    })
}

fn scores(round: i64) -> impl Iterator<Item = Fed> {
    (round * ROUND..(round + 1) * ROUND).map(|n| {
        let key = mixed(n) % 300;
        (key as i32 % PARTITIONS, format!("key-{key}"), Some(n.to_string()), BASE_MS + n)
    })
}

/// What is counted in the end.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    /// Teams that have members.
    teams: BTreeMap<String, i64>,
    sums: BTreeMap<String, i64>,
}

fn expected(rounds: i64, topics_of_scores: i64) -> Counted {
    let mut rows: BTreeMap<String, Option<String>> = BTreeMap::new();
    (0..rounds).flat_map(members).for_each(|(_, member, team, _)| drop(rows.insert(member, team)));
    let (mut teams, mut sums) = (BTreeMap::new(), BTreeMap::new());
    rows.into_values().flatten().for_each(|team| *teams.entry(team).or_insert(0) += 1);
    for (_, key, value, _) in (0..rounds).flat_map(scores) {
        *sums.entry(key).or_insert(0) += topics_of_scores * value.map_or(0, |v| v.parse::<i64>().expect("a number"));
    }
    Counted { teams, sums }
}

struct Scene {
    broker: Arc<Broker>,
    launch: Launch,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
        broker.create_topic_with("teams-members", PARTITIONS, &[("cleanup.policy", "compact")]);
        for topic in ["teams-scores-a", "teams-scores-b", "teams-out", "teams-sums"] {
            broker.create_topic(topic, PARTITIONS);
        }
        let launch = Launch::new("teams", "teams", &broker.address, directory.path())
            .of_tests()
            .set("input.topic", "teams-members,teams-scores-.*")
            .set("output.topic", "teams-out,teams-sums")
            .set("session.timeout.ms", "2000")
            .set("heartbeat.interval.ms", "500");
        Self { broker, launch, _directory: directory }
    }

    /// Records of the outputs, that may still be aborted.
    fn written(&self) -> i64 {
        let ends = |topic: &str| self.broker.ranges(topic).iter().map(|(_, end)| end).sum::<i64>();
        ends("teams-out").min(ends("teams-sums"))
    }

    /// Writes a round in pieces, so that it takes a while.
    fn write(&self, round: i64) {
        let (members, scores): (Vec<_>, Vec<_>) = (members(round).collect(), scores(round).collect());
        for (members, scores) in members.chunks(PIECE).zip(scores.chunks(PIECE)) {
            self.broker.write_values("teams-members", members.iter().cloned());
            for topic in ["teams-scores-a", "teams-scores-b"] {
                self.broker.write_values(topic, scores.iter().cloned());
            }
        }
    }

    fn wait_for_progress(&self, replicas: &mut [Replica], beyond: i64) {
        let deadline = Instant::now() + LIMIT;
        while self.written() <= beyond {
            for replica in replicas.iter_mut() {
                assert!(replica.alive() && Instant::now() < deadline, "no progress:\n{}", replica.log());
            }
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn counted(&self) -> Counted {
        Counted { teams: counts(self.broker.fold("teams-out")), sums: counts(self.broker.fold("teams-sums")) }
    }
}

fn counts(rows: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<String, i64> {
    let number = |bytes: Vec<u8>| i64::from_be_bytes(bytes.try_into().expect("a count"));
    let row = |(key, value)| (String::from_utf8(key).expect("text"), number(value));
    rows.into_iter().map(row).filter(|(_, count)| *count != 0).collect()
}

#[test]
fn a_reused_source_topic_and_a_pattern_survive_kills() {
    let scene = Scene::new();
    let mut replicas: Vec<Replica> = (0..2).map(|n| scene.launch.start(n)).collect();
    let mut amid_work = 0;
    for round in 0..ROUNDS {
        let before = scene.written();
        thread::scope(|scope| {
            let writer = scope.spawn(|| scene.write(round));
            scene.wait_for_progress(&mut replicas, before + 20);
            // While input comes in, and both of them at once in the end.
            amid_work += usize::from(!writer.is_finished());
            for victim in if round + 1 == ROUNDS { 0..2 } else { round as usize % 2..round as usize % 2 + 1 } {
                replicas[victim].kill();
                if round + 1 < ROUNDS {
                    replicas[victim] = scene.launch.start(victim);
                }
            }
        });
    }
    // A topic that matches and is there before all workers start again is read from its beginning.
    scene.broker.create_topic("teams-scores-c", PARTITIONS);
    (0..ROUNDS).for_each(|round| scene.broker.write_values("teams-scores-c", scores(round)));
    // On a disk of its own: all state comes from the changelogs, the source topic among them.
    scene.launch.clone().flag("--until-end").run(2, LIMIT);
    assert_eq!(scene.counted(), expected(ROUNDS, 3));
    assert!(amid_work > 0, "no kill came while there was work");
    assert!(scene.broker.ranges("teams-rows-changelog").is_empty(), "the table has no changelog of its own");
    assert!(!scene.broker.ranges("teams-counts-changelog").is_empty());
}
