//! `millstream run`: settings, logs, signals, then a driver.

use super::{Catalogue, Failure, Params, args, failed, run_embedded, usage};
use crate::{
    config::Config,
    runtime::{Ending, LogFormat, Stop, logging},
    topology::Topology,
};
#[cfg(all(feature = "kafka", feature = "http"))]
use crate::{config::Origin, fault::Fault, http, runtime::Queries};
#[cfg(feature = "kafka")]
use crate::{
    kafka,
    runtime::{Board, disk, watch, worker_settings},
};
use std::sync::Arc;
#[cfg(all(feature = "kafka", feature = "http"))]
use std::time::Duration;

/// Runs a topology until it is stopped, fails, or has worked off its input.
pub fn run(catalogue: &Catalogue, mut config: Config, command: args::Run) -> Result<Ending, Failure> {
    let entry = catalogue.entry(&command.topology).map_err(usage)?;
    entry.settle(&mut config).map_err(failed)?;
    if command.embedded {
        // What ends a run on files is its last line; a worker alone in its group has nothing else to tell.
        config.default_to("log.level", "info,millstream::worker=off");
    }
    let format = if config.text("log.format") == Some("json") { LogFormat::Json } else { LogFormat::Text };
    logging(format, config.text("log.level").unwrap_or("info")).map_err(usage)?;
    let params = Params::new(entry, &config).map_err(usage)?;
    let topology = Arc::new((entry.build)(&params).map_err(failed)?);
    let stop = Stop::on_signals().map_err(failed)?;
    if command.embedded {
        let run = run_embedded::prepare(entry, &params, &config, topology, &command).map_err(usage)?;
        return run_embedded::run(run, &stop).map_err(failed);
    }
    on_kafka(config, topology, &command, &stop)
}

/// What is served of the process, and where queries wait for its stream threads.
#[cfg(feature = "kafka")]
type Desk = Option<Arc<dyn crate::worker::Desk>>;

/// Serves what the worker shows of itself. The default address may be taken by another worker of the machine: a warning.
/// From here on the settings say where others reach the queries.
#[cfg(all(feature = "kafka", feature = "http"))]
fn serve(config: &mut Config, board: &Board, topology: &Arc<Topology>) -> Result<Desk, Failure> {
    let listen = config.text("http.listen").unwrap_or("off");
    if listen == "off" {
        return Ok(None);
    }
    let queries = Queries::new(config.size("query.queue.max"), Some(Arc::new(kafka::owners(config))));
    let access = http::Access {
        queries: queries.clone(),
        topology: Arc::clone(topology),
        token: token(config).map_err(usage)?,
        timeout: Duration::from_millis(u64::try_from(config.int("query.timeout.ms")).unwrap_or(0)),
        server: config.text("application.server").map(str::to_owned),
    };
    match http::serve_with(listen, board.clone(), topology.describe(), Some(access)) {
        Ok(http::Served { address, server }) => {
            tracing::info!(%address, server, "serving /metrics, /health, /topology, /tasks and /stores");
            config.default_to("application.server", &server);
            Ok(Some(Arc::new(queries)))
        }
        Err(fault) if config.origin("http.listen") == Some(&Origin::Default) => {
            tracing::warn!("{fault}");
            Ok(None)
        }
        Err(fault) => Err(failed(fault)),
    }
}

#[cfg(all(feature = "kafka", not(feature = "http")))]
fn serve(_: &mut Config, _: &Board, _: &Arc<Topology>) -> Result<Desk, Failure> {
    Ok(None)
}

/// The token of queries, from the settings or from its file.
#[cfg(all(feature = "kafka", feature = "http"))]
fn token(config: &Config) -> crate::fault::Result<Option<String>> {
    let Some(file) = config.text("query.token.file") else {
        return Ok(config.text("query.token").map(str::to_owned));
    };
    let bad = |what: String| {
        Fault::stop(what).at(format!("query.token.file={file}")).hint("put the token there, on one line")
    };
    let token = std::fs::read_to_string(file).map_err(|e| bad(format!("the token can't be read: {e}")))?;
    match token.trim() {
        "" => Err(bad("the file of the token is empty".into())),
        token => Ok(Some(token.to_owned())),
    }
}

#[cfg(feature = "kafka")]
fn on_kafka(mut config: Config, topology: Arc<Topology>, command: &args::Run, stop: &Stop) -> Result<Ending, Failure> {
    let threads = config.size("num.stream.threads");
    let config = &mut config;
    let (state, look) = disk(config);
    let board = Board::new(threads, config.int("thread.stall.timeout.ms")).with_disk(look);
    let desk = serve(config, &board, &topology)?;
    watch(board.clone(), stop.clone(), config.int("shutdown.timeout.ms")).map_err(failed)?;
    let calls = board.clone();
    let (settings, accept_reset) = (config.clone(), command.accept_reset);
    let run = kafka::Run {
        topology,
        until_end: command.until_end,
        create_topics: command.create_topics,
        settings: Box::new(move |threads| worker_settings(&settings, threads, accept_reset)),
        state,
        stop: stop.flag(),
        publish: Arc::new(move |thread, snapshot| board.publish(thread, snapshot)),
        calls: Arc::new(move |thread, call, inside| calls.in_call(thread, call, inside)),
        desk,
    };
    kafka::run(config, run).map_err(failed)?;
    let why = if stop.asked() { "stopped as asked" } else { "all input that was there at the start is processed" };
    tracing::info!("{why}; everything is committed");
    Ok(Ending::Done)
}

#[cfg(not(feature = "kafka"))]
fn on_kafka(_: Config, _: Arc<Topology>, _: &args::Run, _: &Stop) -> Result<Ending, Failure> {
    Err(usage(
        crate::fault::Fault::stop("this build has no Kafka driver")
            .hint("run on files with --embedded, or build with it: cargo build --release"),
    ))
}
