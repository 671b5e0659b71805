//! `make systems`: every system on its sample, and a table of the results. Exit code 0 when all pass, 1 otherwise.
//! With names only those; with `--write` what they give becomes what is expected.

use std::process::ExitCode;
use topologies::systems::{check, data, systems, table};

fn main() -> ExitCode {
    let (flags, names): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    if let Some(flag) = flags.iter().find(|flag| *flag != "--write") {
        eprintln!("there is no flag {flag}: write `systems [--write] [NAME…]`");
        return ExitCode::from(2);
    }
    let catalogue = Box::leak(Box::new(topologies::catalogue()));
    if let Some(fault) = names.iter().find_map(|name| catalogue.entry(name).err()) {
        eprintln!("{fault}");
        return ExitCode::from(2);
    }
    let chosen = systems(catalogue).filter(|entry| names.is_empty() || names.iter().any(|name| name == entry.name));
    let outcomes: Vec<_> = chosen.map(|entry| check(entry, &data(), !flags.is_empty())).collect();
    print!("{}", table(&outcomes));
    if outcomes.iter().all(|outcome| outcome.wrong.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
