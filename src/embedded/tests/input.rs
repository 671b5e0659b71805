//! Records that are left out.

use super::*;
use crate::{
    operator::{OnError, TimeWindows},
    topology::Consumed,
};
use std::time::Duration;

fn counts(consumed: Consumed<String, i64>) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder
        .stream_with("in", consumed.on_decode_error(OnError::Continue))
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(Duration::from_millis(100), Duration::ZERO))
        .count()
        .to_stream()
        .to("out");
    builder
}

#[test]
fn a_record_whose_bytes_are_no_value_is_as_if_it_had_never_been_r34() {
    let by_value = Consumed::default().timestamp_extractor(|_, value: Option<&i64>, _, _| value.copied().unwrap_or(-1));
    for consumed in [Consumed::default(), by_value] {
        let mut world = World::new(counts(consumed), &[("in", 1), ("out", 1)], 1);
        world.start(0);
        world.write("in", 0, "k", 150, 150);
        world.append("in", 0, "k", b"no number", 9_000);
        world.write("in", 0, "k", 160, 160);
        world.settle();
        let counts: Vec<_> = world.read("out", 0).into_iter().filter_map(|r| r.value).collect();
        assert_eq!(counts.last().map(|v| v[7]), Some(2), "the second record is not late");
        let snapshot = world.members[0].as_mut().unwrap().worker_mut().snapshot();
        assert_eq!(snapshot.tasks[0].stream_time, 160);
        assert_eq!(snapshot.tasks[0].counters.dropped.iter().sum::<u64>(), 1);
        world.append("in", 0, "k", b"at the end", 9_000);
        world.settle();
        assert_eq!(world.fault(0), None);
        world.stop(0);
    }
}
