//! The scenarios, and what Kafka Streams made of them.

use serde_json::Value as Json;
use std::{fs, path::PathBuf};

/// Where other scenarios than the project's lie: `scenarios/GROUP/NAME.json`, `expected/GROUP/NAME.expected.json`.
pub fn elsewhere() -> Option<PathBuf> {
    std::env::var_os("MILLSTREAM_SCENARIOS").map(PathBuf::from)
}

fn directory() -> PathBuf {
    elsewhere().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle"))
}

/// Fails unless all is right; the project's own scenarios are many.
pub fn judge(right: usize, wrong: &[String]) {
    println!("{right} passed, {} failed", wrong.len());
    assert!(wrong.is_empty(), "{right} right, {} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(right > 100 || elsewhere().is_some(), "only {right} scenarios");
}

/// The size of the record cache where a scenario names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    Off,
    /// What Kafka Streams and this library have where nobody sets it.
    Default,
}

/// Scenarios with what is expected of them. With a cache that is `expected-cached` where it differs.
pub fn scenarios(cache: Cache) -> Vec<(String, Json, Json)> {
    let read = |path: PathBuf| -> Json {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let mut found = Vec::new();
    if cache == Cache::Default && !directory().join("expected-cached").is_dir() {
        println!("{} has no expected-cached: what is expected with a record cache is not known", directory().display());
        return found;
    }
    for group in fs::read_dir(directory().join("scenarios")).expect("scenarios") {
        let group = group.expect("a group").path();
        for file in fs::read_dir(&group).expect("a group of scenarios") {
            let path = file.expect("a scenario").path();
            let (group, name) = (group.file_name().expect("a name"), path.file_stem().expect("a name"));
            let name = format!("{}/{}", group.to_string_lossy(), name.to_string_lossy());
            let file = |folder: &str| directory().join(format!("{folder}/{name}.expected.json"));
            let (mut scenario, mut expected) = (read(path), file("expected"));
            if cache == Cache::Default && scenario["config"].get("statestore.cache.max.bytes").is_none() {
                scenario["config"]["statestore.cache.max.bytes"] = "10485760".into();
                expected = Some(file("expected-cached")).filter(|file| file.exists()).unwrap_or(expected);
            }
            let expected = read(expected);
            found.push((name, scenario, expected));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
