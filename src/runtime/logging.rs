//! Log lines on standard error.

use crate::fault::{Fault, Result};
use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
};
use tracing_subscriber::{
    EnvFilter, fmt,
    fmt::{
        format::Writer,
        time::{FormatTime, SystemTime},
    },
};

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// True once log lines are JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging; each line names its thread. A second call in one process changes nothing.
///
/// # Errors
/// When `filter` is no log filter.
pub fn logging(format: LogFormat, filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Fault::stop(format!("setting `log.level`: `{filter}` is no log filter: {e}"))
            .hint("write a level (error, warn, info, debug, trace) or directives such as `info,millstream=debug`")
    })?;
    let colours = std::io::stderr().is_terminal();
    let lines = fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).with_thread_names(true);
    // An error means that logging is set up already.
    let _ = match format {
        LogFormat::Text => lines.with_target(false).compact().try_init(),
        LogFormat::Json => {
            JSON.store(true, Ordering::Relaxed);
            // A panic's message would be the one thing on standard error that is no JSON.
            std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
            lines.json().flatten_event(true).with_current_span(false).try_init()
        }
    };
    Ok(())
}

/// Says on standard error why the process ends: a line for people, or one like the log lines where these are JSON. It
/// goes past the log filter.
pub fn report(fault: &Fault) {
    if JSON.load(Ordering::Relaxed) {
        let mut now = String::new();
        // Nothing can fail that writes to a text.
        let _ = SystemTime.format_time(&mut Writer::new(&mut now));
        let thread = std::thread::current().name().unwrap_or("main").to_owned();
        let message = fault.to_string();
        let line = serde_json::json!({ "timestamp": now, "level": "ERROR", "message": message, "threadName": thread });
        eprintln!("{line}");
    } else {
        eprintln!("millstream: {fault}");
    }
}
