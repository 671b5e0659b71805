//! Static members, and topics that change under a running group.

use super::*;

/// Passes records on, so that output tells what was processed.
fn passing() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder.stream::<String, i64>("in").to("out");
    builder
}

fn output(world: &World) -> usize {
    (0..2).map(|partition| world.read("out", partition).len()).sum()
}

fn two_static_members() -> World {
    let mut world = World::new(passing(), &[("in", 2), ("out", 2)], 2);
    for place in 0..2 {
        world.start_with(place, static_config(&world, place, place));
    }
    world.write("in", 0, "a", 1, 100);
    world.write("in", 1, "b", 1, 100);
    world.settle();
    world.until("each has a task", |w| w.running(0) == 1 && w.running(1) == 1);
    world
}

fn static_config(world: &World, place: usize, instance: usize) -> ClientConfig {
    ClientConfig { instance_id: Some(format!("i{instance}")), ..world.config(place) }
}

#[test]
fn a_static_member_that_restarts_within_its_session_disturbs_nobody() {
    let mut world = two_static_members();
    let before = world.log.generation("app");
    let rebalances = |w: &mut World| w.members[1].as_mut().unwrap().worker_mut().snapshot().rebalances;
    let undisturbed = rebalances(&mut world);
    for clean in [true, false] {
        if clean {
            world.stop(0);
        } else {
            world.crash(0);
        }
        world.write("in", 0, "a", 2, 200);
        world.start_with(0, static_config(&world, 0, 0));
        world.settle();
    }
    assert_eq!((world.log.generation("app"), rebalances(&mut world)), (before, undisturbed));
    assert_eq!(output(&world), 4);
}

#[test]
fn a_second_member_with_the_id_fences_the_first() {
    let mut world = two_static_members();
    let config = static_config(&world, 1, 0);
    world.crash(1);
    world.start_with(1, config);
    world.until("the first ends", |w| w.members[0].as_ref().unwrap().exited());
    let fault = world.fault(0).unwrap();
    assert_eq!(fault.what(), "another member has joined with the group.instance.id `i0`");
    world.write("in", 0, "a", 2, 200);
    world.settle();
    assert_eq!(output(&world), 3);
}

#[test]
fn a_changed_partition_count_ends_every_member_and_no_record_of_a_new_partition_is_processed() {
    let mut world = World::new(passing(), &[("in", 2), ("out", 2)], 2);
    for place in 0..2 {
        world.start(place);
    }
    world.write("in", 0, "a", 1, 100);
    world.settle();
    world.write("in", 1, "b", 1, 100);
    world.log.grow_topic("in", 3).unwrap();
    world.write("in", 2, "c", 1, 100);
    world.log.rebalance("app", world.now);
    world.until("both end", |w| w.members.iter().flatten().all(Member::exited));
    for place in 0..2 {
        let what = world.fault(place).unwrap().what();
        assert_eq!(what, "topic `in` had 2 partitions when this application started and has 3 now");
    }
    assert_eq!(world.log.committed("app", &TopicPartition::new("in", 2)), None);
    let keys = (0..2).flat_map(|p| world.read("out", p)).filter_map(|r| r.key).collect::<Vec<_>>();
    assert!(keys.iter().all(|k| *k != "c"), "{keys:?}");
    assert!(keys.iter().any(|k| *k == "a"));
}
