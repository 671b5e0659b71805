//! The commands that only print.

use super::Catalogue;
use crate::{
    config::{Config, PREFIXES, setting},
    fault::{Fault, Result},
    runtime::Ending,
};
use std::io::{ErrorKind, Write};

/// Prints a text. A reader that has gone away (`| head`) is no failure.
pub fn text(text: &str, out: &mut dyn Write) -> Result<Ending> {
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{newline}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Fault::stop(format!("can't print: {e}"))),
        _ => Ok(Ending::Done),
    }
}

/// `millstream list`
pub fn list(catalogue: &Catalogue, out: &mut dyn Write) -> Result<Ending> {
    let width = catalogue.entries().iter().map(|e| e.name.len()).max().unwrap_or(0);
    let names = |topics: &[super::Topic]| topics.iter().map(|t| t.name).collect::<Vec<_>>().join(", ");
    let lines: String = catalogue
        .entries()
        .iter()
        .map(|e| format!("{:width$}  {} ({} -> {})\n", e.name, e.about, names(e.inputs), names(e.outputs)))
        .collect();
    text(&lines, out)
}

/// `millstream config`
pub fn config(config: &Config, all: bool, out: &mut dyn Write) -> Result<Ending> {
    let effective = config.effective();
    let width = effective.iter().map(|e| e.name.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for e in effective {
        let value = if e.value.is_empty() { "(not set)" } else { &e.value };
        lines += &format!("{:width$}  {value}  [{}]\n", e.name, e.origin);
        if all && let Some(setting) = setting(&e.name) {
            lines += &format!("{:width$}    {} ({})\n", "", setting.doc, setting.kind.values());
        }
    }
    if all {
        lines += "\nPassed on as they are:\n";
        for (prefix, what) in PREFIXES {
            lines += &format!("{prefix:width$}  {what}\n");
        }
    }
    text(&lines, out)
}
