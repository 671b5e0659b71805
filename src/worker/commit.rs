//! The transaction: one at a time, with the five outcomes of a commit.
//!
//! ```text
//!            first send              interval, bytes, revocation, request
//!   Idle ──────────────▶ Open ──────────────────────────────────────────▶ Committing
//!    ▲                    │ fault                                            │
//!    │    AbortEnded      ▼                              Aborted, Lost,      │ Committed ──▶ Idle
//!    ├──────────────── Aborting ◀────────────────────────────────────────────┤
//!    │                                                   Fenced              │
//!    ├──────────────── Replacing ◀───────────────────────────────────────────┤
//!    │   stamps decide    ▼                              Unknown             │
//!    └──────────────── Verifying ◀──── Replacing ◀───────────────────────────┘
//! ```
//!
//! At least once an unknown outcome is not found out but made certain: output is acknowledged by then, so the same
//! offsets are committed again (`Repeating`) until there is an answer. To start again from the last commit would be
//! wrong: the offsets may be committed, and older rows would be written over newer ones whose input never comes back.

use super::{
    CommitOffset, Effect, Guarantee, Outcome, Planted, Request, Stable, Worker,
    held::Phase,
    transaction::{Cause, Part, Sent, Transaction},
};
use crate::{
    fault::{Fault, Remedy},
    record::Timestamp,
    task::{Committed, Stamp, Task},
};

impl Worker {
    /// True when a commit now would change something.
    pub(super) fn something_to_commit(&self) -> bool {
        self.tasks.values().any(|h| h.running() && h.task.wants_commit())
    }

    pub(super) fn commit_due(&self, now: Timestamp) -> bool {
        let member = self.group.is_some() && self.giving_up.is_none() && self.stopping.is_none();
        if !self.transaction.is_settled() || !member {
            return false;
        }
        if now - self.interval_from >= self.settings.commit_interval_ms {
            return self.something_to_commit();
        }
        self.is_full() || self.tasks.values().any(|h| h.running() && h.task.commit_requested && h.task.wants_commit())
    }

    pub(super) fn send_outbox(&mut self) {
        if self.outbox.is_empty() || !self.may_send() {
            return;
        }
        if let Transaction::Idle = self.transaction {
            self.transaction = Transaction::Open;
            self.effects.push_back(Effect::Begin);
        }
        self.effects.push_back(Effect::Send { records: self.outbox.take() });
    }

    /// Flushes caches, drains overlays, sends the rest and commits: every task that took part gives the offsets of all
    /// its partitions (I7), and a new task does in any case.
    pub(super) fn start_commit(&mut self, now: Timestamp) {
        let Some(group) = self.group.clone() else { return };
        for id in self.running_tasks() {
            if let Err(fault) = self.with_task(now, id, Task::flush) {
                return self.task_fault(now, id, fault);
            }
        }
        self.keep_old_records(now);
        self.commits += 1;
        let stamp = Stamp { session: self.settings.session, commit: self.commits };
        let fetched = self.settings.planted == Planted::FetchedOffsets;
        let mut parts = Vec::new();
        for (id, held) in self.tasks.iter().filter(|(_, h)| h.running()) {
            if !held.task.wants_commit() && !held.first {
                continue;
            }
            match held.task.offsets(stamp, fetched) {
                Ok(part) => parts.extend(part.map(|offsets| Part { task: *id, offsets })),
                Err(fault) => {
                    let id = *id;
                    return self.task_fault(now, id, fault);
                }
            }
        }
        if parts.is_empty() {
            return;
        }
        let mut offsets = Vec::new();
        for part in &parts {
            let held = self.tasks.get_mut(&part.task).expect("it gave its part just now");
            let punctuated_only = held.task.touched && !held.task.processed;
            if !(self.settings.planted == Planted::PunctuationWithoutOffsets && punctuated_only) {
                offsets.extend(part.offsets.iter().map(to_commit));
            }
            let (records, bytes) = (self.outbox.len(), self.outbox.bytes());
            held.task.replica.drain(&mut self.outbox, part.task.partition);
            held.task.counters.logged += (self.outbox.len() - records) as u64;
            held.task.counters.logged_bytes += (self.outbox.bytes() - bytes) as u64;
            held.task.commit_sent();
        }
        let kept_up = std::mem::take(&mut self.keeps_up);
        let sent = Sent { parts, group: group.clone(), at: now, kept_up, next: None };
        let batches = self.outbox.rows.take();
        let early = self.settings.planted != Planted::SinkAfterCommit;
        if early && !batches.is_empty() {
            self.effects.push_back(Effect::Deliver { batches: batches.clone() });
        }
        self.send_outbox();
        if !self.transaction.is_open() {
            self.effects.push_back(Effect::Begin);
        }
        let request = self.request();
        self.effects.push_back(Effect::Commit { request, offsets, group });
        if !early && !batches.is_empty() {
            self.effects.push_back(Effect::Deliver { batches });
        }
        self.transaction = Transaction::Committing(request, sent);
    }

    pub(super) fn commit_ended(&mut self, now: Timestamp, request: Request, outcome: Outcome) {
        match std::mem::replace(&mut self.transaction, Transaction::Idle) {
            Transaction::Committing(r, sent) if r == request => {
                if outcome != Outcome::Committed && self.has_next() {
                    self.totals.refused_beside += 1;
                }
                self.outcome(now, sent, outcome);
            }
            other => self.transaction = other,
        }
    }

    fn outcome(&mut self, now: Timestamp, sent: Sent, outcome: Outcome) {
        match outcome {
            Outcome::Committed => self.commit_done(now, sent),
            Outcome::Aborted(fault) if fault.remedy == Remedy::Stop => {
                self.transaction = Transaction::Open;
                self.fail(now, fault);
            }
            Outcome::Aborted(fault) if self.settings.planted == Planted::NextKept && self.has_next() => {
                self.keep_next(now, fault);
            }
            Outcome::Aborted(fault) => self.send_abort(sent.not_committed(fault)),
            Outcome::Lost => self.send_abort(Cause::Lost),
            Outcome::Fenced => self.abort_done(now, Cause::Fenced),
            Outcome::Unknown if self.settings.planted == Planted::UnknownIsAborted => {
                self.abort_done(now, Cause::Retry(Fault::retry("planted: an unknown outcome taken for an abort")));
                self.replace_producer(None);
            }
            Outcome::Unknown if self.settings.guarantee == Guarantee::AtLeastOnce => self.repeat_later(now, sent),
            Outcome::Unknown => self.replace_producer(Some(sent)),
        }
    }

    fn repeat_later(&mut self, now: Timestamp, sent: Sent) {
        let fault = Fault::retry("the answer to an offset commit did not come");
        if self.pause(now, &fault) {
            self.transaction = Transaction::Repeating(sent);
        }
    }

    /// Commits offsets again whose pause is over.
    pub(super) fn repeat_commit(&mut self, now: Timestamp) {
        if now < self.backoff_until {
            return;
        }
        match std::mem::replace(&mut self.transaction, Transaction::Idle) {
            Transaction::Repeating(sent) => {
                let offsets = sent.parts.iter().flat_map(|part| &part.offsets).map(to_commit).collect();
                let request = self.request();
                self.effects.push_back(Effect::Commit { request, offsets, group: sent.group.clone() });
                self.transaction = Transaction::Committing(request, sent);
            }
            other => self.transaction = other,
        }
    }

    /// Counts a failure and backs off. False when there were too many in a row: then the worker ends.
    fn pause(&mut self, now: Timestamp, fault: &Fault) -> bool {
        self.aborts += 1;
        tracing::warn!(%fault, aborts = self.aborts, "the transaction is aborted or unanswered");
        if self.aborts > self.settings.aborts_max {
            let fault = Fault::stop(format!("{} transactions in a row failed: {fault}", self.aborts))
                .hint("see transaction.aborts.max, and the broker's log");
            self.fail(now, fault);
            return false;
        }
        self.backoff_until = now + (self.settings.abort_backoff_ms << (self.aborts - 1).min(6));
        true
    }

    fn commit_done(&mut self, now: Timestamp, sent: Sent) {
        self.transaction = Transaction::Idle;
        self.last_commit = now;
        // Who keeps up commits at the interval's pace, but works for half of an interval at least. A backlog is better
        // worked off in large transactions, and a commit takes a good part of a short interval.
        self.interval_from = if sent.kept_up { sent.at.max(now - self.settings.commit_interval_ms / 2) } else { now };
        self.aborts = 0;
        self.backoff_until = 0;
        self.totals.commit_done(now - sent.at);
        for part in sent.parts {
            self.note_changes(part.task);
            if let Some(held) = self.tasks.get_mut(&part.task) {
                held.task.commit_done(part.offsets, sent.at);
                held.task.visible(now);
                held.first = false;
            }
        }
        if let Some(cause) = sent.next {
            self.abort_done(now, cause);
        }
    }

    /// Aborts what is open and then does what the cause asks for. While an outcome is awaited that is what was processed
    /// since, and it goes once the outcome is known.
    pub(super) fn abort(&mut self, now: Timestamp, cause: Cause) {
        self.outbox.discard();
        match &mut self.transaction {
            Transaction::Idle => self.abort_done(now, cause),
            Transaction::Open => self.send_abort(cause),
            Transaction::Aborting(_, waiting) if matches!(waiting, Cause::Retry(_)) => *waiting = cause,
            Transaction::Committing(_, sent)
            | Transaction::Replacing(_, Some(sent))
            | Transaction::Verifying(_, sent)
            | Transaction::Repeating(sent) => sent.drop_next(cause),
            Transaction::Replacing(_, None) if matches!(cause, Cause::Lost) => self.start_over(),
            _ => {}
        }
    }

    fn send_abort(&mut self, cause: Cause) {
        let request = self.request();
        self.effects.push_back(Effect::Abort { request });
        self.transaction = Transaction::Aborting(request, cause);
    }

    pub(super) fn abort_ended(&mut self, now: Timestamp, request: Request, result: Result<(), Fault>) {
        match std::mem::replace(&mut self.transaction, Transaction::Idle) {
            Transaction::Aborting(r, cause) if r == request => {
                self.abort_done(now, cause);
                if let Err(fault) = result {
                    tracing::warn!(%fault, "the producer can't abort and is replaced");
                    if self.transaction.is_settled() {
                        self.replace_producer(None);
                    }
                }
            }
            other => self.transaction = other,
        }
    }

    pub(super) fn send_failed(&mut self, now: Timestamp, fault: Fault) {
        let next = self.withdraw_commit();
        match next {
            Some(cause @ Cause::Lost) if fault.remedy != Remedy::Stop => self.abort(now, cause),
            _ if self.transaction.is_settled() => self.fault(now, fault),
            _ => {}
        }
    }

    /// Takes a commit back that the driver has not seen yet: what had to precede it has failed. Gives why what was
    /// processed since had to go.
    fn withdraw_commit(&mut self) -> Option<Cause> {
        let Transaction::Committing(request, _) = self.transaction else { return None };
        if !self.effects.iter().any(|e| matches!(e, Effect::Commit { request: r, .. } if *r == request)) {
            return None;
        }
        let begun = !self.effects.iter().any(|e| matches!(e, Effect::Begin));
        self.effects.retain(|e| {
            !matches!(
                e,
                Effect::KeepForever { .. }
                    | Effect::Deliver { .. }
                    | Effect::Begin
                    | Effect::Send { .. }
                    | Effect::Commit { .. }
            )
        });
        self.kept_forever.clear();
        let settled = if begun { Transaction::Open } else { Transaction::Idle };
        match std::mem::replace(&mut self.transaction, settled) {
            Transaction::Committing(_, sent) => sent.next,
            _ => None,
        }
    }

    /// Nothing of the transaction is visible: restart or close the tasks.
    fn abort_done(&mut self, now: Timestamp, cause: Cause) {
        self.transaction = Transaction::Idle;
        self.outbox.discard();
        match &cause {
            Cause::Fenced => self.totals.fenced += 1,
            _ => self.totals.aborted += 1,
        }
        match cause {
            Cause::Retry(fault) => {
                if self.pause(now, &fault) {
                    self.restart_running(now);
                }
            }
            Cause::Lost => self.start_over(),
            Cause::Fenced => {
                self.start_over();
                self.replace_producer(None);
            }
            Cause::Stop => {
                for held in self.tasks.values_mut() {
                    held.task.stop();
                    if held.phase == Phase::Running {
                        held.phase = Phase::Ready;
                    }
                }
            }
        }
    }

    /// Closes all tasks without writing and sees to it that an assignment follows, also when the group knows of nothing.
    fn start_over(&mut self) {
        self.close_all_lost();
        if self.giving_up.is_none() && self.stopping.is_none() {
            self.effects.push_back(Effect::Rejoin);
        }
    }

    /// Planted bug: tasks that have processed more since the aborted commit was sent go on from there.
    fn keep_next(&mut self, now: Timestamp, fault: Fault) {
        let request = self.request();
        self.effects.push_back(Effect::Abort { request });
        tracing::warn!(%fault, "planted: only the first overlay is dropped");
        self.transaction = Transaction::Idle;
        for id in self.running_tasks() {
            let task = &mut self.tasks.get_mut(&id).expect("it runs").task;
            if task.touched {
                task.replica.slots.iter_mut().for_each(|slot| slot.store.discard_frozen());
            } else if self.restart(now, id) {
                self.fetch(id);
            }
        }
    }

    /// Restarts every running task in place: each gets what a new owner would get.
    fn restart_running(&mut self, now: Timestamp) {
        for id in self.running_tasks() {
            if !self.restart(now, id) {
                return;
            }
            self.fetch(id);
        }
    }

    fn replace_producer(&mut self, sent: Option<Sent>) {
        let request = self.request();
        self.effects.push_back(Effect::ReplaceProducer { request });
        self.transaction = Transaction::Replacing(request, sent);
    }

    pub(super) fn producer_ready(&mut self, now: Timestamp, request: Request, result: Result<(), Fault>) {
        match std::mem::replace(&mut self.transaction, Transaction::Idle) {
            Transaction::Replacing(r, sent) if r == request => match (result, sent) {
                (Err(fault), _) => self.fail(now, fault),
                (Ok(()), None) => {}
                (Ok(()), Some(sent)) => {
                    let request = self.request();
                    let partitions =
                        sent.parts.iter().flat_map(|p| p.offsets.iter().map(|c| c.partition.clone())).collect();
                    self.effects.push_back(Effect::FetchStable { request, partitions });
                    self.transaction = Transaction::Verifying(request, sent);
                }
            },
            other => self.transaction = other,
        }
    }

    /// The commit stamps tell how an unknown outcome ended.
    pub(super) fn stable(&mut self, now: Timestamp, request: Request, result: Result<Vec<Stable>, Fault>) {
        if self.proved(request, &result) || self.cleared(now, request, &result) {
            return;
        }
        match std::mem::replace(&mut self.transaction, Transaction::Idle) {
            Transaction::Verifying(r, sent) if r == request => match result {
                Ok(stable) => self.verify(now, sent, &stable),
                Err(fault) => {
                    tracing::warn!(%fault, "the committed offsets can't be read; the assignment is given up");
                    self.abort_done(now, Cause::Lost);
                }
            },
            other => self.transaction = other,
        }
    }

    fn verify(&mut self, now: Timestamp, sent: Sent, stable: &[Stable]) {
        let now_committed: Vec<_> = stable.iter().map(|s| (&s.partition, s.offset, s.metadata.as_str())).collect();
        let new: Vec<_> = sent.parts.iter().flat_map(|p| &p.offsets).map(as_tuple).collect();
        let old: Vec<_> = sent
            .parts
            .iter()
            .filter_map(|p| self.tasks.get(&p.task))
            .flat_map(|h| &h.task.committed)
            .map(as_tuple)
            .collect();
        if now_committed == new {
            self.commit_done(now, sent);
        } else if now_committed == old {
            let fault = Fault::retry("the commit's answer did not come, and it was not applied");
            self.abort_done(now, sent.not_committed(fault));
        } else {
            self.abort_done(now, Cause::Lost);
        }
    }
}

fn to_commit(c: &Committed) -> CommitOffset {
    CommitOffset {
        partition: c.partition.clone(),
        offset: c.offset.expect("a part names every offset"),
        metadata: c.metadata.clone(),
    }
}

fn as_tuple(c: &Committed) -> (&crate::record::TopicPartition, Option<i64>, &str) {
    (&c.partition, c.offset, c.metadata.as_str())
}
