//! Every system on its sample: `make systems`.
//!
//! A topology `NAME` with input topic `IN` and output topic `OUT` has `data/NAME/IN.jsonl` and
//! `data/NAME/expected/OUT.jsonl`: lines as `millstream run NAME --embedded --input IN=… --output OUT=…` reads and writes
//! them. An expected file that is not there stands for a topic that stays empty.

use millstream::{
    cli::{Catalogue, Entry, Params, Topic},
    config::Config,
    embedded::{FileRun, Input, Output, run_files},
    fault::{Fault, Result},
    runtime::worker_settings,
};
use serde_json::Value;
use std::{
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

/// Wall clock at the start of each run, in milliseconds; the samples lie around it.
const NOW: i64 = 1_700_000_000_000;

/// Systems with schedules by wall clock, and how long the clock goes on after their samples, in milliseconds.
const LINGER_MS: &[(&str, i64)] = &[("iot-sensors", 400_000), ("order-saga", 660_000)];

/// What a system came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// Records read.
    pub read: u64,
    /// Records written.
    pub written: u64,
    /// What is wrong; `None` when the output is the expected one.
    pub wrong: Option<String>,
}

/// Where the samples of this package lie.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// The entries that are systems: all but the benchmark's.
pub fn systems(catalogue: &Catalogue) -> impl Iterator<Item = &Entry> {
    catalogue.entries().iter().filter(|entry| !entry.name.starts_with("bench-"))
}

/// How long the clock goes on after a system's sample, in milliseconds.
pub fn linger_ms(name: &str) -> i64 {
    LINGER_MS.iter().find(|(system, _)| *system == name).map_or(0, |(_, ms)| *ms)
}

/// The topics of a sample: all that a system reads and does not write itself.
fn inputs(entry: &Entry) -> impl Iterator<Item = &'static Topic> {
    let outputs = entry.outputs;
    entry.inputs.iter().filter(move |topic| !outputs.iter().any(|output| output.name == topic.name))
}

/// Runs one system on its sample, and compares. With `write` the output becomes the expected one.
pub fn check(entry: &'static Entry, data: &Path, write: bool) -> Outcome {
    let directory = data.join(entry.name);
    let outcome = |read, written, wrong| Outcome { name: entry.name, read, written, wrong };
    match run(entry, &directory) {
        Err(fault) => outcome(0, 0, Some(fault.to_string())),
        Ok((read, outputs)) => {
            let written = outputs.iter().map(|(_, lines)| lines.len() as u64).sum();
            let compared = outputs.iter().try_for_each(|(topic, lines)| {
                let file = directory.join("expected").join(format!("{topic}.jsonl"));
                if write { save(&file, lines) } else { compare(topic, &file, lines) }
            });
            outcome(read, written, compared.err().map(|fault| fault.to_string()))
        }
    }
}

/// The outcomes as text: a line each, and a line of what is wrong.
pub fn table(outcomes: &[Outcome]) -> String {
    let width = outcomes.iter().map(|o| o.name.len()).max().unwrap_or(0).max("system".len());
    let mut text = format!("{:width$}  result    in   out\n", "system");
    for Outcome { name, read, written, wrong } in outcomes {
        let result = if wrong.is_none() { "pass" } else { "FAIL" };
        text += &format!("{name:width$}  {result:6} {read:5} {written:5}\n");
    }
    for outcome in outcomes {
        if let Some(wrong) = &outcome.wrong {
            text += &format!("{}: {wrong}\n", outcome.name);
        }
    }
    let passed = outcomes.iter().filter(|o| o.wrong.is_none()).count();
    text + &format!("{passed} of {} pass\n", outcomes.len())
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Topic and lines of each output, in the entry's order, and the number of records read.
type Ran = (u64, Vec<(&'static str, Vec<Value>)>);

fn run(entry: &'static Entry, directory: &Path) -> Result<Ran> {
    let mut config = Config::load(&[], [], None)?;
    entry.settle(&mut config)?;
    let memories: Vec<_> = entry.outputs.iter().map(|_| Memory::default()).collect();
    let output = |(topic, memory): (&Topic, &Memory)| Output {
        topic: topic.name.into(),
        key: topic.key,
        value: topic.value,
        lines: Box::new(memory.clone()),
    };
    let run = FileRun {
        topology: Arc::new((entry.build)(&Params::defaults(entry))?),
        application_id: entry.name.into(),
        settings: worker_settings(&config, 1, false),
        inputs: inputs(entry).map(|topic| input(topic, directory)).collect::<Result<_>>()?,
        outputs: entry.outputs.iter().zip(&memories).map(output).collect(),
        topics: Vec::new(),
        now: NOW,
        linger_ms: linger_ms(entry.name),
    };
    let read = run_files(run, &AtomicBool::new(false))?.read;
    let lines = |memory: &Memory| memory.text().lines().map(parse).collect::<Result<Vec<_>>>();
    let outputs = entry.outputs.iter().zip(&memories).map(|(topic, memory)| Ok((topic.name, lines(memory)?)));
    Ok((read, outputs.collect::<Result<_>>()?))
}

fn parse(line: &str) -> Result<Value> {
    serde_json::from_str(line).map_err(|e| Fault::stop(format!("`{line}` is not JSON: {e}")))
}

fn text_of(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|e| Fault::stop(format!("can't read: {e}")).at(file.display().to_string()))
}

fn input(topic: &Topic, directory: &Path) -> Result<Input> {
    let file = directory.join(format!("{}.jsonl", topic.name));
    let lines = Box::new(Cursor::new(text_of(&file)?));
    let name = file.display().to_string();
    Ok(Input { topic: topic.name.into(), name, key: topic.key, value: topic.value, lines })
}

fn compare(topic: &str, file: &Path, found: &[Value]) -> Result<()> {
    let text = if file.exists() { text_of(file)? } else { String::new() };
    let expected = text.lines().map(parse).collect::<Result<Vec<_>>>()?;
    let differs = |line: usize| expected.get(line) != found.get(line);
    let Some(line) = (0..expected.len().max(found.len())).find(|line| differs(*line)) else { return Ok(()) };
    let show = |value: Option<&Value>| value.map_or_else(|| "nothing".into(), ToString::to_string);
    let (should, is) = (show(expected.get(line)), show(found.get(line)));
    Err(Fault::stop(format!("expected {should}, found {is}")).at(format!("topic {topic}, line {}", line + 1)))
}

fn save(file: &Path, lines: &[Value]) -> Result<()> {
    let failed = |e: std::io::Error| Fault::stop(format!("can't write: {e}")).at(file.display().to_string());
    match (lines.is_empty(), file.exists(), file.parent()) {
        (true, true, _) => fs::remove_file(file).map_err(failed),
        (true, false, _) | (_, _, None) => Ok(()),
        (false, _, Some(directory)) => {
            fs::create_dir_all(directory).map_err(failed)?;
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            fs::write(file, text).map_err(failed)
        }
    }
}

#[cfg(test)]
mod tests;
