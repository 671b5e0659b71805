//! Scenarios at random, the same ones for the same seed: `generator DIR SEED COUNT` writes DIR/scenarios/random/*.json
//! in the oracle's format. What is left out on purpose, because what Kafka Streams does there is not defined, is said
//! where it is left out.

mod joins;
mod lineage;
mod random;
mod scene;
mod sources;
mod steps;
mod streams;
mod tables;
mod windows;

use random::Random;
use scene::Scene;
use serde_json::Value as Json;
use std::{fs, path::PathBuf};

/// The scenario of a seed and a number.
fn scenario(seed: u64, number: u64) -> Json {
    let mut scene = Scene::new(Random::new(seed, number));
    sources::sources(&mut scene);
    for _ in 0..scene.random.between(1, 8) {
        scene.grow();
    }
    scene.sinks();
    let steps = steps::steps(&mut scene);
    scene.finish(&format!("random/{seed}-{number:05}"), steps)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<u64>().expect("a number");
    let [dir, seed, count] = &arguments[..] else { panic!("usage: generator DIR SEED COUNT") };
    let (dir, seed) = (PathBuf::from(dir).join("scenarios/random"), number(seed));
    fs::create_dir_all(&dir).expect("a directory for the scenarios");
    for at in 0..number(count) {
        let text = serde_json::to_string_pretty(&scenario(seed, at)).expect("JSON");
        fs::write(dir.join(format!("{seed}-{at:05}.json")), text).expect("a file");
    }
}

#[cfg(test)]
mod tests {
    use super::scenario;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_always_makes_the_same_scenario() {
        for at in 0..50 {
            assert_eq!(scenario(7, at), scenario(7, at));
            assert_ne!(scenario(7, at), scenario(8, at));
        }
    }

    #[test]
    fn every_operator_of_the_format_comes_up() {
        let mut found = BTreeSet::new();
        for at in 0..2_000 {
            for node in scenario(1, at)["topology"].as_array().expect("nodes") {
                for field in ["op", "type", "processor", "until"] {
                    found.extend(node[field].as_str().map(str::to_owned));
                }
                if node["emit"] == "close" {
                    found.insert("emit close".into());
                }
                if node["store"].get("versioned").is_some() {
                    found.insert("versioned".into());
                }
                for field in ["pattern", "key_type", "topics", "extractor", "topic_expr"] {
                    found.extend(node.get(field).map(|_| field.to_owned()));
                }
            }
        }
        let wanted = "stream table global_table filter filter_not map flat_map map_values flat_map_values select_key peek \
            split merge repartition to to_table group_by_key group_by window cogroup count reduce aggregate to_stream \
            suppress join left_join outer_join fk_join fk_left_join process process_values tumbling hopping sliding \
            session unlimited dedup punctuate_count ttl header_add shift_ts meta fan_out last_seen window_closes \
            time_limit versioned pattern key_type topics extractor topic_expr";
        for name in wanted.split_whitespace().chain(["emit close"]) {
            assert!(found.contains(name), "{name} never comes up");
        }
    }
}
