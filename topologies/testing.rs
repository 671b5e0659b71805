//! Runs an entry on lines of text: through the same code as `millstream run --embedded`, or record by record.

use millstream::{
    cli::{Entry, Params},
    config::Config,
    embedded::{FileRun, Input, Output, run_files},
    record::{Headers, RawRecord},
    runtime::worker_settings,
    testing::{DriverOptions, TestDriver},
    worker::Settings,
};
use serde_json::Value;
use std::{
    io::{BufRead, Cursor, Write},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The output records of the entry's first output topic.
pub fn run(entry: &'static Entry, inputs: &[&str]) -> Vec<Value> {
    run_on(entry, inputs.iter().map(|text| Box::new(Cursor::new((*text).to_owned())) as Box<dyn BufRead>).collect())
}

/// As [`run`], with readers in the order of the entry's inputs.
pub fn run_on(entry: &'static Entry, inputs: Vec<Box<dyn BufRead>>) -> Vec<Value> {
    let memory = Memory::default();
    let topology = (entry.build)(&Params::defaults(entry)).unwrap();
    let inputs = entry.inputs.iter().zip(inputs).map(|(topic, lines)| Input {
        topic: topic.name.into(),
        name: topic.name.into(),
        key: topic.key,
        value: topic.value,
        lines,
    });
    let output = &entry.outputs[0];
    let run = FileRun {
        topology: Arc::new(topology),
        application_id: entry.name.into(),
        settings: Settings::default(),
        inputs: inputs.collect(),
        outputs: vec![Output {
            topic: output.name.into(),
            key: output.key,
            value: output.value,
            lines: Box::new(memory.clone()),
        }],
        topics: Vec::new(),
        now: 1_700_000_000_000,
        linger_ms: 0,
    };
    run_files(run, &AtomicBool::new(false)).unwrap();
    let bytes = memory.0.lock().unwrap();
    bytes.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// The last value of each key, by the key's text.
pub fn last(records: &[Value]) -> std::collections::BTreeMap<String, Value> {
    records.iter().map(|r| (r["key"].to_string(), r["value"].clone())).collect()
}

/// An entry on the test driver: every record is processed and committed before the next.
pub struct Driven {
    entry: &'static Entry,
    pub driver: TestDriver,
}

impl Driven {
    pub fn new(entry: &'static Entry) -> Self {
        let mut config = Config::load(&[("commit.interval.ms".into(), "0".into())], [], None).unwrap();
        entry.settle(&mut config).unwrap();
        let options = DriverOptions {
            topics: entry.outputs.iter().map(|topic| topic.name.to_owned()).collect(),
            settings: worker_settings(&config, 1, false),
            ..DriverOptions::default()
        };
        let topology = (entry.build)(&Params::defaults(entry)).unwrap();
        Self { entry, driver: TestDriver::with(topology, options).unwrap() }
    }

    /// Pipes a record into the input at this place, and returns what it brings to the first output.
    pub fn pipe(&mut self, input: usize, key: Value, value: Value) -> Vec<(Value, Value)> {
        self.pipe_at(input, key, value, 0);
        self.read(0)
    }

    /// Pipes a record of this time into the input at this place.
    pub fn pipe_at(&mut self, input: usize, key: Value, value: Value, timestamp: i64) {
        let topic = &self.entry.inputs[input];
        let (key, value) = (topic.key.encode(&key).unwrap(), topic.value.encode(&value).unwrap());
        let record = RawRecord { offset: 0, timestamp, key, value, headers: Headers::new() };
        self.driver.pipe_raw(topic.name, record).unwrap();
    }

    /// What came to the output at this place since it was read last.
    pub fn read(&mut self, output: usize) -> Vec<(Value, Value)> {
        let output = &self.entry.outputs[output];
        let records = self.driver.read_raw(output.name).unwrap();
        let decode = |r: &RawRecord| (output.key.decode(r.key.as_ref()), output.value.decode(r.value.as_ref()));
        records.iter().map(decode).collect()
    }

    /// A header of each record that came to the output at this place since it was read last.
    pub fn read_header(&mut self, output: usize, name: &str) -> Vec<String> {
        let records = self.driver.read_raw(self.entry.outputs[output].name).unwrap();
        let text = |r: RawRecord| String::from_utf8_lossy(r.headers.last(name).flatten().unwrap()).into_owned();
        records.into_iter().map(text).collect()
    }

    #[allow(dead_code)]
    pub fn advance(&mut self, seconds: u64) {
        self.driver.advance(Duration::from_secs(seconds)).unwrap();
    }
}
