//! When and how often a record that a processor fails on is tried again.

use crate::{codec::Serde, fault::Fault, operator::retry::Rule, topology::plan::Plan};
use std::{sync::Arc, time::Duration};

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// When and how often a record that a processor fails on is tried again, and where it goes in the end
/// ([`KStream::process_with_retries`](crate::topology::KStream::process_with_retries)).
///
/// ```
/// use millstream::topology::Retry;
/// use std::time::Duration;
/// let retry = Retry::<String, String>::as_store("payment-retries")
///     .attempts(5)
///     .delay(Duration::from_secs(1))
///     .backoff(2, Duration::from_secs(60))
///     .topic("payments-failed")
///     .dead_letter_topic("payments-dead");
/// ```
#[derive(Debug, Clone)]
pub struct Retry<K, V> {
    pub(crate) store: Arc<str>,
    pub(crate) key: Option<Serde<K>>,
    pub(crate) value: Option<Serde<V>>,
    pub(crate) rule: Rule,
}

impl<K, V> Retry<K, V> {
    /// Three attempts, a second apart; later records of a key wait behind a failing one; at most 10,000 records wait for each
    /// task. They wait in a store of this name, whose changelog topic is `<application.id>-<name>-changelog`.
    pub fn as_store(name: impl Into<String>) -> Self {
        let rule = Rule {
            attempts: 3,
            delay_ms: 1_000,
            factor: 1,
            delay_max_ms: i64::MAX,
            ordered: true,
            waiting_max: 10_000,
            topic: None,
            dead_letter_topic: None,
        };
        Self { store: name.into().into(), key: None, value: None, rule }
    }

    /// How many attempts a record gets, the first one among them.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.rule.attempts = attempts;
        self
    }

    /// The time from the first failure to the second attempt, by the wall clock.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.rule.delay_ms = millis(delay);
        self
    }

    /// Makes each delay so many times the one before, up to `delay_max`.
    #[must_use]
    pub fn backoff(mut self, factor: u32, delay_max: Duration) -> Self {
        (self.rule.factor, self.rule.delay_max_ms) = (factor, millis(delay_max));
        self
    }

    /// Lets later records of a key go before one that waits. Records without a key never wait for each other.
    #[must_use]
    pub fn without_order(mut self) -> Self {
        self.rule.ordered = false;
        self
    }

    /// How many records may wait, for each task. One more is given up at once.
    #[must_use]
    pub fn waiting_max(mut self, records: usize) -> Self {
        self.rule.waiting_max = records;
        self
    }

    /// Writes the input record to this topic at each failure that another attempt follows, with headers
    /// `millstream.retry.attempts`, `.first.failure.ms`, `.due.ms`, `.error`, `.topic`, `.partition` and `.offset`: for people
    /// and dashboards to see what is tried again. The record itself waits in the store.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.rule.topic = Some(topic.into().into());
        self
    }

    /// Where records go that are given up, in place of `errors.dead.letter.queue.topic.name`.
    #[must_use]
    pub fn dead_letter_topic(mut self, topic: impl Into<String>) -> Self {
        self.rule.dead_letter_topic = Some(topic.into().into());
        self
    }

    /// The serdes that records wait in, where those of the stream are not known.
    #[must_use]
    pub fn serdes(mut self, key: Serde<K>, value: Serde<V>) -> Self {
        (self.key, self.value) = (Some(key), Some(value));
        self
    }

    /// Notes what is wrong with it, and the topics that it writes.
    pub(crate) fn check(&self, plan: &mut Plan) {
        plan.check_name(&self.store);
        plan.give(&self.store);
        let rule = &self.rule;
        for topic in rule.topic.iter().chain(&rule.dead_letter_topic) {
            plan.check_name(topic);
            plan.told.insert(topic.clone());
        }
        let wrong = [
            (rule.attempts == 0, "no attempt is made", "allow for at least one (Retry::attempts)"),
            (rule.factor == 0, "a backoff of 0 times is no delay", "let the factor be at least 1 (Retry::backoff)"),
            (rule.waiting_max == 0, "no record may wait", "let at least one wait (Retry::waiting_max)"),
        ];
        for (_, what, hint) in wrong.into_iter().filter(|(wrong, ..)| *wrong) {
            plan.error(Fault::stop(what).at(format!("retries {}", self.store)).hint(hint));
        }
    }
}
