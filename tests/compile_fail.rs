//! Mistakes that types catch. Each file of `tests/compile_fail` is a program with one, which Kafka Streams finds when it
//! runs, or not at all. Its line ends in `//~` and the code of the compiler's error, or `lifetime` for those without one.
//!
//! Lines and codes are compared, and not the compiler's text, which differs between releases. All other lines must be
//! sound, so that a program fails for the reason that it says.

#![cfg(not(feature = "kafka"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Line and code of each error, by the program's name.
type Errors = BTreeMap<String, BTreeSet<(u64, String)>>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names and texts of the programs.
fn programs() -> BTreeMap<String, String> {
    let files = fs::read_dir(root().join("tests/compile_fail")).unwrap();
    let program =
        |file: PathBuf| (file.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&file).unwrap());
    files.map(|file| program(file.unwrap().path())).collect()
}

/// What a program says of its mistakes.
fn marked(text: &str) -> BTreeSet<(u64, String)> {
    let mark = |(at, line): (usize, &str)| line.split_once("//~ ").map(|(_, code)| (at as u64 + 1, code.to_owned()));
    text.lines().enumerate().filter_map(mark).collect()
}

/// What the compiler says of programs, in a crate of their own beside the build of this test.
fn compile(crate_name: &str, programs: &BTreeMap<String, String>) -> Errors {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(crate_name);
    let bins = directory.join("src/bin");
    if bins.exists() {
        fs::remove_dir_all(&bins).unwrap();
    }
    fs::create_dir_all(&bins).unwrap();
    for (name, text) in programs {
        fs::write(bins.join(format!("{name}.rs")), text).unwrap();
    }
    let manifest = format!(
        "[package]\nname = \"{crate_name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         millstream = {{ path = {:?}, default-features = false }}\n",
        root()
    );
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root().join("Cargo.lock"), directory.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--bins", "--keep-going", "--message-format=json"])
        .current_dir(&directory)
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail_target"))
        .output()
        .unwrap();
    let mut errors = Errors::new();
    let mut heard = BTreeSet::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
        heard.insert(name.clone());
        if message["reason"] != "compiler-message" || message["message"]["level"] != "error" {
            continue;
        }
        let message = &message["message"];
        let code = message["code"]["code"].as_str().unwrap_or("lifetime").to_owned();
        let spans = message["spans"].as_array().cloned().unwrap_or_default();
        let primary = spans.iter().find(|span| span["is_primary"] == true);
        if let Some(line) = primary.and_then(|span| span["line_start"].as_u64()) {
            errors.entry(name).or_default().insert((line, code));
        }
    }
    let silent: Vec<_> = programs.keys().filter(|name| !heard.contains(*name)).collect();
    assert!(silent.is_empty(), "{silent:?} were not compiled: {}", String::from_utf8_lossy(&output.stderr));
    errors
}

#[test]
fn types_refuse_what_kafka_streams_refuses_when_it_runs() {
    let programs = programs();
    assert!(programs.len() >= 10, "only {} programs", programs.len());
    let found = compile("mistakes", &programs);
    let none = BTreeSet::new();
    let mut wrong = Vec::new();
    for (name, text) in &programs {
        let (wanted, found) = (marked(text), found.get(name).unwrap_or(&none));
        if wanted.is_empty() || wanted != *found {
            wrong.push(format!("{name}: marked {wanted:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_program_without_its_mistake_or_with_another_one_is_told() {
    let program = |line: &str| format!("fn main() {{\n    {line}\n}}\n");
    let programs = BTreeMap::from([
        ("sound".to_owned(), program("let _: u8 = 1; //~ E0308")),
        ("other".to_owned(), program("let _: u8 = unknown(); //~ E0308")),
    ]);
    let found = compile("planted", &programs);
    assert!(!found.contains_key("sound"));
    assert_eq!(found["other"], BTreeSet::from([(2, "E0425".to_owned())]));
    assert_eq!(marked(&programs["other"]), BTreeSet::from([(2, "E0308".to_owned())]));
}
