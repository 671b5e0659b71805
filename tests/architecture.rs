//! The architecture as a test: who imports whom, what stays pure, how long a file may be, and that the code map in
//! `src/lib.rs` is true. Each rule is shown to bite by a planted violation.

#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/source.rs"]
mod source;

use rules::violations;
use source::Source;
use std::{fs, path::Path};

fn read(root: &Path, dir: &Path, into: &mut Vec<Source>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).expect("a folder of the project").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(root, &path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8").replace('\\', "/");
            into.push(Source { path: name, text: fs::read_to_string(&path).expect("a text file") });
        }
    }
}

fn project() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for dir in ["src", "topologies", "tests", "benches"] {
        if root.join(dir).is_dir() {
            read(root, &root.join(dir), &mut files);
        }
    }
    files
}

#[test]
fn the_project_keeps_its_rules() {
    let broken = violations(&project());
    assert!(broken.is_empty(), "{} violations:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn there_is_something_to_check() {
    let files = project();
    assert!(files.len() > 20, "only {} files found", files.len());
    let names = files.iter().map(|f| f.paths().len()).sum::<usize>();
    assert!(names > 1_000, "only {names} paths found: the reader of sources is blind");
}

/// The checker finds exactly one violation in a file, with this text in it.
fn caught(path: &str, text: &str, words: &str) {
    let found = violations(&[Source::new(path, text)]);
    assert!(
        found.len() == 1 && found[0].contains(words),
        "expected one violation with `{words}` in {path}, found {found:?}"
    );
}

fn clean(path: &str, text: &str) {
    assert_eq!(violations(&[Source::new(path, text)]), Vec::<String>::new(), "{path}: {text}");
}

#[test]
fn an_import_upwards_is_caught() {
    caught("src/state/store.rs", "use crate::task::Task;", "state may not import task");
    caught(
        "src/state/store.rs",
        "use crate::{\n    fault::Result,\n    record::{Headers, Offset},\n    worker::Event,\n};",
        "worker",
    );
    caught("src/operator/count.rs", "fn f() { crate::kafka::start() }", "operator may not import kafka");
    caught("src/state/mod.rs", "use super::worker::Event;", "state may not import worker");
    caught("src/state/store.rs", "use super::super::worker::Event;", "state may not import worker");
    caught("src/log/mod.rs", "pub(in crate::topology) fn f() {}", "log may not import topology");
    caught("src/engine/mod.rs", "fn f() {}", "no place in the layer table");
    clean("src/testing/simulator.rs", "use crate::embedded::Log;");
    clean("src/task/mod.rs", "use crate::operator::Context;");
    clean("src/worker/mod.rs", "use crate::operator::Dropped;");
    clean("src/state/store.rs", "use super::Backend; use crate::{fault::Result, state::Row};");
}

#[test]
fn comments_strings_and_tests_are_free() {
    clean(
        "src/state/store.rs",
        "// crate::task\n/* crate::task */\n/// [`crate::task`]\nconst A: &str = \"crate::task\";",
    );
    clean(
        "src/state/store.rs",
        "const A: &str = r#\"crate::task \" x\"#; const B: char = '\"'; const C: char = '\\'';",
    );
    clean(
        "src/state/store.rs",
        "#[cfg(test)]\nmod tests { use crate::testing::Driver; fn f() { std::thread::spawn(g) } }",
    );
    clean("src/state/tests.rs", "use crate::testing::Driver;");
    caught("src/state/store.rs", "#[cfg(test)]\nmod tests;\nuse crate::testing::Driver;", "store.rs:3");
}

#[test]
fn impurity_is_caught() {
    for text in [
        "use std::time::Instant;",
        "fn f() { std::time::Instant::now() }",
        "fn f() { SystemTime::now() }",
        "fn f() { std::thread::spawn(g) }",
        "use std::{sync::Arc, thread};",
        "fn f() -> u64 { rand::random() }",
        "use std::collections::{BTreeMap, HashMap};",
        "use std::fs::File;",
        "fn f() { Uuid::new_v4() }",
    ] {
        caught("src/worker/mod.rs", text, "worker is pure");
        clean("src/kafka/loop.rs", text);
    }
    clean(
        "src/worker/mod.rs",
        "use std::{collections::BTreeMap, time::Duration};\nfn f(now: Timestamp) { hashbrown::HashMap::<u8, u8, S>::default(); }",
    );
}

#[test]
fn the_c_libraries_stay_in_their_files() {
    caught("src/state/table.rs", "use rocksdb::DB;", "only src/state/rocks.rs names rocksdb");
    caught("src/runtime/mod.rs", "use rdkafka::client::Client;", "only src/kafka/ names rdkafka");
    caught("src/http/mod.rs", "fn f() { unsafe { rdkafka_sys::rd_kafka_version() } }", "only src/kafka/ names rdkafka");
    clean("src/state/rocks.rs", "use rocksdb::DB; use std::fs;");
    clean("src/kafka/consumer.rs", "use rdkafka_sys::rd_kafka_version;");
}

#[test]
fn long_files_are_caught() {
    let small = || (0..20).map(|n| Source::new(&format!("src/codec/a{n}.rs"), "\n"));
    let with = |longs: &[usize]| {
        let long =
            longs.iter().enumerate().map(|(n, lines)| Source::new(&format!("src/codec/b{n}.rs"), &"\n".repeat(*lines)));
        violations(&small().chain(long).collect::<Vec<_>>())
    };
    assert_eq!(with(&[399, 399, 399, 399]), Vec::<String>::new());
    assert_eq!(with(&[600, 500]), Vec::<String>::new());
    assert_eq!(with(&[601]), ["src/codec/b0.rs: 601 lines, more than 600"]);
    assert!(with(&[400, 400, 400])[0].starts_with("3 of 23 files have 400 lines or more"));
}

#[test]
fn a_false_code_map_is_caught() {
    let map = "//! - [`codec`]: bytes\n//! - [`state`]: rows\n";
    let lib = || Source::new("src/lib.rs", map);
    let (codec, state) = (|| Source::new("src/codec/mod.rs", ""), || Source::new("src/state/mod.rs", ""));
    assert_eq!(violations(&[lib(), codec(), state()]), Vec::<String>::new());
    assert_eq!(violations(&[lib(), codec()]), ["the code map of src/lib.rs names `state`, which is not there"]);
    let fault = Source::new("src/fault.rs", "");
    assert_eq!(violations(&[lib(), codec(), state(), fault]), ["the code map of src/lib.rs lacks `fault`"]);
}
