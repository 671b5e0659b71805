//! The worker binary as people call it: output, errors, exit codes. Nothing here needs a broker.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// Runs the binary with a clean environment and this standard input.
fn millstream(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the worker binary starts");
    // A command that reads nothing may have ended already.
    let _ = child.stdin.take().expect("standard input is a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the worker binary ends")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn a_topology_runs_on_standard_input() {
    let arguments = ["run", "word-count", "--embedded", "--input", "lines=-", "--output", "counts=-"];
    let output = millstream(&arguments, &[], "a b\nb\n");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let mut lines: Vec<serde_json::Value> = out(&output).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    lines.sort_by_key(|l| l["key"].to_string());
    let counts: Vec<_> = lines.iter().map(|l| (l["key"].as_str().unwrap(), l["value"].as_i64().unwrap())).collect();
    assert_eq!(counts, [("a", 1), ("b", 2)]);
}

#[test]
fn settings_rename_the_topics_of_a_run() {
    let arguments = [
        "run",
        "word-count",
        "--embedded",
        "--set",
        "input.topic=x",
        "--set",
        "output.topic=y",
        "--input",
        "x=-",
        "--output",
        "y=-",
    ];
    let output = millstream(&arguments, &[("MILLSTREAM_LOG_FORMAT", "json")], "word\n");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output).lines().count(), 1);
    let log: serde_json::Value = serde_json::from_str(err(&output).lines().last().unwrap()).unwrap();
    assert_eq!(log["read"], 1);
}

#[test]
fn list_and_describe_name_the_topologies() {
    let list = millstream(&["list"], &[], "");
    assert_eq!(list.status.code(), Some(0));
    for name in out(&list).lines().map(|line| line.split(' ').next().unwrap()) {
        let described = millstream(&["describe", name], &[], "");
        assert_eq!(described.status.code(), Some(0), "{name}");
        assert!(out(&described).starts_with("Topologies:\n   Sub-topology: 0"), "{name}: {}", out(&described));
    }
}

/// Arguments, environment, and the error's text.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

#[test]
fn mistakes_end_with_two_and_one_clear_line() {
    let cases: [Case; 6] = [
        (&["describe", "wordcount"], &[], "there is no topology `wordcount`: did you mean `word-count`?"),
        (
            &["config", "--set", "comit.interval.ms=1"],
            &[],
            "unknown setting `comit.interval.ms` (flag): did you mean `commit.interval.ms`?",
        ),
        (
            &["config"],
            &[("MILLSTREAM_COMMIT_INTERVAL_MS", "soon")],
            "setting `commit.interval.ms`: `soon` is not a whole number (environment MILLSTREAM_COMMIT_INTERVAL_MS)",
        ),
        (&["config", "--set", "x"], &[], "--set x: no `=`: write --set key=value"),
        (
            &["run", "word-count", "--embedded"],
            &[],
            "no input: name a file: --input lines=FILE (`-` is standard input)",
        ),
        (
            &["run", "word-count", "--embedded", "--input", "line=-"],
            &[],
            "the topology reads no topic `line`: it reads `lines`",
        ),
    ];
    for (arguments, environment, text) in cases {
        let output = millstream(arguments, environment, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(err(&output), format!("millstream: {text}\n"), "{arguments:?}");
    }
}

#[test]
fn a_line_that_is_no_record_fails_the_run() {
    let arguments = ["run", "channel-stats", "--embedded", "--input", "chat=-"];
    let output = millstream(&arguments, &[], "not json\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output), "millstream: the line is not JSON (-, line 1): write one JSON value a line\n");
}

#[test]
fn config_shows_origins_and_no_secrets() {
    let environment = [("MILLSTREAM_SASL_PASSWORD", "hush"), ("MILLSTREAM_STATE_DIR", "/data")];
    let output = millstream(&["config", "--all"], &environment, "");
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(!text.contains("hush"), "{text}");
    assert!(
        text.lines().any(|l| l.starts_with("state.dir ") && l.ends_with("/data  [environment MILLSTREAM_STATE_DIR]"))
    );
}

#[test]
fn health_fails_without_a_worker() {
    let output = millstream(&["health"], &[("MILLSTREAM_HTTP_LISTEN", "127.0.0.1:1")], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("the worker doesn't answer"), "{}", err(&output));
}
