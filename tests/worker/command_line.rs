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
    let cases: [Case; 7] = [
        (&["describe", "wordcount"], &[], "there is no topology `wordcount`: did you mean `word-count`?"),
        (
            &["config", "--set", "comit.interval.ms=1"],
            &[],
            "unknown setting `comit.interval.ms` (--set): did you mean `commit.interval.ms`?",
        ),
        (
            &["config"],
            &[("MILLSTREAM_COMMIT_INTERVAL_MS", "soon")],
            "setting `commit.interval.ms`: `soon` is not a whole number (environment MILLSTREAM_COMMIT_INTERVAL_MS): \
             its default is `100`",
        ),
        (&["config", "--set", "x"], &[], "--set x: no `=`: write --set key=value"),
        (
            &["config", "--config", "/nowhere/m.toml"],
            &[],
            "can't read the file of settings: No such file or directory (os error 2) (/nowhere/m.toml): check --config \
             and MILLSTREAM_CONFIG",
        ),
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
fn a_run_that_prints_nothing_says_so() {
    let output = millstream(&["run", "word-count", "--embedded", "--input", "lines=-"], &[], "a\n");
    assert_eq!((output.status.code(), out(&output)), (Some(0), String::new()));
    assert!(
        err(&output).contains("no --output: nothing is printed; add for example --output counts=-"),
        "{}",
        err(&output)
    );
}

#[test]
fn a_line_that_is_no_record_fails_the_run() {
    let arguments = ["run", "channel-stats", "--embedded", "--input", "chat=-", "--output", "channel-stats=-"];
    let output = millstream(&arguments, &[], "not json\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output), "millstream: the line is not JSON (-, line 1): write one JSON value a line\n");
}

#[test]
fn a_file_that_is_no_settings_is_one_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("m.toml");
    for (text, says) in [
        ("\ncommit.interval.ms =\n", "m.toml, line 2)"),
        ("commit.intervall.ms = 5\n", "did you mean `commit.interval.ms`?"),
        ("[commit]\ninterval.ms = \"soon\"\n", "`soon` is not a whole number"),
        ("state.dir = 1979-05-27\n", "setting `state.dir` has no plain value"),
    ] {
        std::fs::write(&file, text).expect("a file");
        let output = millstream(&["config", "--config", file.to_str().expect("text")], &[], "");
        let said = err(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says) && said.contains("m.toml") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn files_of_a_run_are_checked_before_it_starts() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("lines.txt");
    std::fs::write(&file, "a b\n").expect("a file");
    let lines = format!("lines={}", file.display());
    let run = |input: &str, output: &str| {
        let output = millstream(&["run", "word-count", "--embedded", "--input", input, "--output", output], &[], "");
        (output.status.code(), err(&output))
    };
    let (code, said) = run("lines=/nowhere/lines.txt", "counts=-");
    assert_eq!(
        (code, &*said),
        (
            Some(2),
            "millstream: can't read the input: No such file or directory (os error 2) (/nowhere/lines.txt): check the \
             path after --input\n"
        )
    );
    let (code, said) = run(&lines, "counts=/nowhere/out");
    assert!(code == Some(2) && said.contains("check the path after --output"), "{said}");
    let (code, said) = run(&lines, &format!("counts={}", file.display()));
    assert!(code == Some(2) && said.contains("the output would overwrite an input"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).expect("the input is there"), "a b\n");
    let (code, said) = run(&lines, "count=-");
    assert!(code == Some(2) && said.contains("it writes `counts`"), "{said}");
}

/// Everything on standard error is JSON then, the reason of the end included, and names its thread.
#[test]
fn json_logs_are_json_to_the_last_line() {
    let arguments = ["run", "channel-stats", "--embedded", "--input", "chat=-"];
    let good = "{\"channel\":\"a\",\"user\":\"u\",\"text\":\"t\",\"ts\":5}\n";
    for (input, code) in [(good, 0), ("not json\n", 1), ("{\"channel\":\"a\"}\n", 1)] {
        let environment = [("MILLSTREAM_LOG_FORMAT", "json"), ("MILLSTREAM_LOG_LEVEL", "debug")];
        let output = millstream(&arguments, &environment, input);
        let said = err(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.lines().count() > 0);
        for line in said.lines() {
            let parsed: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            for field in ["timestamp", "level", "message", "threadName"] {
                assert!(parsed[field].is_string(), "{field} is not in {line}");
            }
        }
    }
}

#[cfg(feature = "kafka")]
#[test]
fn what_only_a_full_build_checks_is_checked_before_a_broker_is_asked() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = format!("state.dir={}", directory.path().display());
    let nobody = "bootstrap.servers=127.0.0.1:1";
    let run = |set: &[&str]| {
        let mut arguments = vec!["run", "word-count", "--set", nobody];
        arguments.extend(set.iter().flat_map(|s| ["--set", s]));
        let output = millstream(&arguments, &[], "");
        (output.status.code(), err(&output))
    };
    let (code, said) = run(&["http.listen=off", "state.dir=/dev/null"]);
    assert!(code == Some(1) && said.ends_with("set state.dir to a directory that this process may write\n"), "{said}");
    let (code, said) = run(&["sasl.pasword=hush"]);
    assert!(code == Some(2) && said.contains("refuses `sasl.pasword`") && !said.contains("hush"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listen = format!("http.listen={}", taken.local_addr().expect("it is bound"));
    let (code, said) = run(&[&listen, &state]);
    assert!(code == Some(1) && said.contains("can't listen") && said.contains("to another address"), "{said}");
}

/// The first waits for a broker that never comes, and holds the directory meanwhile.
#[cfg(feature = "kafka")]
#[test]
fn two_processes_do_not_share_a_state_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = format!("state.dir={}", directory.path().display());
    let arguments =
        ["run", "word-count", "--set", "bootstrap.servers=127.0.0.1:1", "--set", "http.listen=off", "--set", &state];
    let mut first = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the worker binary starts");
    let lock = directory.path().join("word-count").join("kafka-streams-process-metadata");
    while !lock.exists() {
        assert!(first.try_wait().expect("a child of ours").is_none(), "it waits for the broker");
        std::thread::yield_now();
    }
    let second = millstream(&arguments, &[], "");
    let _ = first.kill();
    let _ = first.wait();
    assert_eq!(second.status.code(), Some(1), "{}", err(&second));
    let last = err(&second).lines().last().unwrap_or_default().to_owned();
    assert_eq!(
        last,
        format!(
            "millstream: another process uses the state directory ({}): give each process its own state.dir",
            directory.path().join("word-count").display()
        )
    );
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

/// Every command of the README's table of systems gives what is expected of the system.
#[test]
fn the_commands_of_the_readme_run() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &std::path::Path| std::fs::read_to_string(file).unwrap_or_default();
    let readme = read(&root.join("README.md"));
    let commands: Vec<_> = readme.split("| `millstream ").skip(1).filter_map(|c| Some(c.split_once('`')?.0)).collect();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let words: Vec<String> = command
            .split(' ')
            .map(|word| match word.split_once('=') {
                Some((topic, file)) if file.starts_with("topologies/") => {
                    format!("{topic}={}", root.join(file).display())
                }
                _ => word.to_owned(),
            })
            .collect();
        let output = millstream(&words.iter().map(String::as_str).collect::<Vec<_>>(), &[], "");
        assert_eq!(output.status.code(), Some(0), "{command}: {}", err(&output));
        let topic = words[words.len() - 1].trim_end_matches("=-");
        let expected = read(&root.join(format!("topologies/data/{}/expected/{topic}.jsonl", words[1])));
        let lines = |text: &str| {
            let parse = |line: &str| -> serde_json::Value {
                let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
                if command.contains("--linger-ms") {
                    // What a schedule by wall clock writes has the time at which it fired.
                    line["timestamp"].take();
                }
                line
            };
            text.lines().map(parse).collect::<Vec<_>>()
        };
        assert_eq!(lines(&out(&output)), lines(&expected), "{command}");
    }
}
