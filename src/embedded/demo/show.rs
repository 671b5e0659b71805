//! What the demo prints.

use super::{OUTPUT, SESSION_MS, Script, Verdict, WINDOW_MS, lost, partitions};
use crate::{
    fault::{Fault, Result},
    log::{Isolation, Log},
    record::Offset,
    worker::Snapshot,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

/// Width of a replica's column.
const COLUMN: usize = 38;

pub struct Show<'a> {
    out: &'a mut dyn Write,
    sent: u64,
    /// Records processed by all lives of each replica, and by the one that goes on.
    processed: [Processed; 2],
    /// Changelog records restored by each replica, as told last.
    restored: [u64; 2],
    windows: BTreeSet<Vec<u8>>,
    read: BTreeMap<i32, Offset>,
}

#[derive(Clone, Copy, Default)]
struct Processed {
    former: u64,
    current: u64,
}

impl<'a> Show<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            sent: 0,
            processed: Default::default(),
            restored: [0; 2],
            windows: BTreeSet::new(),
            read: BTreeMap::new(),
        }
    }

    pub fn opening(&mut self, script: &Script) -> Result<()> {
        self.print(&format!(
            "Chat messages are counted per channel in windows of {} s: {} messages/s over 8 partitions, two replicas.\n\
             Kafka is played by a log in this process. Replica 1 is killed after {} s and starts again after {} s.\n\
             At the end every window is counted again from the input, and compared.\n\n\
             {:>4}  {:>6}  {:>9}  {:>7}    {:<COLUMN$}{}",
            WINDOW_MS / 1_000,
            script.rate,
            script.kill.as_secs(),
            script.restart.as_secs(),
            "time",
            "sent/s",
            "counted/s",
            "windows",
            "replica 0",
            "replica 1",
        ))
    }

    pub fn killed(&mut self) -> Result<()> {
        self.say("replica 1 is killed: no goodbye, its transaction stays open, what it had in memory is gone")?;
        self.say(&format!(
            "its partitions wait until its session ends, {} ms after its last heartbeat; then replica 0 takes them over",
            SESSION_MS
        ))
    }

    pub fn say(&mut self, text: &str) -> Result<()> {
        self.print(&format!("      >> {text}"))
    }

    /// Looks at what a read_committed reader of the output has seen since the last look.
    pub fn look(&mut self, log: &Log) -> Result<()> {
        for partition in partitions(OUTPUT) {
            let from = self.read.entry(partition.partition).or_insert(0);
            let fetched = log.fetch(&partition, *from, Isolation::ReadCommitted, usize::MAX).map_err(lost)?;
            *from = fetched.position;
            self.windows.extend(fetched.records.into_iter().filter_map(|r| Some(r.key?.to_vec())));
        }
        Ok(())
    }

    pub fn line(&mut self, second: u64, sent: u64, replicas: &[Option<Snapshot>; 2]) -> Result<()> {
        let rate = sent - self.sent;
        self.sent = sent;
        let before = self.total();
        for (processed, snapshot) in self.processed.iter_mut().zip(replicas) {
            let now = snapshot.as_ref().map_or(0, |s| s.counters.values().map(|c| c.processed).sum());
            if now < processed.current {
                processed.former += processed.current;
            }
            processed.current = now;
        }
        let counted = self.total().saturating_sub(before);
        let [zero, one] = [0, 1].map(|n| self.replica(n, replicas[n].as_ref()));
        let windows = self.windows.len();
        let line = format!("{second:>2} s  {rate:>6}  {counted:>9}  {windows:>7}    {zero:<COLUMN$}{one}");
        self.print(&line)
    }

    pub fn verdict(&mut self, verdict: &Verdict) -> Result<()> {
        let Verdict { messages, windows, differ } = verdict;
        let word = if verdict.exact() { "exactly once" } else { "WRONG" };
        self.print(&format!(
            "\nrecounted {messages} messages independently\nverdict: {word}, {windows} windows checked, {differ} differ"
        ))
    }

    fn total(&self) -> u64 {
        self.processed.iter().map(|p| p.former + p.current).sum()
    }

    /// A replica in a few words. What it restored is told once.
    fn replica(&mut self, number: usize, snapshot: Option<&Snapshot>) -> String {
        let Some(snapshot) = snapshot else {
            self.restored[number] = 0;
            return "dead".into();
        };
        let owned = snapshot.tasks.iter().filter(|t| t.state != "suspended").count();
        let remaining: i64 = snapshot.tasks.iter().map(|t| t.restore_remaining.max(0)).sum();
        let told = std::mem::replace(&mut self.restored[number], snapshot.restored);
        let news = snapshot.restored.saturating_sub(told);
        match snapshot.state {
            "running" if news > 0 => format!("{owned} partitions, {news} records restored"),
            "running" => format!("{owned} partitions"),
            "restoring" => format!("{owned} partitions, {remaining} records to restore"),
            "rebalancing" => "rebalancing".into(),
            "" | "starting" => "joins".into(),
            state => state.into(),
        }
    }

    fn print(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}")
            .and_then(|()| self.out.flush())
            .map_err(|e| Fault::stop(format!("can't print: {e}")))
    }
}
