//! Counts the input again, with nothing of the library but the log, and compares every window with the output.

use super::{INPUT, OUTPUT, WINDOW_MS, lost, partitions};
use crate::{
    fault::{Fault, Result},
    log::{Isolation, Log},
};
use std::collections::BTreeMap;

/// What the check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Messages in the input.
    pub messages: u64,
    /// Windows in the input or in the output.
    pub windows: u64,
    /// Windows whose count in the output is another one, or missing, or not in the input at all.
    pub differ: u64,
}

impl Verdict {
    /// True when every window is right.
    pub fn exact(&self) -> bool {
        self.differ == 0 && self.windows > 0
    }
}

/// Windows by key bytes and start.
type Windows = BTreeMap<(Vec<u8>, i64), i64>;

pub fn check(log: &Log) -> Result<Verdict> {
    let (expected, messages) = expected(log)?;
    let actual = actual(log)?;
    let wrong = expected.iter().filter(|(window, count)| actual.get(*window) != Some(*count)).count();
    let foreign = actual.keys().filter(|window| !expected.contains_key(*window)).count();
    Ok(Verdict { messages, windows: (expected.len() + foreign) as u64, differ: (wrong + foreign) as u64 })
}

fn expected(log: &Log) -> Result<(Windows, u64)> {
    let (mut windows, mut messages) = (Windows::new(), 0);
    for partition in partitions(INPUT) {
        for record in log.read_all(&partition, Isolation::ReadCommitted).map_err(lost)? {
            let start = record.timestamp.div_euclid(WINDOW_MS) * WINDOW_MS;
            *windows.entry((record.key.unwrap_or_default().to_vec(), start)).or_default() += 1;
            messages += 1;
        }
    }
    Ok((windows, messages))
}

/// The last committed count of each window.
fn actual(log: &Log) -> Result<Windows> {
    let mut windows = Windows::new();
    for partition in partitions(OUTPUT) {
        for record in log.read_all(&partition, Isolation::ReadCommitted).map_err(lost)? {
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            let broken = || Fault::stop(format!("output record {} of {partition} is no count", record.offset));
            let (key, start) = key.split_last_chunk::<8>().ok_or_else(broken)?;
            let count = <[u8; 8]>::try_from(value.as_ref()).map_err(|_| broken())?;
            windows.insert((key.to_vec(), i64::from_be_bytes(*start)), i64::from_be_bytes(count));
        }
    }
    Ok(windows)
}
