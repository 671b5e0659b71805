//! `millstream run`: settings, logs, signals, then a driver.

use super::{Catalogue, Failure, Params, args, failed, run_embedded, usage};
use crate::{
    config::Config,
    fault::Fault,
    runtime::{Ending, LogFormat, Stop, logging},
};
use std::sync::Arc;

/// Runs a topology until it is stopped, fails, or has worked off its input.
pub fn run(catalogue: &Catalogue, mut config: Config, command: args::Run) -> Result<Ending, Failure> {
    let entry = catalogue.entry(&command.topology).map_err(usage)?;
    config.default_to("application.id", entry.name);
    let format = if config.text("log.format") == Some("json") { LogFormat::Json } else { LogFormat::Text };
    logging(format, config.text("log.level").unwrap_or("info")).map_err(usage)?;
    let params = Params::new(entry, &config).map_err(usage)?;
    let topology = Arc::new((entry.build)(&params).map_err(failed)?);
    let stop = Stop::on_signals().map_err(failed)?;
    if command.embedded {
        let run = run_embedded::prepare(entry, &params, &config, topology, &command).map_err(usage)?;
        return run_embedded::run(run, &stop).map_err(failed);
    }
    on_kafka(&config, topology, &command, stop)
}

fn on_kafka(
    _config: &Config,
    _topology: Arc<crate::topology::Topology>,
    _command: &args::Run,
    _stop: Stop,
) -> Result<Ending, Failure> {
    Err(usage(
        Fault::stop("this build has no Kafka driver")
            .hint("run on files with --embedded, or build with `--features kafka`"),
    ))
}
