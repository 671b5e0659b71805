//! An order on its way through the steps, and back: a state machine without streams.

use millstream::record::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a service may take to answer.
const TIMEOUT_MS: i64 = 300_000;
/// How long an order that has ended is remembered, for replies and orders that come again.
const REMEMBER_MS: i64 = 86_400_000;

/// An order, keyed by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) customer: String,
    pub(super) sku: String,
    pub(super) cents: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    Reserve,
    Pay,
    Ship,
}

pub(super) const STEPS: [Step; 3] = [Step::Reserve, Step::Pay, Step::Ship];

/// What a service is told: to do its step for the order, or to undo it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Command {
    pub(super) step: Step,
    pub(super) undo: bool,
    pub(super) order: Order,
}

/// What a service answers, with the reason when it could not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) step: Step,
    pub(super) undo: bool,
    pub(super) ok: bool,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(super) enum Status {
    Created,
    Confirmed,
    Cancelled { reason: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    Doing(Step),
    Undoing(Step),
    Ended,
}

/// An order on its way; `due` is the wall clock at which it is looked after, in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Saga {
    pub(super) order: Order,
    pub(super) stage: Stage,
    pub(super) reason: String,
    pub(super) due: Timestamp,
}

pub(super) enum Input {
    Order(Order),
    Reply(Reply),
}

pub(super) enum Output {
    Command(Command),
    Status(Status),
}

impl Saga {
    pub(super) fn command(&mut self, step: Step, undo: bool, now: Timestamp) -> Output {
        self.stage = if undo { Stage::Undoing(step) } else { Stage::Doing(step) };
        self.due = now + TIMEOUT_MS;
        Output::Command(Command { step, undo, order: self.order.clone() })
    }

    pub(super) fn end(&mut self, status: Status, now: Timestamp) -> Output {
        self.stage = Stage::Ended;
        self.due = now + REMEMBER_MS;
        Output::Status(status)
    }

    /// Undoes the step before `step`; before the first one the order is cancelled.
    pub(super) fn back(&mut self, step: Step, now: Timestamp) -> Output {
        match STEPS.iter().rev().skip_while(|s| **s != step).nth(1) {
            Some(before) => self.command(*before, true, now),
            None => self.end(Status::Cancelled { reason: self.reason.clone() }, now),
        }
    }

    /// What a reply leads to; nothing when it isn't the one that is waited for, or undoing has failed.
    pub(super) fn replied(&mut self, reply: &Reply, now: Timestamp) -> Option<Output> {
        match self.stage {
            Stage::Doing(step) if reply.step == step && !reply.undo && reply.ok => {
                Some(match STEPS.iter().skip_while(|s| **s != step).nth(1) {
                    Some(next) => self.command(*next, false, now),
                    None => self.end(Status::Confirmed, now),
                })
            }
            Stage::Doing(step) if reply.step == step && !reply.undo => {
                self.reason = reply.reason.clone().unwrap_or_else(|| format!("{step:?} failed"));
                Some(self.back(step, now))
            }
            Stage::Undoing(step) if reply.step == step && reply.undo && reply.ok => Some(self.back(step, now)),
            _ => None,
        }
    }

    /// What time leads to; nothing when the saga may be forgotten.
    pub(super) fn timed_out(&mut self, now: Timestamp) -> Option<Output> {
        match self.stage {
            Stage::Ended => None,
            Stage::Undoing(step) => Some(self.command(step, true, now)),
            Stage::Doing(step) => {
                self.reason = format!("{step:?} timed out");
                Some(self.command(step, true, now))
            }
        }
    }
}
