use super::*;
use millstream::{
    record::{Headers, RawRecord},
    testing::{DriverOptions, TestDriver},
    topology::StreamsBuilder,
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

fn catalogue() -> &'static Catalogue {
    Box::leak(Box::new(crate::catalogue()))
}

#[test]
fn every_system_gives_what_is_expected_of_its_sample() {
    for entry in systems(catalogue()) {
        let outcome = check(entry, &data(), false);
        assert_eq!(outcome.wrong, None, "{}", entry.name);
        assert!(outcome.read > 0 && outcome.written > 0, "{outcome:?}");
    }
}

#[test]
fn every_topic_that_a_system_names_shows_in_its_sample() {
    for entry in systems(catalogue()) {
        for topic in entry.outputs {
            let file = data().join(entry.name).join("expected").join(format!("{}.jsonl", topic.name));
            assert!(file.exists(), "{}", file.display());
        }
    }
}

/// A wrong line, a missing one and one too many are told, and the table says FAIL.
#[test]
fn a_wrong_expectation_fails() {
    let entry = catalogue().entry("word-count").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (there, here) = (data().join("word-count"), directory.path().join("word-count"));
    fs::create_dir_all(here.join("expected")).unwrap();
    fs::copy(there.join("lines.jsonl"), here.join("lines.jsonl")).unwrap();
    let good = text_of(&there.join("expected/counts.jsonl")).unwrap();
    let check = |text: &str| {
        fs::write(here.join("expected/counts.jsonl"), text).unwrap();
        check(entry, directory.path(), false)
    };
    assert_eq!(check(&good).wrong, None);
    let short = good.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>();
    for bad in [good.replacen("\"value\":1", "\"value\":8", 1), short, format!("{good}{good}"), String::new()] {
        let outcome = check(&bad);
        assert!(outcome.wrong.as_ref().is_some_and(|wrong| wrong.contains("topic counts")), "{outcome:?}");
        let text = table(&[outcome]);
        assert!(text.contains("FAIL") && text.ends_with("0 of 1 pass\n"), "{text}");
    }
    fs::remove_file(here.join("lines.jsonl")).unwrap();
    assert!(check(&good).wrong.unwrap().contains("can't read"));
}

struct Step {
    topic: &'static str,
    record: RawRecord,
}

/// The records of a sample in the order of their times.
fn steps(entry: &Entry) -> Vec<Step> {
    let mut steps = Vec::new();
    for topic in inputs(entry) {
        let text = text_of(&data().join(entry.name).join(format!("{}.jsonl", topic.name))).unwrap();
        for line in text.lines() {
            let line: Value = parse(line).unwrap();
            let header = |(name, value): (&String, &Value)| (name.clone(), value.as_str().map(|v| v.to_owned().into()));
            let headers = line["headers"].as_object().map_or_else(Headers::new, |h| h.iter().map(header).collect());
            let (key, value) = (topic.key.encode(&line["key"]).unwrap(), topic.value.encode(&line["value"]).unwrap());
            let timestamp = line["timestamp"].as_i64().expect("a line of a sample has a time");
            steps.push(Step { topic: topic.name, record: RawRecord { offset: 0, timestamp, key, value, headers } });
        }
    }
    steps.sort_by_key(|step| step.record.timestamp);
    steps
}

/// What a system writes when the process dies `turns` ticks after a record was given to it. Each record is committed
/// before the next one comes.
fn written(entry: &Entry, turns: impl Fn(usize) -> Option<usize>) -> Vec<(&'static str, Vec<RawRecord>)> {
    let mut config = Config::load(&[], [], None).unwrap();
    entry.settle(&mut config).unwrap();
    let options = DriverOptions {
        application_id: entry.name.into(),
        topics: entry.outputs.iter().map(|topic| topic.name.to_owned()).collect(),
        start_ms: NOW,
        settings: worker_settings(&config, 1, false),
        ..DriverOptions::default()
    };
    let mut driver = TestDriver::with((entry.build)(&Params::defaults(entry)).unwrap(), options).unwrap();
    for (index, Step { topic, record }) in steps(entry).into_iter().enumerate() {
        match turns(index) {
            Some(turns) => driver.pipe_raw_and_crash(topic, record, turns).unwrap(),
            None => driver.pipe_raw(topic, record).unwrap(),
        }
        driver.flush().unwrap();
    }
    for _ in 0..linger_ms(entry.name) / 1_000 {
        driver.advance(Duration::from_secs(1)).unwrap();
        driver.flush().unwrap();
    }
    let plain = |record| RawRecord { offset: 0, ..record };
    let read = |topic: &Topic| (topic.name, driver.read_raw(topic.name).unwrap().into_iter().map(plain).collect());
    entry.outputs.iter().map(read).collect()
}

/// A process that dies in the middle of every other record leaves the output of one that never does.
#[test]
fn crashes_change_no_output() {
    for entry in systems(catalogue()) {
        let steady = written(entry, |_| None);
        for first in [0, 1] {
            let crashed = written(entry, |index| (index % 2 == first).then_some(1 + index / 2 % 3));
            for ((topic, steady), (_, mut crashed)) in steady.iter().zip(crashed) {
                if linger_ms(entry.name) > 0 {
                    // What a schedule by wall clock writes has the time at which it fired.
                    crashed.iter_mut().zip(steady).for_each(|(c, s)| c.timestamp = s.timestamp);
                }
                assert_eq!(*steady, crashed, "{} {topic}", entry.name);
            }
        }
    }
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The crashes are real: what was not committed is done again.
#[test]
fn crashes_repeat_what_is_outside_of_the_transaction() {
    let mut entry = *catalogue().entry("word-count").unwrap();
    entry.build = |params| {
        let builder = StreamsBuilder::new();
        let lines = builder.stream::<String, String>(params.input(0));
        lines.peek(|_, _| _ = CALLS.fetch_add(1, Ordering::SeqCst)).to(params.output(0));
        builder.build()
    };
    // The first record after a start is committed at once; the second waits for the interval.
    let crashed = written(&entry, |index| (index == 1).then_some(2));
    assert_eq!((crashed[0].1.len(), CALLS.load(Ordering::SeqCst)), (3, 4));
}

/// The README's rows: what a system does, its file, and the command that runs it on its sample.
fn rows() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "rs")).collect();
    files.sort();
    let row = |entry: &Entry| {
        let name = entry.name;
        let names = |file: &&PathBuf| text_of(file).unwrap().contains(&format!("    name: \"{name}\","));
        let calls = |file: &&PathBuf| text_of(file).unwrap().contains(&format!("    \"{name}\",\n"));
        let file = files.iter().find(names).or_else(|| files.iter().find(calls)).unwrap();
        let file = file.file_name().unwrap().to_str().unwrap();
        let input = |topic: &Topic| format!(" --input {0}=topologies/data/{name}/{0}.jsonl", topic.name);
        let inputs: String = inputs(entry).map(input).collect();
        let linger = match linger_ms(name) {
            0 => String::new(),
            ms => format!(" --linger-ms {ms}"),
        };
        let command = format!("millstream run {name} --embedded{linger}{inputs} --output {}=-", entry.outputs[0].name);
        format!("| `{name}`: {} | [{file}](topologies/{file}) | `{command}` |\n", entry.about)
    };
    let rows: String = systems(catalogue()).map(row).collect();
    format!("| system | file | command |\n|---|---|---|\n{rows}")
}

#[test]
fn the_systems_in_the_readme_are_those_of_the_catalogue() {
    let readme = text_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- systems -->\n").expect("the table's start");
    let (found, _) = rest.split_once("<!-- /systems -->").expect("the table's end");
    assert!(found == rows(), "put this between the marks in README.md:\n{}", rows());
}
