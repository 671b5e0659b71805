//! Where the one transaction of a worker stands, and what may go on beside a commit (I4).
//!
//! ```text
//!   time ─────────────▶
//!   overlay N     ▒▒▒▒▒▒▒▒▒│ frozen: commit under way │ outcome
//!   overlay N+1            │▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│▒▒▒▒▒▒▒▒▒▒▒│ frozen …
//!                          │ nothing is sent          │ sent from here on, or dropped with N
//! ```

use super::{GroupMetadata, Planted, Request, Worker};
use crate::{
    fault::Fault,
    record::{TaskId, Timestamp},
    task::Committed,
};

/// A task's part of a transaction.
pub(super) struct Part {
    pub task: TaskId,
    pub offsets: Vec<Committed>,
}

/// A transaction whose commit was sent.
pub(super) struct Sent {
    pub parts: Vec<Part>,
    /// Identity it was sent under.
    pub group: GroupMetadata,
    /// Wall clock before the commit was sent.
    pub at: Timestamp,
    /// True when all input was processed at some time since the commit before.
    pub kept_up: bool,
    /// Why what was processed since must go, whatever the outcome.
    pub next: Option<Cause>,
}

impl Sent {
    /// What was processed since must go; the first cause counts, unless one that does not try again comes after it.
    pub fn drop_next(&mut self, cause: Cause) {
        if matches!(self.next, None | Some(Cause::Retry(_))) {
            self.next = Some(cause);
        }
    }

    /// Why all is dropped, of what was sent and of what was processed since, when what was sent is not committed.
    pub fn not_committed(self, fault: Fault) -> Cause {
        match self.next {
            None | Some(Cause::Retry(_)) => Cause::Retry(fault),
            Some(graver) => graver,
        }
    }
}

/// Why a transaction is aborted.
pub(super) enum Cause {
    /// Try again from the last commit.
    Retry(Fault),
    /// The assignment is gone.
    Lost,
    /// The producer is fenced: the assignment is as good as gone, and a new producer is needed.
    Fenced,
    /// The worker ends.
    Stop,
}

/// Where the transaction stands.
pub(super) enum Transaction {
    Idle,
    Open,
    Committing(Request, Sent),
    Aborting(Request, Cause),
    Replacing(Request, Option<Sent>),
    Verifying(Request, Sent),
    /// At least once: offsets to be committed again when the pause is over.
    Repeating(Sent),
}

impl Transaction {
    /// True when no outcome is awaited: a commit may be sent, partitions may be given up.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Idle | Self::Open)
    }

    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

impl Worker {
    /// True when records may be processed: no outcome is awaited, or only that of a commit beside which there is room for
    /// what is processed until then. None of it is sent before the outcome (I4).
    pub(super) fn accepts_work(&self) -> bool {
        match &self.transaction {
            Transaction::Idle | Transaction::Open => true,
            Transaction::Committing(_, sent) => sent.next.is_none() && !self.is_full() && !self.outbox_is_full(),
            _ => false,
        }
    }

    /// True when something was processed since the last commit was sent.
    pub(super) fn has_next(&self) -> bool {
        self.tasks.values().any(|h| h.running() && h.task.touched)
    }

    /// True when uncommitted rows, or rows for sinks, are at their limit.
    pub(super) fn is_full(&self) -> bool {
        let overlay: usize = self.tasks.values().map(|h| h.task.replica.overlay_bytes()).sum();
        overlay > self.settings.overlay_bytes_max || self.outbox.rows.bytes() > self.settings.sink_bytes_max
    }

    /// True when a part of the outbox is to be sent.
    pub(super) fn outbox_is_full(&self) -> bool {
        self.outbox.bytes() > self.settings.outbox_bytes_max
    }

    /// True when what is processed belongs to a transaction that may be written to.
    pub(super) fn may_send(&self) -> bool {
        self.transaction.is_settled() || self.settings.planted == Planted::NextSentEarly
    }
}
