//! `millstream run`: settings, logs, signals, then a driver.

use super::{Catalogue, Failure, Params, args, failed, run_embedded, usage};
use crate::{
    config::Config,
    runtime::{Ending, LogFormat, Stop, logging},
    topology::Topology,
};
#[cfg(all(feature = "kafka", feature = "http"))]
use crate::{config::Origin, http};
#[cfg(feature = "kafka")]
use crate::{
    kafka,
    runtime::{Board, disk, watch, worker_settings},
};
use std::sync::Arc;

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
    on_kafka(&config, topology, &command, &stop)
}

/// Serves what the worker shows of itself. The default address may be taken by another worker of the machine: a warning.
#[cfg(all(feature = "kafka", feature = "http"))]
fn serve(config: &Config, board: &Board, topology: &Topology) -> Result<(), Failure> {
    let listen = config.text("http.listen").unwrap_or("off");
    if listen == "off" {
        return Ok(());
    }
    match http::serve(listen, board.clone(), topology.describe()) {
        Ok(address) => tracing::info!(%address, "serving /metrics, /health, /topology and /tasks"),
        Err(fault) if config.origin("http.listen") == Some(&Origin::Default) => tracing::warn!("{fault}"),
        Err(fault) => return Err(failed(fault)),
    }
    Ok(())
}

#[cfg(feature = "kafka")]
fn on_kafka(config: &Config, topology: Arc<Topology>, command: &args::Run, stop: &Stop) -> Result<Ending, Failure> {
    let threads = config.size("num.stream.threads");
    let (state, look) = disk(config);
    let board = Board::new(threads, config.int("thread.stall.timeout.ms")).with_disk(look);
    #[cfg(feature = "http")]
    serve(config, &board, &topology)?;
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
        calls: Arc::new(move |thread, call| calls.enter(thread, call)),
    };
    kafka::run(config, run).map_err(failed)?;
    let why = if stop.asked() { "stopped as asked" } else { "all input that was there at the start is processed" };
    tracing::info!("{why}; everything is committed");
    Ok(Ending::Done)
}

#[cfg(not(feature = "kafka"))]
fn on_kafka(_: &Config, _: Arc<Topology>, _: &args::Run, _: &Stop) -> Result<Ending, Failure> {
    Err(usage(
        crate::fault::Fault::stop("this build has no Kafka driver")
            .hint("run on files with --embedded, or build with it: cargo build --release"),
    ))
}
