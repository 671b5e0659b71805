//! Runs a topology on files of lines: everything is read into an embedded log, one worker processes it until all of it
//! is committed, and the output topics are printed.
//!
//! Time is virtual: it starts at `now` and jumps to the worker's next wake-up, so nothing waits.

use super::{ClientConfig, Format, Member, MemoryDisks, Progress};
use crate::{
    fault::{Fault, Result},
    log::{Isolation, Log, TopicConfig},
    record::{Headers, OutRecord, Target, Timestamp, TopicPartition},
    state::MemoryBackend,
    topology::Topology,
    worker::Settings,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Records per step of the worker.
const STEP_RECORDS_MAX: usize = 1_000;
/// Longest jump of virtual time, in milliseconds; well below any timeout of the group.
const JUMP_MS_MAX: i64 = 500;
/// Jumps in a row without any progress after which the run is given up.
const IDLE_JUMPS_MAX: usize = 20_000;

/// An input topic and its lines.
pub struct Input {
    /// Topic.
    pub topic: String,
    /// Where the lines come from, for error texts.
    pub name: String,
    /// Format of keys.
    pub key: Format,
    /// Format of values.
    pub value: Format,
    /// One record a line.
    pub lines: Box<dyn BufRead>,
}

/// An output topic and where its records are printed.
pub struct Output {
    /// Topic.
    pub topic: String,
    /// Format of keys.
    pub key: Format,
    /// Format of values.
    pub value: Format,
    /// Receives one JSON object a line.
    pub lines: Box<dyn Write>,
}

/// A run on files.
pub struct FileRun {
    /// What to run.
    pub topology: Arc<Topology>,
    /// Application id.
    pub application_id: String,
    /// Settings of the worker.
    pub settings: Settings,
    /// Inputs. A topic that the topology reads and nobody names here is empty.
    pub inputs: Vec<Input>,
    /// Outputs.
    pub outputs: Vec<Output>,
    /// Wall clock at the start; also the event time of lines that have none.
    pub now: Timestamp,
}

/// What a run on files came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Records read.
    pub read: u64,
    /// Records printed.
    pub written: u64,
    /// True when the run was stopped before the end of the input.
    pub stopped: bool,
}

/// Runs a topology on files until all input is committed, or until `stop` is raised.
///
/// # Errors
/// When a line is no record, a file fails, a topic isn't the topology's, or the worker ends with a fault.
pub fn run_files(run: FileRun, stop: &AtomicBool) -> Result<Summary> {
    let FileRun { topology, application_id, settings, inputs, mut outputs, now } = run;
    let mut log = Log::new("embedded");
    let mut counts = BTreeMap::new();
    let errors = settings.errors.topics().cloned().collect::<Vec<_>>();
    let named: Vec<Arc<str>> = inputs.iter().map(|input| Arc::from(input.topic.as_str())).collect();
    let by_pattern = topology.pattern_sources(&application_id, &named);
    let sources = topology.external_sources().into_iter().chain(topology.global_topics()).chain(by_pattern);
    for topic in sources.clone().chain(topology.external_sinks()).chain(errors) {
        log.create_topic(&topic, 1, TopicConfig::default());
        counts.insert(topic, 1);
    }
    let mut read = 0;
    for input in inputs {
        if !sources.clone().any(|t| *t == *input.topic) {
            return Err(not_read(&topology, &input.topic));
        }
        read += fill(&mut log, input, now)?;
    }
    for output in &outputs {
        if log.partitions(&output.topic).is_none() {
            log.create_topic(&output.topic, 1, TopicConfig::default());
            counts.insert(Arc::from(output.topic.as_str()), 1);
        }
    }
    let resolved = Arc::new(topology.resolve(&application_id, &counts)?);
    for topic in &resolved.internal {
        log.create_topic(&topic.name, topic.partitions, TopicConfig::from_settings(&topic.config));
    }
    let client = ClientConfig::new(application_id.as_str(), "files", resolved.subscription());
    let mut member = Member::new(topology, resolved, settings, client, 0);
    let stopped = process(&mut member, &mut log, now, stop)?;
    let mut written = 0;
    for output in &mut outputs {
        written += print(&log, output)?;
    }
    Ok(Summary { read, written, stopped })
}

fn not_read(topology: &Topology, topic: &str) -> Fault {
    let read = topology.external_sources().into_iter().chain(topology.global_topics());
    let topics: Vec<_> = read.map(|t| format!("`{t}`")).collect();
    Fault::stop(format!("the topology doesn't read topic `{topic}`")).hint(format!("it reads {}", topics.join(", ")))
}

/// Ticks the member until everything is committed and it has left. True when it was stopped early.
fn process(member: &mut Member, log: &mut Log, mut now: Timestamp, stop: &AtomicBool) -> Result<bool> {
    let mut disks = MemoryDisks::new(|| Arc::new(MemoryBackend::new()));
    let (mut stopping, mut early) = (false, false);
    let (mut jumps, mut quiet) = (0, 0);
    loop {
        log.tick(now);
        match member.tick(log, &mut disks, now, STEP_RECORDS_MAX) {
            Progress::Exited => return member.fault().map_or(Ok(early), |f| Err(f.clone())),
            Progress::Busy => (jumps, quiet) = (0, 0),
            Progress::Idle(at) => {
                now += (at - now).clamp(1, JUMP_MS_MAX);
                jumps += 1;
                // Twice in a row: the end of a topic that the worker itself writes moves with its commit.
                quiet = if member.worker().idle() { quiet + 1 } else { 0 };
            }
        }
        if jumps > IDLE_JUMPS_MAX {
            return Err(Fault::stop("the worker makes no progress").hint("run with `--set log.level=debug`"));
        }
        early |= !stopping && stop.load(Ordering::SeqCst);
        if !stopping && (early || quiet > 1) {
            stopping = true;
            member.stop(now);
        }
    }
}

fn fill(log: &mut Log, input: Input, now: Timestamp) -> Result<u64> {
    let Input { topic, name, key, value, lines } = input;
    let topic: Arc<str> = topic.into();
    let mut read = 0;
    for (number, line) in lines.lines().enumerate() {
        let place = || format!("{name}, line {}", number + 1);
        let line = line.map_err(|e| Fault::stop(format!("can't read: {e}")).at(place()))?;
        if line.trim().is_empty() {
            continue;
        }
        let parsed = Line::parse(&line, value).map_err(|f| f.at(place()))?;
        let record = OutRecord {
            topic: Arc::clone(&topic),
            partition: 0,
            key: key.encode(&parsed.key).map_err(|f| f.at(place()))?,
            value: value.encode(&parsed.value).map_err(|f| f.at(place()))?,
            timestamp: parsed.timestamp.unwrap_or(now),
            headers: Headers::new(),
            target: Target::Sink,
        };
        log.append(record).map_err(|e| Fault::stop(format!("{e:?}")).at(place()))?;
        read += 1;
    }
    Ok(read)
}

struct Line {
    key: Value,
    value: Value,
    timestamp: Option<Timestamp>,
}

impl Line {
    /// `{"key":…,"value":…,"timestamp":…}`, where only `value` must be there, or a plain value.
    fn parse(line: &str, format: Format) -> Result<Self> {
        let json: Option<Value> = serde_json::from_str(line).ok();
        if let Some(Value::Object(fields)) = &json
            && fields.contains_key("value")
            && fields.keys().all(|k| matches!(k.as_str(), "key" | "value" | "timestamp"))
        {
            let field = |name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
            let timestamp = match field("timestamp") {
                Value::Null => None,
                number => Some(number.as_i64().ok_or_else(|| {
                    Fault::stop(format!("timestamp {number} is no number of milliseconds since 1970"))
                })?),
            };
            return Ok(Self { key: field("key"), value: field("value"), timestamp });
        }
        let value = match (format, json) {
            (Format::String | Format::Bytes, Some(Value::String(text))) => Value::String(text),
            (Format::String | Format::Bytes, _) => Value::String(line.to_owned()),
            (_, Some(json)) => json,
            (_, None) => return Err(Fault::stop("the line is not JSON").hint("write one JSON value a line")),
        };
        Ok(Self { key: Value::Null, value, timestamp: None })
    }
}

fn print(log: &Log, output: &mut Output) -> Result<u64> {
    let failed = |e: std::io::Error| Fault::stop(format!("can't write the output: {e}")).at(output.topic.clone());
    let partition = TopicPartition::new(output.topic.as_str(), 0);
    let records = log
        .read_all(&partition, Isolation::ReadCommitted)
        .map_err(|e| Fault::stop(format!("can't read topic `{}`: {e:?}", output.topic)))?;
    for record in &records {
        let line = json!({
            "key": output.key.decode(record.key.as_ref()),
            "value": output.value.decode(record.value.as_ref()),
            "timestamp": record.timestamp,
        });
        writeln!(output.lines, "{line}").map_err(failed)?;
    }
    output.lines.flush().map_err(failed)?;
    Ok(records.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::StreamsBuilder;
    use std::{
        io::Cursor,
        sync::{Mutex, PoisonError},
    };

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn run(lines: &'static str) -> (Result<Summary>, String) {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("in").group_by(|_, v| v.cloned()).count().to_stream().to("out");
        let sink = Sink::default();
        let result = run_files(
            FileRun {
                topology: Arc::new(builder.build().unwrap()),
                application_id: "test".into(),
                settings: Settings::default(),
                inputs: vec![Input {
                    topic: "in".into(),
                    name: "in.jsonl".into(),
                    key: Format::String,
                    value: Format::String,
                    lines: Box::new(Cursor::new(lines)),
                }],
                outputs: vec![Output {
                    topic: "out".into(),
                    key: Format::String,
                    value: Format::Long,
                    lines: Box::new(sink.clone()),
                }],
                now: 1_000_000,
            },
            &AtomicBool::new(false),
        );
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        (result, text)
    }

    #[test]
    fn counts_lines_through_a_repartition_topic() {
        let (result, text) = run("a\n\n\"b\"\n{\"value\":\"a\",\"timestamp\":5}\n");
        assert_eq!(result, Ok(Summary { read: 3, written: 2, stopped: false }));
        let mut lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        lines.sort_by_key(|l| l["key"].to_string());
        assert_eq!(lines[0], json!({"key": "a", "value": 2, "timestamp": 1_000_000}));
        assert_eq!(lines[1], json!({"key": "b", "value": 1, "timestamp": 1_000_000}));
    }

    #[test]
    fn a_bad_line_is_named() {
        let (result, _) = run("a\n{\"value\":\"a\",\"timestamp\":\"x\"}");
        assert!(result.unwrap_err().to_string().contains("in.jsonl, line 2"));
    }
}
