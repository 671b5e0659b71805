//! One application run by Kafka Streams and by millstream in turn, on the same offsets and the same changelog.

use super::{LIMIT, Scene, input, number, replica::Replica};
use std::{
    collections::BTreeMap,
    process::Command,
    slice, thread,
    time::{Duration, Instant},
};

const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kafka/streams/app");
/// Half of them are written before the change of programs, half after it.
const EVENTS: i64 = 200_000;
const WAITS: &str = "members of another program are in the group";

/// Starts Kafka Streams with the application id and topics of a scene, and with a state directory of its own.
fn kafka_streams(scene: &Scene) -> Replica {
    let home = scene.launch.directory.join("kafka-streams");
    std::fs::create_dir_all(&home).expect("a directory");
    let mut command = Command::new(APP);
    command.args(["run", &scene.broker.address, scene.name, &scene.input(), &scene.output()]).arg(home.join("state"));
    Replica::spawn(command, home.join("log"))
}

fn counted(scene: &Scene) -> i64 {
    scene.broker.fold_visible(&scene.output()).values().map(|v| number(v)).sum()
}

/// Writes the first half at the pace of a live source, lets `end` stop the first program while it works, then writes
/// the second half.
fn change_programs(scene: &Scene, mut first: Replica, end: impl FnOnce(&mut Replica)) {
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let paced = input(0, EVENTS / 2).enumerate().map(|(n, record)| {
                if n % 1_000 == 0 {
                    // The load's rhythm, not a wait for a condition.
                    thread::park_timeout(Duration::from_millis(80));
                }
                record
            });
            scene.broker.write(&scene.input(), paced, None);
        });
        scene.wait_for_count(EVENTS / 10, slice::from_mut(&mut first));
        end(&mut first);
        writer.join().expect("all is written");
    });
    let before = counted(scene);
    assert!((EVENTS / 10..EVENTS).contains(&before), "the first program counted {before} of {EVENTS}");
    scene.write(EVENTS / 2, EVENTS);
}

/// Ends the second program once all is counted, and compares with one that ran through. No count of a window falls on
/// the way: the second program went on from the first one's state, it did not begin again.
fn finish(scene: &Scene, mut second: Replica) -> String {
    scene.wait_for_count(EVENTS, slice::from_mut(&mut second));
    second.signal("TERM");
    second.wait(LIMIT);
    scene.compare(EVENTS);
    let mut counts = BTreeMap::new();
    for (window, count) in scene.broker.read(&scene.output()) {
        let count = number(&count.expect("a count is never deleted"));
        let before = counts.insert(window, count).unwrap_or(0);
        assert!(count >= before, "a window's count falls from {before} to {count}");
    }
    second.log()
}

#[test]
fn millstream_goes_on_where_kafka_streams_was_killed() {
    let scene = Scene::new("streams-killed");
    change_programs(&scene, kafka_streams(&scene), |streams| {
        // While it lives, a worker gives up after its limit, and leaves the group in peace.
        let mut impatient = scene.launch.clone().set("group.join.timeout.ms", "1000").start(1);
        let status = impatient.wait(LIMIT);
        let log = impatient.log();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("members of another program are still in group `streams-killed`"), "{log}");
        assert!(streams.alive(), "{}", streams.log());
        streams.kill();
    });
    let left = scene.broker.members(scene.name);
    assert!(!left.is_empty(), "the session of the dead member has not ended");
    let log = finish(&scene, scene.launch.start(0));
    assert_eq!(log.matches(WAITS).count(), 1, "it says once that it waits:\n{log}");
    let line = log.lines().find(|l| l.contains(WAITS)).expect("counted above");
    assert!(left.iter().all(|member| line.contains(member)), "{left:?} are named:\n{line}");
}

#[test]
fn kafka_streams_goes_on_where_millstream_was_stopped() {
    let scene = Scene::new("stopped");
    change_programs(&scene, scene.launch.start(0), |worker| {
        worker.signal("TERM");
        let status = worker.wait(LIMIT);
        assert!(status.success(), "{status}; its log:\n{}", worker.log());
        // It leaves the group on its way out, so nothing has to wait for its session to end.
        assert_eq!(scene.broker.members(scene.name), [""; 0]);
    });
    finish(&scene, kafka_streams(&scene));
}

#[test]
fn kafka_streams_goes_on_where_millstream_was_killed() {
    let scene = Scene::new("killed");
    change_programs(&scene, scene.launch.start(0), Replica::kill);
    // The two programs speak different protocols: Kafka Streams is refused while the dead member's session lasts.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !scene.broker.members(scene.name).is_empty() {
        assert!(Instant::now() < deadline, "the session of the dead member does not end");
        thread::park_timeout(Duration::from_millis(100));
    }
    finish(&scene, kafka_streams(&scene));
}
