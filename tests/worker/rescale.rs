//! One replica, three, one again, while records flow: joined, stopped and killed.

use super::{LIMIT, Scene, replica::Replica};
use std::time::{Duration, Instant};

#[test]
fn from_one_replica_to_three_and_back_no_window_changes() {
    let scene = Scene::new("rescale");
    scene.write(0, 20_000);
    let mut replicas = vec![scene.launch.start(0)];
    scene.wait_for_count(1_000, &mut replicas);
    // The one that will be stopped has a session far longer than this test: without its goodbye nobody would get its
    // partitions.
    replicas.push(scene.launch.clone().set("session.timeout.ms", "240000").start(1));
    replicas.push(scene.launch.start(2));
    scene.write(20_000, 40_000);
    wait_for_members(&scene, &mut replicas, 3);
    scene.write(40_000, 60_000);
    scene.wait_for_count(60_000, &mut replicas);

    let mut stopped = replicas.remove(1);
    scene.write(60_000, 80_000);
    stopped.signal("TERM");
    scene.write(80_000, 90_000);
    let status = stopped.wait(Duration::from_secs(60));
    assert!(status.success(), "{status}; its log:\n{}", stopped.log());
    scene.wait_for_count(90_000, &mut replicas);

    scene.write(90_000, 110_000);
    replicas.remove(1).kill();
    scene.write(110_000, 120_000);
    scene.wait_for_count(120_000, &mut replicas);
    wait_for_members(&scene, &mut replicas, 1);
    replicas[0].signal("TERM");
    let status = replicas[0].wait(Duration::from_secs(60));
    assert!(status.success(), "{status}; its log:\n{}", replicas[0].log());
    scene.check(120_000);
}

fn wait_for_members(scene: &Scene, replicas: &mut [Replica], count: usize) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let members = scene.broker.members(scene.name);
        if members.len() == count {
            return;
        }
        for replica in replicas.iter_mut() {
            assert!(replica.alive(), "a replica ended:\n{}", replica.log());
        }
        assert!(Instant::now() < deadline, "{count} members expected, not {members:?}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
