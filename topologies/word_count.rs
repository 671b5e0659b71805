//! `word-count`: how often each word occurs.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    fault::Result,
    topology::{Materialized, StreamsBuilder, Topology},
};

pub const ENTRY: Entry = Entry {
    name: "word-count",
    about: "how often each word occurs",
    inputs: &[Topic::new("lines", Format::String, Format::String)],
    outputs: &[Topic::new("counts", Format::String, Format::Long)],
    settings: &[],
    build,
};

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(params.input(0))
        .flat_map_values(|line| line.map_or_else(Vec::new, |line| words(line)))
        .group_by(|_, word: Option<&String>| word.cloned())
        .count_with(Materialized::as_store("word-counts"))
        .to_stream()
        .to(params.output(0));
    builder.build()
}

/// Runs of letters and digits, in lower case.
fn words(line: &str) -> Vec<String> {
    line.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Driven, last, run};
    use serde_json::json;

    #[test]
    fn counts_words() {
        let counts = last(&run(&ENTRY, &["the quick brown fox\nThe lazy dog, the end\n"]));
        assert_eq!(counts.len(), 7);
        assert_eq!(counts["\"the\""], json!(3));
        assert_eq!(counts["\"fox\""], json!(1));
    }

    #[test]
    fn each_line_updates_its_words() {
        let mut driven = Driven::new(&ENTRY);
        assert_eq!(driven.pipe(0, json!(null), json!("to be")), [(json!("to"), json!(1)), (json!("be"), json!(1))]);
        assert_eq!(driven.pipe(0, json!(null), json!("To!")), [(json!("to"), json!(2))]);
    }
}
