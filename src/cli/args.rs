//! What may be written on the command line.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Stateful stream processing on Kafka, exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    after_help = "\
Settings come from the first of: --set, environment (MILLSTREAM_COMMIT_INTERVAL_MS), --config file, default.
Exit codes: 0 done or stopped as asked; 1 failed; 2 wrong command line or setting; 3 the demo's check found a difference;
70 a thread hung; 130 ended at once by a second signal."
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// TOML file of settings.
    #[arg(long, global = true, env = "MILLSTREAM_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets any setting; may be given many times.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a topology on Kafka, or on files with --embedded.
    Run(Run),
    /// Lists the topologies that run by name.
    List,
    /// Prints a topology as text, in Kafka Streams' form.
    Describe {
        /// Name of the topology.
        topology: String,
    },
    /// Shows two replicas on an embedded log; one is killed, every window is checked.
    Demo,
    /// Prints the settings in force and where each came from; secrets are masked.
    Config {
        /// With what each setting does.
        #[arg(long)]
        all: bool,
    },
    /// Lists, shows and puts back what lies in a dead-letter topic.
    Dlq {
        /// What to do with it.
        #[command(subcommand)]
        action: super::dlq::Action,
    },
    /// Asks the worker on this machine whether it is alive; exit code 0 or 1.
    Health,
}

#[derive(Debug, clap::Args)]
pub struct Run {
    /// Name of the topology.
    pub topology: String,
    /// Runs on a log in this process instead of Kafka, on the files given, until all input is committed.
    #[arg(long)]
    pub embedded: bool,
    /// A file of lines for an input topic (`-`: standard input): plain values, or {"key":…,"value":…,"timestamp":…,"headers":{…}}.
    #[arg(long, value_name = "TOPIC=FILE", requires = "embedded")]
    pub input: Vec<String>,
    /// A file for the records of an output topic (`-`: standard output), as JSON lines.
    #[arg(long, value_name = "TOPIC=FILE", requires = "embedded")]
    pub output: Vec<String>,
    /// Lets the clock of the run go on for so long after the last record, in milliseconds: for schedules by wall clock.
    #[arg(long, value_name = "MS", default_value_t = 0, requires = "embedded")]
    pub linger_ms: u64,
    /// Ends when all input that was there at the start is processed and committed.
    #[arg(long)]
    pub until_end: bool,
    /// Creates missing input and output topics.
    #[arg(long, conflicts_with = "embedded")]
    pub create_topics: bool,
    /// Goes on without committed offsets although a changelog holds data: the input is read again from its reset point.
    #[arg(long, conflicts_with = "embedded")]
    pub accept_reset: bool,
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
