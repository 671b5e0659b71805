//! Runs an entry on lines of text, through the same code as `millstream run --embedded`.

use millstream::{
    cli::{Entry, Params},
    embedded::{FileRun, Input, Output, run_files},
    worker::Settings,
};
use serde_json::Value;
use std::{
    io::{BufRead, Cursor, Write},
    sync::{Arc, Mutex, atomic::AtomicBool},
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
        now: 1_700_000_000_000,
    };
    run_files(run, &AtomicBool::new(false)).unwrap();
    let bytes = memory.0.lock().unwrap();
    bytes.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// The last value of each key, by the key's text.
pub fn last(records: &[Value]) -> std::collections::BTreeMap<String, Value> {
    records.iter().map(|r| (r["key"].to_string(), r["value"].clone())).collect()
}
