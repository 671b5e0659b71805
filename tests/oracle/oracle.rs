//! Kafka Streams' own results, scenario by scenario: the text of the topology, and every record it writes.

mod build;
mod expr;
mod processors;
mod value;

use serde_json::Value as Json;
use std::{fs, path::PathBuf};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

/// Scenarios with what is expected of them.
fn scenarios() -> Vec<(String, Json, Json)> {
    let read = |path: PathBuf| -> Json {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let mut found = Vec::new();
    for group in fs::read_dir(directory().join("scenarios")).expect("scenarios") {
        let group = group.expect("a group").path();
        for file in fs::read_dir(&group).expect("a group of scenarios") {
            let path = file.expect("a scenario").path();
            let (group, name) = (group.file_name().expect("a name"), path.file_stem().expect("a name"));
            let name = format!("{}/{}", group.to_string_lossy(), name.to_string_lossy());
            let expected = read(directory().join(format!("expected/{name}.expected.json")));
            found.push((name, read(path), expected));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn describe_is_that_of_kafka_streams() {
    let (mut wrong, mut right) = (Vec::new(), 0);
    for (name, scenario, expected) in scenarios() {
        let built = build::build(&scenario).build();
        match (built, expected["describe"].as_str()) {
            (Ok(topology), Some(text)) if topology.describe() == text => right += 1,
            (Err(_), None) => right += 1,
            (Ok(topology), text) => {
                wrong.push(format!("{name}:\n{}expected\n{}", topology.describe(), text.unwrap_or("an error")))
            }
            (Err(fault), Some(_)) => wrong.push(format!("{name}: {fault}")),
        }
    }
    assert!(wrong.is_empty(), "{right} right, {} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(right > 100, "only {right} scenarios");
}
