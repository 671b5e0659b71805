//! The command line: [`main`] is all that a worker program calls.
//!
//! Exit codes: 0 done or stopped as asked, 1 failed, 2 wrong command line or setting, 3 the demo's check found a
//! difference, 70 a thread hung, 130 ended at once by a second signal.

mod args;
mod catalogue;
mod demo;
mod dlq;
mod health;
mod run;
mod run_embedded;
mod show;

pub use crate::embedded::Format;
pub use catalogue::{Catalogue, Entry, Params, Topic};

use crate::{
    config::Config,
    fault::{Fault, Result},
    runtime::{Ending, report},
};
use args::{Args, Command};
use clap::Parser;
use std::{io, process::ExitCode};

/// Runs the command line of this process with these topologies.
pub fn main(catalogue: Catalogue) -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version also come this way, and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { Ending::Usage } else { Ending::Done }.into();
        }
    };
    match dispatch(&catalogue, args) {
        Ok(ending) => ending.into(),
        Err((ending, fault)) => {
            report(&fault);
            ending.into()
        }
    }
}

/// A fault with the ending that it means.
type Failure = (Ending, Fault);

fn usage(fault: Fault) -> Failure {
    (Ending::Usage, fault)
}

fn failed(fault: Fault) -> Failure {
    (Ending::Failed, fault)
}

fn dispatch(catalogue: &Catalogue, args: Args) -> Result<Ending, Failure> {
    let mut out = io::stdout().lock();
    let config = load(&args).map_err(usage)?;
    match args.command {
        Command::Run(command) => {
            drop(out);
            run::run(catalogue, config, command)
        }
        Command::List => show::list(catalogue, &mut out).map_err(failed),
        Command::Describe { topology } => {
            let entry = catalogue.entry(&topology).map_err(usage)?;
            let topology = (entry.build)(&Params::new(entry, &config).map_err(usage)?).map_err(failed)?;
            show::text(&topology.describe(), &mut out).map_err(failed)
        }
        Command::Config { all } => show::config(&config, all, &mut out).map_err(failed),
        Command::Dlq { action } => dlq::run(&config, action, &mut out),
        Command::Health => health::ask(&config).map(|()| Ending::Done).map_err(failed),
        Command::Demo => demo::run(&mut out).map_err(failed),
    }
}

fn load(args: &Args) -> Result<Config> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
        None => Err(Fault::stop(format!("--set {text}: no `=`")).hint("write --set key=value")),
    };
    let flags = args.set.iter().map(pair).collect::<Result<Vec<_>>>()?;
    let file = match &args.config {
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|e| Fault::stop(format!("can't read the file of settings: {e}")).at(name.clone()))
                .map_err(|f| f.hint("check --config and MILLSTREAM_CONFIG"))?;
            Some((name, text))
        }
        None => None,
    };
    let environment = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    let config = Config::load(&flags, environment, file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())))?;
    #[cfg(feature = "kafka")]
    crate::kafka::check(&config)?;
    Ok(config)
}
