//! How much a restart reads of the changelog: what its disk misses, or everything.

use super::{LIMIT, PARTITIONS, Scene, replica::Replica};
use std::{
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_restart_reads_what_its_disk_misses_and_an_empty_disk_reads_all() {
    let mut scene = Scene::new("disk");
    // Rows reach the disk at a clean stop only. A static member is replaced at once.
    scene.launch = scene.launch.set("state.persist.interval.ms", "3600000").set("group.instance.id", "one");
    let end = |scene: &Scene| -> i64 { scene.broker.ranges(&scene.changelog()).iter().map(|(_, end)| end).sum() };
    scene.write(0, 40_000);
    scene.check(40_000);
    let clean = end(&scene);
    let served = scene.launch.clone().set("http.listen", "127.0.0.1:0");
    let mut replica = served.start(9);
    scene.write(40_000, 42_000);
    scene.wait_for_count(42_000, std::slice::from_mut(&mut replica));
    replica.kill();
    let tail = (end(&scene) - clean) as f64;

    let mut replica = served.start(9);
    let restored = restored(&mut replica);
    assert!(restored > 0.0 && restored <= tail, "{restored} records restored of a tail of {tail} offsets");
    replica.kill();
    std::fs::remove_dir_all(scene.launch.home(9).join("state")).expect("the state was there");

    let mut replica = served.start(9);
    let restored = self::restored(&mut replica);
    let rows = scene.broker.fold(&scene.changelog()).len() as f64;
    assert!(restored >= rows && rows > 2.0 * tail, "{restored} records restored of {rows} rows");
    scene.write(42_000, 50_000);
    scene.wait_for_count(50_000, std::slice::from_mut(&mut replica));
    replica.signal("TERM");
    assert!(replica.wait(Duration::from_secs(60)).success(), "its log:\n{}", replica.log());
    scene.check(50_000);
}

/// Waits until every task runs, and tells how many records they have read of their changelogs.
fn restored(replica: &mut Replica) -> f64 {
    let deadline = Instant::now() + LIMIT;
    while replica.metric(r#"millstream_tasks{state="running"}"#) != Some(f64::from(PARTITIONS)) {
        assert!(replica.alive() && Instant::now() < deadline, "tasks don't run:\n{}", replica.log());
        thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(replica.metric(r#"millstream_restore_remaining_records{task="0_0"}"#), Some(0.0));
    replica.metric(r#"millstream_restored_records_total{thread="0"}"#).expect("a thread has this metric")
}
