//! What the demo prints.

use super::{Script, Verdict};
use crate::{
    fault::{Fault, Result},
    worker::Snapshot,
};
use std::io::Write;

pub struct Show<'a> {
    out: &'a mut dyn Write,
    sent: u64,
    /// Records processed by all lives of each replica, and by the one that goes on.
    processed: [Processed; 2],
}

#[derive(Clone, Copy, Default)]
struct Processed {
    former: u64,
    current: u64,
}

impl<'a> Show<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, sent: 0, processed: Default::default() }
    }

    pub fn opening(&mut self, script: &Script) -> Result<()> {
        self.print(&format!(
            "messages per channel in windows of 2 s: {} messages/s, 8 partitions, 2 replicas, an embedded log\n\
             replica-1 is killed after {} s and starts again after {} s; every window is checked at the end\n",
            script.rate,
            script.kill.as_secs(),
            script.restart.as_secs()
        ))
    }

    pub fn say(&mut self, text: &str) -> Result<()> {
        self.print(&format!("    >> {text}"))
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
        let line = format!(
            "{second:>3} s  in {rate:>6}/s  counted {counted:>6}/s  {:<34} {:<34}",
            replica(0, replicas[0].as_ref()),
            replica(1, replicas[1].as_ref())
        );
        self.print(line.trim_end())
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

    fn print(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}")
            .and_then(|()| self.out.flush())
            .map_err(|e| Fault::stop(format!("can't print: {e}")))
    }
}

fn replica(number: usize, snapshot: Option<&Snapshot>) -> String {
    let Some(snapshot) = snapshot else { return format!("replica-{number}: dead") };
    let owned = snapshot.tasks.iter().filter(|t| t.state != "suspended").count();
    let remaining: i64 = snapshot.tasks.iter().map(|t| t.restore_remaining.max(0)).sum();
    let state = match snapshot.state {
        "" => "starting",
        state => state,
    };
    let restored = if remaining > 0 {
        format!(", {remaining} to restore")
    } else if snapshot.restored > 0 {
        format!(", {} restored", snapshot.restored)
    } else {
        String::new()
    };
    format!("replica-{number}: {owned} partitions {state}{restored}")
}
