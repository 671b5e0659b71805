//! Sessions, sliding windows, results on close, suppress and cogroup.

use super::{Play, keyed, listed, ms, row};
use crate::{
    operator::{EmitStrategy, SessionWindows, SlidingWindows, TimeWindows},
    topology::{BufferConfig, Consumed, Materialized, StreamsBuilder, Suppressed},
};

pub(super) const SESSIONS: Play = Play {
    name: "sessions",
    inputs: &["in"],
    before: 0,
    build: sessions,
    optimizations: &[],
    record: keyed,
    restamped: &[],
    mixed: &[],
    linger_ms: 0,
};

fn sessions(builder: &StreamsBuilder) {
    let input = builder.stream::<String, String>("in").group_by_key();
    let windowed = input.windowed_by(SessionWindows::of_inactivity_gap_and_grace(ms(40), ms(60)));
    let merged = |_: &String, a: String, b: String| listed(a, Some(&b));
    let stored = Materialized::as_store("open");
    windowed.aggregate_with(String::new, |_, v, list| Some(listed(list, v)), merged, stored).to_stream().to("open-out");
    let on_close = windowed.emit_strategy(EmitStrategy::on_window_close());
    let stored = Materialized::as_store("closed");
    on_close
        .aggregate_with(String::new, |_, v, list| Some(listed(list, v)), merged, stored)
        .to_stream()
        .to("closed-out");
}

pub(super) const SLIDING: Play = Play {
    name: "sliding windows",
    inputs: &["in"],
    before: 0,
    build: sliding,
    optimizations: &[],
    record: keyed,
    restamped: &[],
    mixed: &[],
    linger_ms: 0,
};

fn sliding(builder: &StreamsBuilder) {
    let input = builder.stream::<String, String>("in").group_by_key();
    let sliding = input.windowed_by(SlidingWindows::of_time_difference_and_grace(ms(50), ms(60)));
    let stored = Materialized::as_store("sliding");
    sliding.aggregate_with(String::new, |_, v, list| Some(listed(list, v)), stored).to_stream().to("sliding-out");
    let stored = Materialized::as_store("sliding-closed");
    sliding
        .emit_strategy(EmitStrategy::on_window_close())
        .aggregate_with(String::new, |_, v, list| Some(listed(list, v)), stored)
        .to_stream()
        .to("sliding-closed-out");
    let hopping = TimeWindows::of_size_and_grace(ms(90), ms(40)).advance_by(ms(30));
    let stored = Materialized::as_store("hopping-closed");
    input
        .windowed_by(hopping)
        .emit_strategy(EmitStrategy::on_window_close())
        .aggregate_with(String::new, |_, v, list| Some(listed(list, v)), stored)
        .to_stream()
        .to("hopping-closed-out");
}

pub(super) const SUPPRESSED: Play = Play {
    name: "suppress",
    inputs: &["in", "levels"],
    before: 0,
    build: suppressed,
    optimizations: &[],
    record: row,
    restamped: &[],
    mixed: &[],
    linger_ms: 0,
};

fn suppressed(builder: &StreamsBuilder) {
    let windows = TimeWindows::of_size_and_grace(ms(80), ms(40));
    builder
        .stream::<String, String>("in")
        .group_by_key()
        .windowed_by(windows)
        .aggregate_with(String::new, |_, v, list| Some(listed(list, v)), Materialized::as_store("windows"))
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("final"))
        .to_stream()
        .to("final-out");
    // Without a cache: what a cache leaves out would not start a row's time in the buffer.
    let levels = Materialized::as_store("levels").with_caching_disabled();
    builder
        .table_with::<String, String>("levels", Consumed::default(), levels)
        .suppress(Suppressed::until_time_limit(ms(70), BufferConfig::max_records(6)).with_name("some"))
        .to_stream()
        .to("some-out");
}

pub(super) const COGROUPED: Play = Play {
    name: "cogroup",
    inputs: &["left", "right"],
    before: 0,
    build: cogrouped,
    optimizations: &[],
    record: keyed,
    restamped: &[],
    mixed: &[],
    linger_ms: 0,
};

fn cogrouped(builder: &StreamsBuilder) {
    let left = builder.stream::<String, String>("left").group_by_key();
    let right = builder.stream::<String, String>("right").group_by_key();
    let both = left
        .cogroup(|_, v, list: String| Some(listed(list, v)))
        .cogroup(&right, |_, v, list| Some(listed(list, v.map(|v| format!("r{v}")).as_ref())));
    both.aggregate_with(String::new, Materialized::as_store("ever")).to_stream().to("ever-out");
    both.windowed_by(TimeWindows::of_size_and_grace(ms(80), ms(40)))
        .aggregate_with(String::new, Materialized::as_store("windows"))
        .to_stream()
        .to("windows-out");
    both.windowed_by(SessionWindows::of_inactivity_gap_and_grace(ms(30), ms(60)))
        .aggregate_with(String::new, |_, a, b| listed(a, Some(&b)), Materialized::as_store("sessions"))
        .to_stream()
        .to("sessions-out");
}
