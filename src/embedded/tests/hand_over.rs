//! What the next owner of a task knows.

use super::*;
use crate::{embedded::CommitTrouble, operator::TimeWindows, topology::Materialized, worker::Guarantee};
use std::time::Duration;

/// Sums per key and window; a negative value deletes the window's row. The cache is on: a row made and deleted between
/// two commits is in no changelog (P-64).
fn sums() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, i64>("in")
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(Duration::from_millis(100), Duration::ZERO))
        .aggregate_with(
            || 0,
            |_, value, sum| value.filter(|v| **v >= 0).map(|v| sum + v),
            Materialized::as_store("sums").with_retention(Duration::from_millis(200)),
        )
        .to_stream()
        .to("out");
    builder
}

#[test]
fn a_store_s_stream_time_outlives_a_hand_over_although_its_highest_row_was_made_and_deleted_p64() {
    for same_disk in [true, false] {
        let mut world = World::new(sums(), &[("in", 1), ("out", 1)], 2);
        world.settings.persist_interval_ms = 0;
        world.start(0);
        world.write("in", 0, "k", 5, 100);
        world.settle();
        world.write("in", 0, "k", 7, 900);
        world.write("in", 0, "k", -1, 900);
        world.settle();
        let expired = world.rows(0, "0_0", "sums");
        assert!(expired.is_empty(), "the window of 100 has expired by the row of 900, which is gone: {expired:?}");
        assert_eq!(world.read("app-sums-changelog", 0).len(), 1, "and left no trace");
        world.crash(0);
        let place = usize::from(!same_disk);
        world.start(place);
        world.until("the task runs", |w| w.running(place) == 1);
        let rows = world.rows(place, "0_0", "sums");
        assert!(rows.is_empty(), "as without the hand-over (same disk: {same_disk}): {rows:?}");
    }
}

fn counts() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, i64>("in")
        .group_by_key()
        .count_with(Materialized::as_store("counts").with_caching_disabled())
        .to_stream()
        .to("out");
    builder
}

#[test]
fn at_least_once_an_offset_commit_without_an_answer_is_repeated_and_not_rolled_back() {
    for trouble in [CommitTrouble::UnknownDone, CommitTrouble::UnknownNot, CommitTrouble::UnknownLate] {
        let mut world = World::new(counts(), &[("in", 1), ("out", 1)], 1);
        world.settings.guarantee = Guarantee::AtLeastOnce;
        world.start(0);
        world.write("in", 0, "k", 1, 100);
        world.settle();
        world.members[0].as_mut().unwrap().client.trouble.commit = Some(trouble);
        world.write("in", 0, "k", 1, 200);
        world.settle();
        world.write("in", 0, "k", 1, 300);
        world.settle();
        let counts: Vec<_> = world.read("out", 0).into_iter().map(|r| r.value.unwrap()[7]).collect();
        // Rolled back, the record of 200 would come again, and its older row might be what a crash leaves behind.
        assert_eq!(counts, [1, 2, 3], "{trouble:?}");
    }
}

#[test]
fn an_idle_day_and_a_crash_cost_no_full_restore_i2() {
    let mut world = World::new(counts(), &[("in", 1), ("out", 1)], 1);
    world.settings.persist_interval_ms = 0;
    world.settings.delete_retention_ms = 40_000;
    world.start(0);
    for key in 0..20 {
        world.write("in", 0, &format!("k{key}"), 1, 100);
    }
    world.settle();
    // What an abort leaves in the changelog is not counted: the position on disk stays below the end.
    world.members[0].as_mut().unwrap().client.trouble.commit = Some(CommitTrouble::Refused);
    world.write("in", 0, "k0", 1, 100);
    world.settle();
    let day = world.now + 100_000;
    world.until("a day has passed", |w| w.now >= day);
    world.crash(0);
    let task = TaskId { sub_topology: 0, partition: 0 };
    let saved = world.disks[0].backend(task, "counts").unwrap().saved().unwrap().unwrap();
    assert!(saved.covered_at > day - 10_000, "{} is long before {day}", saved.covered_at);
    assert!(saved.position < world.log.end(&TopicPartition::new("app-counts-changelog", 0)).unwrap());
    world.start(0);
    world.until("the task runs", |w| w.running(0) == 1);
    let restored = world.members[0].as_mut().unwrap().worker_mut().snapshot().restored;
    assert!(restored < 5, "{restored} records were read again");
    assert_eq!(world.rows(0, "0_0", "counts").len(), 20);
}
