//! Runs a topology on files of lines: everything is read into an embedded log, one worker processes it until all of it
//! is committed, and the output topics are printed.
//!
//! Time is virtual: it starts at `now` and jumps to the worker's next wake-up, so nothing waits.

use super::{ClientConfig, Format, Member, MemoryDisks, Progress};
use crate::{
    fault::{Fault, Result},
    log::{Isolation, Log, TopicConfig},
    record::{Headers, OutRecord, RawRecord, Target, Timestamp, TopicPartition},
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
    /// Topics that there are besides, such as those that only a function of the record names.
    pub topics: Vec<String>,
    /// Wall clock at the start; also the event time of lines that have none.
    pub now: Timestamp,
    /// How long the clock goes on once all input is committed, in milliseconds: for schedules by wall clock.
    pub linger_ms: i64,
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
    let FileRun { topology, application_id, settings, inputs, mut outputs, topics, now, linger_ms } = run;
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
    for topic in outputs.iter().map(|output| &output.topic).chain(&topics) {
        if log.create_topic(topic, 1, TopicConfig::default()) {
            counts.insert(Arc::from(topic.as_str()), 1);
        }
    }
    let resolved = Arc::new(topology.resolve(&application_id, &counts)?);
    for topic in &resolved.internal {
        log.create_topic(&topic.name, topic.partitions, TopicConfig::from_settings(&topic.config));
    }
    let client = ClientConfig::new(application_id.as_str(), "files", resolved.subscription());
    let mut member = Member::new(topology, resolved, settings, client, 0);
    let stopped = process(&mut member, &mut log, now, linger_ms, stop)?;
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
fn process(member: &mut Member, log: &mut Log, mut now: Timestamp, linger_ms: i64, stop: &AtomicBool) -> Result<bool> {
    let mut disks = MemoryDisks::new(|| Arc::new(MemoryBackend::new()));
    let (mut stopping, mut early) = (false, false);
    let (mut jumps, mut quiet) = (0, 0);
    // Counts from the first moment at which all input is committed.
    let mut end = None;
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
        if quiet > 1 && *end.get_or_insert(now.saturating_add(linger_ms)) > now {
            jumps = 0;
            quiet = 0;
        }
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
            headers: parsed.headers,
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
    headers: Headers,
}

impl Line {
    /// `{"key":…,"value":…,"timestamp":…,"headers":{…}}`, where only `value` must be there, or a plain value.
    fn parse(line: &str, format: Format) -> Result<Self> {
        let json: Option<Value> = serde_json::from_str(line).ok();
        if let Some(Value::Object(fields)) = &json
            && fields.contains_key("value")
            && fields.keys().all(|k| matches!(k.as_str(), "key" | "value" | "timestamp" | "headers"))
        {
            let field = |name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
            let timestamp = match field("timestamp") {
                Value::Null => None,
                number => Some(number.as_i64().ok_or_else(|| {
                    Fault::stop(format!("timestamp {number} is no number of milliseconds since 1970"))
                })?),
            };
            let headers = headers(&field("headers"))?;
            return Ok(Self { key: field("key"), value: field("value"), timestamp, headers });
        }
        let value = match (format, json) {
            (Format::String | Format::Bytes, Some(Value::String(text))) => Value::String(text),
            (Format::String | Format::Bytes, _) => Value::String(line.to_owned()),
            (_, Some(json)) => json,
            (_, None) => return Err(Fault::stop("the line is not JSON").hint("write one JSON value a line")),
        };
        Ok(Self { key: Value::Null, value, timestamp: None, headers: Headers::new() })
    }
}

/// Headers from an object of texts.
fn headers(json: &Value) -> Result<Headers> {
    let text = |(name, value): (&String, &Value)| match value {
        Value::Null => Ok((name.clone(), None)),
        Value::String(text) => Ok((name.clone(), Some(text.clone().into()))),
        other => Err(Fault::stop(format!("header `{name}` is {other}")).hint("headers are texts")),
    };
    match json {
        Value::Null => Ok(Headers::new()),
        Value::Object(fields) => fields.iter().map(text).collect(),
        other => Err(Fault::stop(format!("headers are {other}")).hint("write {\"name\":\"text\"}")),
    }
}

/// A record as a line; headers only where there are some.
fn printed(record: &RawRecord, key: Format, value: Format) -> Value {
    let mut line = json!({
        "key": key.decode(record.key.as_ref()),
        "value": value.decode(record.value.as_ref()),
        "timestamp": record.timestamp,
    });
    if !record.headers.is_empty() {
        let headers = record.headers.iter().map(|(name, value)| (name.to_owned(), Format::String.decode(value)));
        line["headers"] = Value::Object(headers.collect());
    }
    line
}

fn print(log: &Log, output: &mut Output) -> Result<u64> {
    let failed = |e: std::io::Error| Fault::stop(format!("can't write the output: {e}")).at(output.topic.clone());
    let partition = TopicPartition::new(output.topic.as_str(), 0);
    let records = log
        .read_all(&partition, Isolation::ReadCommitted)
        .map_err(|e| Fault::stop(format!("can't read topic `{}`: {e:?}", output.topic)))?;
    for record in &records {
        let line = printed(record, output.key, output.value);
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
        run_of(builder.build().unwrap(), lines, 0)
    }

    fn run_of(topology: Topology, lines: &'static str, linger_ms: i64) -> (Result<Summary>, String) {
        let sink = Sink::default();
        let result = run_files(
            FileRun {
                topology: Arc::new(topology),
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
                topics: Vec::new(),
                now: 1_000_000,
                linger_ms,
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
    fn headers_are_read_and_printed() {
        let line = "{\"value\":\"a\",\"timestamp\":5,\"headers\":{\"type\":\"x\",\"none\":null}}";
        let Line { value, timestamp, headers, .. } = Line::parse(line, Format::String).unwrap();
        let value = Format::String.encode(&value).unwrap();
        let record = RawRecord { offset: 0, timestamp: timestamp.unwrap(), key: None, value, headers };
        let printed = printed(&record, Format::String, Format::String);
        assert_eq!(printed["headers"], json!({"type": "x", "none": null}));
        assert!(Line::parse("{\"value\":1,\"headers\":{\"n\":1}}", Format::Json).is_err());
    }

    /// Forwards the number of its schedule's calls.
    struct Clock;

    impl crate::operator::Processor<String, String, String, i64> for Clock {
        fn init(&mut self, cx: &mut crate::operator::ProcessorContext<'_, String, i64>) -> Result<()> {
            cx.schedule(std::time::Duration::from_secs(1), crate::operator::Punctuation::WallClock).map(drop)
        }

        fn process(
            &mut self,
            _: &mut crate::operator::ProcessorContext<'_, String, i64>,
            _: crate::record::Record<'_, String, String>,
        ) -> Result<()> {
            Ok(())
        }

        fn punctuate(
            &mut self,
            cx: &mut crate::operator::ProcessorContext<'_, String, i64>,
            _: crate::operator::ScheduleId,
            timestamp: Timestamp,
        ) -> Result<()> {
            cx.forward(crate::record::Record::new(None, Some(&1), timestamp))
        }
    }

    #[test]
    fn the_clock_goes_on_after_the_input() {
        for (linger_ms, least) in [(0, 0), (10_000, 9)] {
            let builder = StreamsBuilder::new();
            builder.stream::<String, String>("in").process(|| Clock, &[]).to("out");
            let (summary, _) = run_of(builder.build().unwrap(), "a\n", linger_ms);
            let written = summary.unwrap().written;
            // Joining the group takes some seconds of the model's time too.
            assert!((least..least + 8).contains(&written), "{written} in {linger_ms} ms");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let (result, _) = run("a\n{\"value\":\"a\",\"timestamp\":\"x\"}");
        assert!(result.unwrap_err().to_string().contains("in.jsonl, line 2"));
    }
}
