//! `millstream run --embedded`: opens the files of a run.

use super::{Entry, Params, Topic, args};
use crate::{
    config::Config,
    embedded::{FileRun, Input, Output, run_files, wall_clock},
    fault::{Fault, Result},
    runtime::{Ending, Stop, worker_settings},
    topology::Topology,
};
use flate2::read::MultiGzDecoder;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    sync::Arc,
};

/// Opens all files.
///
/// # Errors
/// When a topic isn't the topology's, or a file can't be opened.
pub fn prepare(
    entry: &Entry,
    params: &Params,
    config: &Config,
    topology: Arc<Topology>,
    command: &args::Run,
) -> Result<FileRun> {
    if config.is("ensure.explicit.internal.resource.naming") {
        topology.require_explicit_names()?;
    }
    if command.input.is_empty() {
        let name = entry.inputs.first().map_or("topic", |t| t.name);
        return Err(Fault::stop("no input").hint(format!("name a file: --input {name}=FILE (`-` is standard input)")));
    }
    let mut inputs = Vec::new();
    for text in &command.input {
        let (topic, file) = split("--input", text)?;
        let format = find(topic, params.inputs(entry), "reads")?;
        let (key, value, lines) = (format.key, format.value, open(file)?);
        inputs.push(Input { topic: topic.to_owned(), name: file.to_owned(), key, value, lines });
    }
    let mut outputs = Vec::new();
    for text in &command.output {
        let (topic, file) = split("--output", text)?;
        let format = find(topic, params.outputs(entry), "writes")?;
        let here = std::fs::canonicalize(file).ok();
        if here.is_some() && inputs.iter().any(|i: &Input| std::fs::canonicalize(&i.name).ok() == here) {
            return Err(Fault::stop("the output would overwrite an input").at(file).hint("name another file"));
        }
        outputs.push(Output { topic: topic.to_owned(), key: format.key, value: format.value, lines: create(file)? });
    }
    if let (true, Some(topic)) = (outputs.is_empty(), entry.outputs.first()) {
        tracing::warn!("no --output: nothing is printed; add for example --output {}=-", topic.name);
    }
    Ok(FileRun {
        topology,
        application_id: config.text("application.id").unwrap_or(entry.name).to_owned(),
        settings: worker_settings(config, 1, false),
        inputs,
        outputs,
        topics: params.outputs(entry).map(|(name, _)| name.to_owned()).collect(),
        now: wall_clock(),
        linger_ms: i64::try_from(command.linger_ms).unwrap_or(i64::MAX),
    })
}

/// Runs it.
///
/// # Errors
/// When a line is no record, or the worker fails.
pub fn run(run: FileRun, stop: &Stop) -> Result<Ending> {
    let summary = run_files(run, &stop.flag())?;
    if summary.stopped {
        tracing::warn!("stopped before the end of the input");
    }
    tracing::info!(read = summary.read, written = summary.written, "all input is committed");
    Ok(Ending::Done)
}

fn split<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    text.split_once('=')
        .ok_or_else(|| Fault::stop(format!("{flag} {text}: no `=`")).hint(format!("write {flag} topic=file")))
}

fn find<'a>(topic: &str, topics: impl Iterator<Item = (&'a str, &'a Topic)>, verb: &str) -> Result<&'a Topic> {
    let mut names = Vec::new();
    for (name, found) in topics {
        if name == topic {
            return Ok(found);
        }
        names.push(format!("`{name}`"));
    }
    Err(Fault::stop(format!("the topology {verb} no topic `{topic}`")).hint(format!("it {verb} {}", names.join(", "))))
}

fn open(file: &str) -> Result<Box<dyn BufRead>> {
    if file == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = File::open(file)
        .map_err(|e| Fault::stop(format!("can't read the input: {e}")).at(file).hint("check the path after --input"))?;
    Ok(if file.ends_with(".gz") {
        Box::new(BufReader::new(MultiGzDecoder::new(opened)))
    } else {
        Box::new(BufReader::new(opened))
    })
}

fn create(file: &str) -> Result<Box<dyn Write>> {
    if file == "-" {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let created = File::create(file).map_err(|e| {
        Fault::stop(format!("can't write the output: {e}")).at(file).hint("check the path after --output")
    })?;
    Ok(Box::new(BufWriter::new(created)))
}
