//! Records that a processor fails on are given to it again later, and in the end to the dead-letter topic.

mod line;

use super::{
    Context, Dropped, Node, Process, Punctuation, ScheduleId, Stage,
    errors::{caught, dead_letter_to, retry_notice, settle},
    processor::UserNode,
};
use crate::{
    codec::Serde,
    fault::{Fault, Remedy, Result},
    record::{Headers, Record, StoreIx, Timestamp},
};
use bytes::Bytes;
use line::Waiting;
use std::{cell::Cell, sync::Arc};

/// Attempts in one punctuation; the rest is due a millisecond later, after other work of the thread.
const ATTEMPTS_AT_ONCE: usize = 100;
/// Interval of a schedule that ends when it is due first.
const ONCE_MS: i64 = 1_000;

/// When and how often a failing record is tried again.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// All attempts, the first one among them.
    pub attempts: u32,
    /// From the first failure to the second attempt, in milliseconds.
    pub delay_ms: i64,
    /// Each delay is so many times the one before.
    pub factor: u32,
    pub delay_max_ms: i64,
    /// Later records of a key wait behind a failing one.
    pub ordered: bool,
    /// Records that may wait, for each task.
    pub waiting_max: usize,
    /// Is told of each failure that is followed by another attempt.
    pub topic: Option<Arc<str>>,
    /// In place of the settings' dead-letter topic.
    pub dead_letter_topic: Option<Arc<str>>,
}

impl Rule {
    /// From a failure to the next attempt, in milliseconds.
    fn delay_ms(&self, attempts: u32) -> i64 {
        let factor = i64::from(self.factor.max(1)).saturating_pow(attempts.saturating_sub(1));
        self.delay_ms.saturating_mul(factor).min(self.delay_max_ms)
    }
}

/// The node of `process_with_retries`.
pub(crate) struct RetryNode<K, V, K2, V2> {
    pub user: UserNode<K, V, K2, V2>,
    pub store: StoreIx,
    pub key: Serde<K>,
    pub value: Serde<V>,
    pub rule: Arc<Rule>,
    /// Records that wait: as many as the store has, since node and uncommitted rows go together.
    pub waiting: Cell<usize>,
    /// The schedule of the next attempt, and its time.
    pub alarm: Cell<Option<(ScheduleId, Timestamp)>>,
}

/// What became of an attempt.
enum Outcome {
    /// The record is done with: processed, or given up.
    Done,
    /// It failed, and is tried again.
    Again(Fault),
}

impl<K: 'static, V: 'static, K2, V2> RetryNode<K, V, K2, V2> {
    fn name(&self) -> &Arc<str> {
        &self.user.around.place.name
    }

    /// Gives a record to the processor. `failed` says how often that was in vain before, and since when.
    fn attempt(
        &self,
        cx: &mut dyn Context,
        record: Record<'_, K, V>,
        (failed, since): (u32, Timestamp),
    ) -> Result<Outcome> {
        let Err(fault) = caught(|| self.user.process(cx, record)) else { return Ok(Outcome::Done) };
        let ours = matches!(fault.remedy, Remedy::Skip | Remedy::Retry | Remedy::Stop);
        if fault.is_settled() || !ours {
            return Err(fault);
        }
        let attempts = failed + 1;
        let hopeless = fault.remedy == Remedy::Skip;
        if hopeless || attempts >= self.rule.attempts {
            self.give_up(cx, (record.timestamp, record.headers), fault, (attempts, since))?;
            return Ok(Outcome::Done);
        }
        Ok(Outcome::Again(fault))
    }

    /// Hands a record to the dead-letter topic and goes on; where there is none the handler decides.
    fn give_up(
        &self,
        cx: &mut dyn Context,
        (timestamp, headers): (Timestamp, &Headers),
        fault: Fault,
        (attempts, since): (u32, Timestamp),
    ) -> Result<()> {
        let own = self.rule.dead_letter_topic.clone();
        let Some(topic) = own.or_else(|| cx.error_settings().dead_letter_topic.clone()) else {
            let of = (timestamp, headers);
            return settle(cx, Stage::Processing, self.name(), of, fault.with_remedy(Remedy::Stop), None);
        };
        tracing::warn!(task = %cx.task(), node = %self.name(), attempts, %fault, "a record is given up");
        let mut headers = headers.clone();
        headers.add("millstream.retry.attempts", Some(attempts.to_string().into()));
        headers.add("millstream.retry.first.failure.ms", Some(since.to_string().into()));
        dead_letter_to(cx, topic, Stage::Processing, &fault, timestamp, &headers)?;
        cx.dropped(Dropped::Processing);
        Ok(())
    }

    /// The record as a row, with the input record in hand.
    fn waiting(&self, cx: &dyn Context, record: &Record<'_, K, V>) -> Result<Waiting> {
        let bytes = |encoded: Option<Result<Bytes>>| encoded.transpose().map(|bytes| bytes.map(|b| b.to_vec()));
        let key = bytes(record.key.map(|key| self.key.to_bytes(key)))?;
        let value = bytes(record.value.map(|value| self.value.to_bytes(value)))?;
        Ok(Waiting::new((key, value), record.timestamp, record.headers, cx.source(), cx.input()))
    }

    /// Tells of a failure, and notes when the record is due again: the alarm is the caller's to set.
    fn put_off(&self, cx: &mut dyn Context, id: &Bytes, mut waiting: Waiting, fault: &Fault) -> Result<Timestamp> {
        waiting.attempts += 1;
        let due = cx.now().saturating_add(self.rule.delay_ms(waiting.attempts));
        tracing::debug!(task = %cx.task(), node = %self.name(), attempts = waiting.attempts, %fault, "tried again later");
        if let Some(topic) = &self.rule.topic {
            let (attempts, since) = (waiting.attempts, waiting.since);
            retry_notice(cx, topic.clone(), fault, (waiting.timestamp, &waiting.headers()), (attempts, since, due))?;
        }
        let store = cx.store(self.store);
        line::put(store, id, waiting)?;
        line::set_due(store, due, id)?;
        Ok(due)
    }

    /// True when no more records may wait.
    fn is_full(&self) -> bool {
        self.waiting.get() >= self.rule.waiting_max
    }

    fn full(&self, why: &str) -> Fault {
        Fault::stop(format!("{why}, and {} records wait already", self.waiting.get()))
            .at(format!("node {}", self.name()))
    }

    /// Sees to it that the schedule is due with the first of the records, but not in this punctuation again.
    fn arm(&self, cx: &mut dyn Context, due: Timestamp) {
        let due = due.max(cx.now() + 1);
        if self.alarm.get().is_some_and(|(_, at)| at <= due) {
            return;
        }
        let node = self.user.around.place.node;
        if let Some((schedule, _)) = self.alarm.take() {
            cx.cancel(node, schedule);
        }
        let schedule = cx.schedule_from(node, due, ONCE_MS, Punctuation::WallClock);
        self.alarm.set(Some((schedule, due)));
    }

    fn arm_for_first(&self, cx: &mut dyn Context) -> Result<()> {
        if let Some((due, _)) = line::first_due(cx.store(self.store))? {
            self.arm(cx, due);
        }
        Ok(())
    }

    /// Tries what is due by now.
    fn try_due(&self, cx: &mut dyn Context, now: Timestamp) -> Result<()> {
        let mut left = ATTEMPTS_AT_ONCE;
        while left > 0
            && let Some((due, id)) = line::first_due(cx.store(self.store))?
            && due <= now
        {
            line::clear_due(cx.store(self.store), due, &id)?;
            let mut next = Some(id);
            while let Some(id) = next.take() {
                if left == 0 {
                    line::set_due(cx.store(self.store), now, &id)?;
                    break;
                }
                left -= 1;
                if self.try_again(cx, &id)? {
                    line::remove(cx.store(self.store), &id)?;
                    self.waiting.set(self.waiting.get() - 1);
                    if self.rule.ordered && line::is_keyed(&id) {
                        next = line::next_in_line(cx.store(self.store), &id)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives a record that waits to the processor. True when it is done with.
    fn try_again(&self, cx: &mut dyn Context, id: &Bytes) -> Result<bool> {
        let Some(mut waiting) = line::get(cx.store(self.store), id)? else { return Ok(true) };
        let headers = waiting.headers();
        if waiting.attempts == 0 {
            waiting.since = cx.now();
        }
        let before = (cx.set_source(waiting.source()), cx.set_input(waiting.input().map(Arc::new)));
        let key = waiting.key.as_deref().map(|bytes| self.key.decode(bytes)).transpose();
        let value = waiting.value.as_deref().map(|bytes| self.value.decode(bytes)).transpose();
        let (of, tried) = ((waiting.timestamp, &headers), (waiting.attempts, waiting.since));
        let done = match key.and_then(|key| Ok((key, value?))) {
            Ok((key, value)) => {
                let record = Record { headers: &headers, ..Record::new(key.as_ref(), value.as_ref(), of.0) };
                self.attempt(cx, record, tried).and_then(|outcome| match outcome {
                    Outcome::Done => Ok(true),
                    Outcome::Again(fault) => self.put_off(cx, id, waiting, &fault).map(|_| false),
                })
            }
            // The types of the stream have changed since it began to wait.
            Err(fault) => self.give_up(cx, of, fault, tried).map(|()| true),
        };
        cx.set_source(before.0);
        cx.set_input(before.1);
        done
    }
}

impl<K: 'static, V: 'static, K2, V2> Process<K, V> for RetryNode<K, V, K2, V2> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        let (now, of) = (cx.now(), (record.timestamp, record.headers));
        if self.rule.ordered
            && self.waiting.get() > 0
            && let Some(key) = record.key
        {
            let key = self.key.to_bytes(key)?;
            if line::has_line(cx.store(self.store), &key)? {
                if self.is_full() {
                    return self.give_up(cx, of, self.full("a record of its key failed"), (0, now));
                }
                let waiting = self.waiting(cx, &record)?;
                line::append(cx.store(self.store), waiting)?;
                self.waiting.set(self.waiting.get() + 1);
                return Ok(());
            }
        }
        match self.attempt(cx, record, (0, now))? {
            Outcome::Done => Ok(()),
            Outcome::Again(fault) if self.is_full() => self.give_up(cx, of, self.full(&fault.to_string()), (1, now)),
            Outcome::Again(fault) => {
                let waiting = Waiting { since: now, ..self.waiting(cx, &record)? };
                let id = line::append(cx.store(self.store), waiting.clone())?;
                self.waiting.set(self.waiting.get() + 1);
                let due = self.put_off(cx, &id, waiting, &fault)?;
                self.arm(cx, due);
                Ok(())
            }
        }
    }
}

impl<K: 'static, V: 'static, K2, V2> Node for RetryNode<K, V, K2, V2> {
    fn init(&self, cx: &mut dyn Context) -> Result<()> {
        self.user.init(cx)?;
        self.waiting.set(line::count(cx.store(self.store))?);
        self.arm_for_first(cx)
    }

    fn punctuate(&self, cx: &mut dyn Context, schedule: ScheduleId, timestamp: Timestamp) -> Result<()> {
        if self.alarm.get().is_none_or(|(ours, _)| ours != schedule) {
            return self.user.punctuate(cx, schedule, timestamp);
        }
        self.alarm.set(None);
        cx.cancel(self.user.around.place.node, schedule);
        self.try_due(cx, timestamp)?;
        self.arm_for_first(cx)
    }

    fn close(&self, cx: &mut dyn Context) -> Result<()> {
        self.user.close(cx)
    }
}
