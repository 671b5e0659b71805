//! The rules, as data, and the check of one set of files against them.

use super::source::Source;

/// Who may import whom, lowest first. A module may always import itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("fault", &[]),
    ("record", &[]),
    ("codec", &["record", "fault"]),
    ("sink", &["record", "fault"]),
    ("state", &["record", "codec", "fault"]),
    ("operator", &["record", "codec", "sink", "state", "fault"]),
    ("topology", &["record", "codec", "sink", "state", "operator", "fault"]),
    // codec: the task chooses partitions by murmur2.
    ("task", &["record", "codec", "sink", "state", "operator", "topology", "fault"]),
    ("worker", &["record", "sink", "state", "operator", "topology", "task", "fault"]),
    ("log", &["record", "fault"]),
    ("config", &["fault"]),
    ("embedded", BELOW_DRIVERS),
    ("testing", ABOVE_EMBEDDED),
    ("kafka", &["record", "sink", "state", "topology", "worker", "config", "fault"]),
    ("adapters", &["record", "sink", "fault"]),
    (
        "runtime",
        &[
            "fault", "record", "codec", "state", "operator", "topology", "task", "worker", "log", "config", "embedded",
            "kafka",
        ],
    ),
    (
        "http",
        &[
            "fault", "record", "codec", "state", "operator", "topology", "worker", "config", "embedded", "kafka",
            "runtime",
        ],
    ),
    (
        "cli",
        &[
            "fault", "record", "codec", "state", "topology", "worker", "log", "config", "embedded", "kafka", "runtime",
            "http",
        ],
    ),
];
const BELOW_DRIVERS: &[&str] =
    &["fault", "record", "codec", "sink", "state", "operator", "topology", "task", "worker", "log", "config"];
const ABOVE_EMBEDDED: &[&str] = &[
    "fault", "record", "codec", "sink", "state", "operator", "topology", "task", "worker", "log", "config", "embedded",
];

/// Modules without clock, threads, randomness, files and sockets.
const PURE: &[&str] = &[
    "fault", "record", "codec", "sink", "state", "operator", "topology", "task", "worker", "log", "config", "testing",
];

/// The one file of a pure module that does I/O.
const ROCKS: &str = "src/state/rocks.rs";

/// Paths that pure modules don't name: any path that contains one of these rows of segments.
const IMPURE: &[&[&str]] = &[
    &["Instant"],
    &["SystemTime"],
    &["std", "thread"],
    &["thread", "spawn"],
    &["thread", "sleep"],
    &["thread_local"],
    &["rand"],
    &["fastrand"],
    &["getrandom"],
    &["tokio"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "env"],
    &["std", "process"],
    &["std", "collections", "HashMap"],
    &["std", "collections", "HashSet"],
    &["RandomState"],
    &["Uuid", "new_v4"],
    &["Uuid", "now_v7"],
];

/// Lines that no file may exceed, and that nine files of ten stay below.
const LINES_MAX: usize = 600;
const LINES_USUAL: usize = 400;

/// Everything that breaks a rule, one line each.
pub fn violations(files: &[Source]) -> Vec<String> {
    let mut all = sizes(files);
    for file in files.iter().filter(|f| f.path.starts_with("src/")) {
        if file.path == "src/lib.rs" {
            all.extend(code_map(file, files));
        } else if !file.is_test() {
            all.extend(imports(file));
        }
    }
    all
}

fn sizes(files: &[Source]) -> Vec<String> {
    let mut all: Vec<_> = files
        .iter()
        .filter(|f| f.lines() > LINES_MAX)
        .map(|f| format!("{}: {} lines, more than {LINES_MAX}", f.path, f.lines()))
        .collect();
    let long: Vec<_> = files.iter().filter(|f| f.lines() >= LINES_USUAL).map(|f| f.path.as_str()).collect();
    if long.len() * 10 > files.len() {
        all.push(format!(
            "{} of {} files have {LINES_USUAL} lines or more: {}",
            long.len(),
            files.len(),
            long.join(", ")
        ));
    }
    all
}

fn imports(file: &Source) -> Vec<String> {
    let module = file.module();
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{}: module `{module}` has no place in the layer table", file.path)];
    };
    let mut all = Vec::new();
    for (line, path) in file.paths() {
        let place = format!("{}:{line}: `{}`", file.path, path.join("::"));
        if path[0] == "crate"
            && let Some(other) = path.get(1)
            && other != module
            && !allowed.contains(&other.as_str())
        {
            all.push(format!("{place}: {module} may not import {other}"));
        }
        if path[0] == "rocksdb" && file.path != ROCKS {
            all.push(format!("{place}: only {ROCKS} names rocksdb"));
        }
        if path[0].starts_with("rdkafka") && module != "kafka" {
            all.push(format!("{place}: only src/kafka/ names rdkafka"));
        }
        if PURE.contains(&module)
            && file.path != ROCKS
            && IMPURE.iter().any(|row| path.windows(row.len()).any(|part| part == *row))
        {
            all.push(format!("{place}: {module} is pure: no clock, threads, randomness, files or sockets"));
        }
    }
    all
}

/// The code map of `lib.rs` (lines such as "//! - [`codec`]: …") names exactly the modules that there are.
fn code_map(lib: &Source, files: &[Source]) -> Vec<String> {
    let mut named: Vec<_> = lib
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("//! - [`")?.split_once('`').map(|(name, _)| name.to_owned()))
        .collect();
    let mut there: Vec<_> = files
        .iter()
        .filter(|f| f.path.starts_with("src/") && f.path != "src/lib.rs")
        .map(|f| f.module().to_owned())
        .collect();
    for list in [&mut named, &mut there] {
        list.sort();
        list.dedup();
    }
    let missing =
        there.iter().filter(|m| !named.contains(m)).map(|m| format!("the code map of src/lib.rs lacks `{m}`"));
    let stale = named
        .iter()
        .filter(|m| !there.contains(m))
        .map(|m| format!("the code map of src/lib.rs names `{m}`, which is not there"));
    missing.chain(stale).collect()
}
