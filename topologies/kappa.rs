//! `kappa`: one pipeline; when its logic changes, the topic is read again from the start under a new application id.
//!
//! Shows the one-layer answer to views per page. To change it, start the changed program beside the running one, with
//! a group and an output of its own; when its lag is gone, readers turn to the new topic, and the old one is stopped:
//!
//! ```text
//! millstream run kappa                                                          # runs, readers read page-totals
//! millstream run kappa --set application.id=kappa-2 --set output.topic=page-totals-2 --create-topics
//! ```
//!
//! Use it where the topic holds the whole past (or compacts to it) and can be read in hours: a replay is the batch. The
//! same program gives the same totals whenever it starts, as time is that of the events. What also calls the outside
//! world must not be replayed.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    topology::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

pub const ENTRY: Entry = Entry {
    name: "kappa",
    about: "views per page from one pipeline, replayed under a new application id when it changes",
    inputs: &[Topic::new("page-views", Format::String, Format::Json)],
    outputs: &[Topic::new("page-totals", Format::String, Format::Long)],
    settings: &[],
    build,
};

/// A view of a page, the key; `ts` is its event time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct View {
    user: String,
    ts: i64,
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let view = serdes::json::<View>();
    let views = Consumed::with(serdes::string(), view.clone())
        .timestamp_extractor(|_, view, broker, _| view.map_or(broker, |v: &View| v.ts));
    builder
        .stream_with(params.input(0), views)
        .group_by_key_with(Grouped::with(serdes::string(), view))
        .count_with(Materialized::as_store("totals"))
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::string(), serdes::i64()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lambda, testing::Driven};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    const HOUR_MS: i64 = 3_600_000;

    /// Views of three pages over two days, out of order by up to eight minutes.
    fn views() -> Vec<(String, i64)> {
        let at = |n: i64| n * 388_000 + (n * 7_919 % 480_000);
        (0..400).map(|n| (["a", "b", "c"][(n % 7 % 3) as usize].to_owned(), at(n))).collect()
    }

    fn pipe(driven: &mut Driven, views: &[(String, i64)]) {
        for (page, ts) in views {
            driven.pipe_at(0, json!(page), json!({"user": "u", "ts": ts}), *ts);
        }
    }

    fn totals(driven: &mut Driven) -> BTreeMap<String, Value> {
        driven.read(0).into_iter().map(|(page, value)| (page.as_str().unwrap().to_owned(), value)).collect()
    }

    #[test]
    fn a_replay_under_a_new_id_gives_the_same_totals_and_goes_on() {
        let views = views();
        let (past, rest) = views.split_at(230);
        let mut first = Driven::new(&ENTRY);
        pipe(&mut first, past);
        let mut second = Driven::new(&ENTRY);
        pipe(&mut second, past);
        assert_eq!(totals(&mut second), totals(&mut first), "it may be swapped in");
        pipe(&mut first, rest);
        pipe(&mut second, rest);
        assert_eq!(totals(&mut second), totals(&mut first));
    }

    /// One pipeline answers what two layers do, wherever the batch ends; both agree with a plain count.
    #[test]
    fn kappa_and_lambda_give_the_same_answers() {
        let views = views();
        let mut count = BTreeMap::new();
        for (page, _) in &views {
            *count.entry(page.clone()).or_insert(0_i64) += 1;
        }
        let mut kappa = Driven::new(&ENTRY);
        pipe(&mut kappa, &views);
        let totals = totals(&mut kappa);
        for cut in [0, 1, 200, 400] {
            let (mut batch, mut speed) = (Driven::new(&lambda::BATCH), Driven::new(&lambda::ENTRY));
            pipe(&mut speed, &views);
            pipe(&mut batch, &views[..cut]);
            let mut from_batch = 0;
            for (page, row) in batch.read(0) {
                from_batch += 1;
                speed.pipe_at(1, page, row, 50 * HOUR_MS);
            }
            assert_eq!(from_batch > 0, cut >= 200, "{from_batch} rows at {cut}");
            for (page, total) in &totals {
                let answer = speed.pipe(2, json!(page), json!({"as_of": 50 * HOUR_MS}));
                assert_eq!((&answer[0].1["views"], total), (total, &json!(count[page])), "{page}, cut at {cut}");
            }
        }
    }
}
