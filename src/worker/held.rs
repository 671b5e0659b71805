//! A task and how far it has come.

use super::{OpenedStore, Progress, Request};
use crate::{record::Timestamp, task::Task};
use std::collections::BTreeMap;

/// How far a task has come. Only `Running` processes records.
///
/// ```text
/// Opening ──▶ Idle ──▶ Ranging ──▶ Restoring ──▶ Ready ──▶ Running
///               ▲          revoked: │                ▲ revoked: │
///               └───────────────────┘                └──────────┘
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its stores are being opened.
    Opening(Request),
    /// Its stores are open and may be behind.
    Idle,
    /// The ends of its changelogs are asked for. The time is when.
    Ranging(Request, Timestamp),
    /// Pieces on their way, by store.
    Restoring(BTreeMap<Request, usize>),
    /// Its stores are complete; nothing is fetched.
    Ready,
    /// It processes.
    Running,
}

/// A task of this member, owned or suspended.
pub(super) struct Held {
    pub task: Task,
    pub phase: Phase,
    /// True under the current assignment.
    pub owned: bool,
    /// When it was suspended.
    pub suspended_at: Timestamp,
    /// Stores that are open but not judged yet.
    pub opened: Option<Vec<OpenedStore>>,
    /// True until the first transaction that carries it (I7).
    pub first: bool,
    /// When the log said last how far its restore is.
    pub restore_told: Timestamp,
    /// The running restore, when there is anything to tell of it.
    pub restore: Option<Progress>,
}

impl Held {
    pub fn running(&self) -> bool {
        self.owned && self.phase == Phase::Running
    }
}

/// A task on its way out.
pub(super) struct Closing {
    pub task: Task,
    /// True when what is committed shall be made durable first; false when the partition was lost.
    pub clean: bool,
    /// Set while its stores are still being opened.
    pub opening: Option<Request>,
    /// True once the last persists have been started.
    pub frozen: bool,
    /// Set once the directory is given back.
    pub closed: Option<Request>,
}
