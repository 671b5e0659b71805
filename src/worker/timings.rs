//! What a stream thread spends its time on. The driver measures it: nothing in the worker reads a clock.

use crate::task::{COMMIT_BOUNDS_US, Latency, RECORD_BOUNDS_US};

/// A part of a stream thread's loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Takes what the client fetched, and serves the group.
    Fetch,
    /// Hands records to the queues of their tasks.
    Queue,
    /// Runs the operators.
    Process,
    /// Flushes record caches and makes changelog records, for a commit.
    Prepare,
    /// Hands records to the producer; waits while its queue is full.
    Send,
    /// Adds the offsets to the transaction: exactly once beside the stream thread.
    Offsets,
    /// Waits until the brokers have the records, and ends the transaction: exactly once beside the stream thread.
    End,
    /// Moves what is committed from the overlays to the tables.
    Apply,
    /// Aborts transactions and replaces producers.
    Recover,
    /// Answers queries, and tells listeners of changes.
    Query,
    /// Waits for something to do.
    Idle,
}

impl Stage {
    /// Every stage, in declaration order.
    pub const ALL: [Self; 11] = [
        Self::Fetch,
        Self::Queue,
        Self::Process,
        Self::Prepare,
        Self::Send,
        Self::Offsets,
        Self::End,
        Self::Apply,
        Self::Recover,
        Self::Query,
        Self::Idle,
    ];
    /// Stages that each record goes through.
    pub const RECORD: [Self; 3] = [Self::Fetch, Self::Queue, Self::Process];
    /// Stages that each commit goes through.
    pub const COMMIT: [Self; 5] = [Self::Prepare, Self::Send, Self::Offsets, Self::End, Self::Apply];

    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Queue => "queue",
            Self::Process => "process",
            Self::Prepare => "prepare",
            Self::Send => "send",
            Self::Offsets => "offsets",
            Self::End => "end",
            Self::Apply => "apply",
            Self::Recover => "recover",
            Self::Query => "query",
            Self::Idle => "idle",
        }
    }
}

/// Times of a stream thread by stage; they only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timings {
    total_us: [i64; Stage::ALL.len()],
    latency: [Latency; Stage::ALL.len()],
    /// Time of sends since the last commit began.
    commit_send_us: i64,
}

impl Default for Timings {
    fn default() -> Self {
        let latency =
            |stage| Latency::new(if Stage::RECORD.contains(&stage) { RECORD_BOUNDS_US } else { COMMIT_BOUNDS_US });
        Self { total_us: Default::default(), latency: Stage::ALL.map(latency), commit_send_us: 0 }
    }
}

impl Timings {
    /// Time spent in a stage on this many records together. Each of them counts with the mean: two looks at a clock
    /// for a batch, none for a record.
    pub fn records(&mut self, stage: Stage, us: i64, records: u64) {
        self.total_us[stage as usize] += us;
        self.latency[stage as usize].observe_mean(us, records);
    }

    /// Time spent in a stage.
    pub fn spent(&mut self, stage: Stage, us: i64) {
        self.total_us[stage as usize] += us;
        if stage == Stage::Send {
            self.commit_send_us += us;
        }
    }

    /// A commit went through a stage in this time.
    pub fn commit(&mut self, stage: Stage, us: i64) {
        self.total_us[stage as usize] += us;
        self.latency[stage as usize].observe(us, 1);
    }

    /// A commit went through a stage in this time on another thread.
    pub fn beside(&mut self, stage: Stage, us: i64) {
        self.latency[stage as usize].observe(us, 1);
    }

    /// A commit begins, prepared in this time: all that was sent since the last one belongs to it.
    pub fn commit_begins(&mut self, prepared_us: i64) {
        self.latency[Stage::Prepare as usize].observe(prepared_us, 1);
        let us = std::mem::take(&mut self.commit_send_us);
        self.latency[Stage::Send as usize].observe(us, 1);
    }

    /// All time spent in a stage, in microseconds.
    pub fn total_us(&self, stage: Stage) -> i64 {
        self.total_us[stage as usize]
    }

    /// Times of single records or commits in a stage.
    pub fn latency(&self, stage: Stage) -> &Latency {
        &self.latency[stage as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_in_declaration_order() {
        assert!(Stage::ALL.iter().enumerate().all(|(at, stage)| *stage as usize == at));
    }

    #[test]
    fn a_batch_is_shared_out_and_sends_of_a_commit_are_added_up() {
        let mut timings = Timings::default();
        timings.records(Stage::Process, 1_000, 500);
        timings.records(Stage::Process, 7, 0);
        assert_eq!(timings.latency(Stage::Process).count(), 500);
        assert_eq!(timings.latency(Stage::Process).buckets[1], 500, "2 us each");
        assert_eq!(timings.total_us(Stage::Process), 1_007);
        timings.spent(Stage::Send, 30);
        timings.spent(Stage::Send, 40);
        timings.commit_begins(5);
        timings.commit_begins(6);
        assert_eq!((timings.latency(Stage::Send).count(), timings.latency(Stage::Send).sum_us), (2, 70));
        assert_eq!(timings.total_us(Stage::Send), 70);
    }
}
