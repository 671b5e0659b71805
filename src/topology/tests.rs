//! Whole topologies: names, texts, counts, graphs.

use super::*;
use crate::operator::{EmitStrategy, SlidingWindows, TimeWindows};
use std::time::Duration;

fn counts(topics: &[(&str, i32)]) -> BTreeMap<Arc<str>, i32> {
    topics.iter().map(|(t, n)| (Arc::from(*t), *n)).collect()
}

fn windowed_count() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in")
        .map_values(|v| v.map(|v| v.to_uppercase()))
        .filter(|_, v| v.is_some())
        .group_by(|_, v| v.cloned())
        .windowed_by(TimeWindows::of_size_and_grace(Duration::from_millis(10), Duration::from_millis(5)))
        .count_with(Materialized::as_store("counts"))
        .to_stream()
        .to("out");
    builder.build().unwrap()
}

#[test]
fn a_windowed_count_resolves_and_builds() {
    let topology = windowed_count();
    let resolved = topology.resolve("app", &counts(&[("in", 3), ("out", 7)])).unwrap();
    assert_eq!(resolved.sub_topologies.len(), 2);
    let names: Vec<_> = resolved.internal.iter().map(|t| (&*t.name, t.partitions, t.repartition)).collect();
    assert_eq!(names, [("app-counts-repartition", 3, true), ("app-counts-changelog", 3, false)]);
    assert_eq!(resolved.internal[1].config["retention.ms"], "86400015");
    assert_eq!(resolved.partitions["out"], 7);
    let graph = topology.graph(1, &resolved).unwrap();
    assert_eq!(&*graph.sources[0].topic, "app-counts-repartition");
    assert_eq!(graph.stores.len(), 1);
    assert_eq!(graph.times, [Arc::from("millstream.time.counts")]);
    assert_eq!(graph.flush.len(), 1);
    assert_eq!(&*graph.names[graph.flush[0].node], "KSTREAM-AGGREGATE-0000000004");
    assert_eq!(topology.graph(0, &resolved).unwrap().nodes.len(), 6);
}

/// D-144: a cache would hide rows of sessions and sliding windows; for the others it only spares the log writes.
#[test]
fn emit_on_close_has_a_cache_for_fixed_windows_alone() {
    let ms = Duration::from_millis(10);
    for fixed in [true, false] {
        let builder = StreamsBuilder::new();
        let grouped = builder.stream::<String, String>("in").group_by_key();
        if fixed {
            let windows = grouped.windowed_by(TimeWindows::of_size_with_no_grace(ms));
            windows.emit_strategy(EmitStrategy::OnWindowClose).count();
        } else {
            let windows = grouped.windowed_by(SlidingWindows::of_time_difference_with_no_grace(ms));
            windows.emit_strategy(EmitStrategy::OnWindowClose).count();
        }
        let topology = builder.build().unwrap();
        let resolved = topology.resolve("app", &counts(&[("in", 1)])).unwrap();
        let graph = topology.graph(0, &resolved).unwrap();
        assert_eq!((graph.flush.is_empty(), graph.stores[0].cached), (!fixed, fixed));
        assert_eq!(graph.times.len(), 2);
    }
}

#[test]
fn mistakes_are_named() {
    let builder = StreamsBuilder::new();
    let stream = builder.stream::<String, String>("in");
    stream.named("X").filter(|_, _| true).named("X").filter(|_, _| true);
    let fault = builder.build().err().unwrap();
    assert_eq!(fault.what(), "node `X` is already added");

    let builder = StreamsBuilder::new();
    builder.stream::<String, std::ops::Range<u8>>("in").to("out");
    let fault = builder.build().err().unwrap();
    assert!(fault.to_string().contains("there is no value serde for `core::ops::range::Range<u8>`"), "{fault}");
    assert!(fault.to_string().contains("KSTREAM-SOURCE-0000000000"), "{fault}");

    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").to("out");
    let fault = builder.build().unwrap().resolve("app", &counts(&[])).err().unwrap();
    assert!(fault.to_string().contains("topic `in` does not exist"), "{fault}");
}

/// D-96.
#[test]
fn joined_topics_must_have_equal_counts() {
    let builder = StreamsBuilder::new();
    let table = builder.table::<String, String>("table");
    builder.stream::<String, String>("stream").join(&table, |l, r| Some(format!("{l}{r}"))).to("out");
    let topology = builder.build().unwrap();
    let fault = topology.resolve("app", &counts(&[("table", 2), ("stream", 3)])).err().unwrap();
    assert!(fault.to_string().contains("`stream` has 3, `table` has 2"), "{fault}");
    let resolved = topology.resolve("app", &counts(&[("table", 3), ("stream", 3)])).unwrap();
    assert_eq!(resolved.sub_topologies[0].stores.len(), 1);
}

/// D-162.
#[test]
fn a_repartition_before_a_join_follows_the_table() {
    let builder = StreamsBuilder::new();
    let table = builder.table::<String, String>("table");
    let stream = builder.stream::<String, String>("stream").select_key(|_, v| v.cloned());
    stream.left_join(&table, |l, _| Some(l.clone())).to("out");
    let topology = builder.build().unwrap();
    let resolved = topology.resolve("app", &counts(&[("table", 5), ("stream", 2)])).unwrap();
    assert_eq!(resolved.internal[0].partitions, 5);
}

#[test]
fn a_topology_is_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Topology>();
}

/// P-2.
#[test]
fn processors_connect_to_stores_of_tables() {
    struct Look;
    impl Processor<String, String, String, i64> for Look {
        fn process(
            &mut self,
            cx: &mut ProcessorContext<'_, String, i64>,
            record: crate::record::Record<'_, String, String>,
        ) -> Result<()> {
            let Some(key) = record.key else { return Ok(()) };
            let count = cx.store::<String, i64>("counts")?.get(key)?;
            cx.forward(record.with_value(count.as_ref()))
        }
    }
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("a").group_by_key().count_with(Materialized::as_store("counts"));
    builder.stream::<String, String>("b").process(|| Look, &["counts"]).to("out");
    let topology = builder.build().unwrap();
    let resolved = topology.resolve("app", &counts(&[("a", 2), ("b", 2)])).unwrap();
    assert_eq!(resolved.sub_topologies.len(), 1);
    assert!(topology.graph(0, &resolved).is_ok());

    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("b").process(|| Look, &["counts"]).to("out");
    let fault = builder.build().err().unwrap();
    assert!(fault.to_string().contains("store `counts` is not added"), "{fault}");
}

/// The first mistake of a topology.
fn mistake(build: impl Fn(&StreamsBuilder)) -> String {
    let builder = StreamsBuilder::new();
    build(&builder);
    builder.build().err().expect("a mistake").to_string()
}

/// D-6.
#[test]
fn topics_are_read_in_one_way_only() {
    let text = mistake(|b| {
        b.stream::<String, String>("in");
        b.stream::<String, i64>("in");
    });
    assert!(text.contains("read the same topics with different types"), "{text}");
    let text = mistake(|b| {
        b.stream::<String, String>("in");
        b.stream::<String, String>(["in", "other"]);
    });
    assert!(text.contains("read overlapping but not equal topics"), "{text}");
    let text = mistake(|b| {
        b.stream::<String, String>("in");
        b.stream_with::<String, String>("in", Consumed::default().offset_reset(OffsetReset::Earliest));
    });
    assert!(text.contains("different offset resets"), "{text}");
    let text = mistake(|b| {
        b.stream::<String, String>("in");
        b.table::<String, String>("in");
    });
    assert!(text.contains("topic `in` is read by another source too"), "{text}");
}

#[test]
fn d1_a_pattern_takes_in_the_topics_that_are_there() {
    let builder = StreamsBuilder::new();
    builder
        .stream_pattern_with::<String, String>("in-.*", Consumed::default().offset_reset(OffsetReset::Latest))
        .to("a");
    builder
        .stream_pattern_with::<String, String>("in-.*", Consumed::default().offset_reset(OffsetReset::Latest))
        .select_key(|_, value| value.cloned())
        .join(&builder.table::<String, String>("rows"), |left, right| Some(format!("{left}{right}")))
        .to("b");
    let topology = builder.build().unwrap();
    let there = counts(&[("in-1", 2), ("in-2", 2), ("rows", 3), ("__in-3", 1), ("in", 1), ("in-app-x-changelog", 2)]);
    assert_eq!(topology.pattern_sources("in-app", there.keys()), ["in-1", "in-2"].map(Arc::<str>::from));
    let resolved = topology.resolve("in-app", &there).unwrap();
    let read: Vec<_> = resolved.sub_topologies.iter().map(|sub| sub.sources.join(" ")).collect();
    assert_eq!(read, ["in-1 in-2", "rows in-app-KSTREAM-KEY-SELECT-0000000003-repartition"]);
    assert_eq!(resolved.sub_topologies.iter().map(|sub| sub.partitions).collect::<Vec<_>>(), [2, 3]);
    let graph = topology.graph(0, &resolved).unwrap();
    assert_eq!(graph.sources.iter().map(|source| &*source.topic).collect::<Vec<_>>(), ["in-1", "in-2"]);
    assert_eq!(topology.offset_resets(&resolved).keys().map(|t| &**t).collect::<Vec<_>>(), ["in-1", "in-2"]);
    let fault = topology.resolve("in-app", &counts(&[("rows", 3)])).unwrap_err();
    assert!(fault.to_string().starts_with("no topic matches the pattern `in-.*`"), "{fault}");
}

#[test]
fn d1_no_topic_is_read_by_two_sources() {
    let text = mistake(|b| {
        b.stream_pattern::<String, String>("in-(");
    });
    assert!(text.contains("`in-(` is no pattern of topics"), "{text}");
    let text = mistake(|b| {
        b.stream_pattern::<String, String>("in.*");
        b.stream::<String, String>("in-1");
    });
    assert!(text.contains("topic `in-1` is read by another source too"), "{text}");
    let text = mistake(|b| {
        b.global_table::<String, String>("in-1");
        b.stream_pattern::<String, String>("in.*");
    });
    assert!(text.contains("pattern `in.*` matches topic `in-1`"), "{text}");
    let builder = StreamsBuilder::new();
    builder.stream_pattern::<String, String>("in-.*").to("out");
    builder.stream_pattern::<String, String>(".*-1").to("out");
    let fault = builder.build().unwrap().resolve("app", &counts(&[("in-1", 1), ("in-2", 1), ("x-1", 1)])).unwrap_err();
    assert!(fault.to_string().contains("topic `in-1` matches the patterns of two sources"), "{fault}");
}

#[test]
fn a_stream_that_is_read_twice_has_one_source() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").to("a");
    builder.stream::<String, String>("in").to("b");
    let topology = builder.build().unwrap();
    let resolved = topology.resolve("app", &counts(&[("in", 1)])).unwrap();
    assert_eq!(resolved.sub_topologies.len(), 1);
    assert_eq!(topology.graph(0, &resolved).unwrap().nodes.len(), 3);
}

#[test]
fn names_are_checked() {
    assert!(mistake(|b| b.stream::<String, String>("in").to("a b")).contains("has a character other than"));
    assert!(mistake(|b| b.stream::<String, String>("in").to("")).contains("name `` is empty"));
    let twice = || StoreBuilder::key_value("s", crate::codec::serdes::string(), crate::codec::serdes::i64());
    let text = mistake(|b| {
        b.add_state_store(twice());
        b.add_state_store(twice());
    });
    assert!(text.contains("store `s` is added twice"), "{text}");
    let text = mistake(|b| {
        b.stream::<String, String>("a").group_by_key().count_with(Materialized::as_store("s"));
        b.stream::<String, String>("b").group_by_key().count_with(Materialized::as_store("s"));
    });
    assert!(text.contains("store `s` is already added"), "{text}");
}

#[test]
fn windows_are_checked() {
    let text = mistake(|b| {
        let windows = TimeWindows::of_size_with_no_grace(Duration::ZERO);
        b.stream::<String, String>("in").group_by_key().windowed_by(windows).count();
    });
    assert!(text.contains("the window size is not positive"), "{text}");
}

/// D-161.
#[test]
fn repartition_topics_take_the_greatest_count_upstream() {
    let builder = StreamsBuilder::new();
    let stream = builder.stream::<String, String>(["a", "b"]).select_key(|_, v| v.cloned());
    stream.group_by_key().count().to_stream().map(|k, n| (n.copied(), k.cloned())).group_by_key().count();
    let topology = builder.build().unwrap();
    let resolved = topology.resolve("app", &counts(&[("a", 3), ("b", 3)])).unwrap();
    assert_eq!(resolved.sub_topologies.iter().map(|s| s.partitions).collect::<Vec<_>>(), [3, 3, 3]);
    let repartition = &resolved.internal[0];
    assert_eq!((&*repartition.config["retention.ms"], &*repartition.config["cleanup.policy"]), ("-1", "delete"));
    let changelog = resolved.internal.iter().find(|t| !t.repartition).unwrap();
    assert_eq!(changelog.config["cleanup.policy"], "compact");
    assert_eq!(resolved.subscription().len(), 4);
}

/// D-162.
#[test]
fn an_asked_for_count_must_fit_the_other_side_of_a_join() {
    let build = |partitions| {
        let builder = StreamsBuilder::new();
        let table = builder.table::<String, String>("table");
        let stream = builder.stream::<String, String>("in");
        let stream = stream.repartition_with(Repartitioned::number_of_partitions(partitions));
        stream.join(&table, |l, _| Some(l.clone())).to("out");
        builder.build().unwrap().resolve("app", &counts(&[("table", 4), ("in", 2)]))
    };
    assert_eq!(build(4).unwrap().sub_topologies[0].partitions, 4);
    assert!(build(3).err().unwrap().to_string().contains("`table` has 4"));
}
