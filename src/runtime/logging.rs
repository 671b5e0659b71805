//! Log lines on standard error.

use crate::fault::{Fault, Result};
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt};

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. A second call in one process changes nothing.
///
/// # Errors
/// When `filter` is no log filter.
pub fn logging(format: LogFormat, filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Fault::stop(format!("setting `log.level`: `{filter}` is no log filter: {e}"))
            .hint("write a level (error, warn, info, debug, trace) or directives such as `info,millstream=debug`")
    })?;
    let colours = std::io::stderr().is_terminal();
    let lines = fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // An error means that logging is set up already.
    let _ = match format {
        LogFormat::Text => lines.with_target(false).compact().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
