//! Counters of a task: plain fields, so that counting a record looks nothing up. Whoever serves them reads copies.

use super::latency::{EVENT_BOUNDS_US, Latency};
use crate::{operator::Dropped, record::Timestamp};
use std::{mem, sync::Arc};

/// Records left out, by [`Dropped`] in declaration order.
pub type DroppedBy = [u64; Dropped::ALL.len()];

/// Plain counters; they only grow, also over aborts: what an abort repeats is counted again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records processed.
    pub processed: u64,
    /// Bytes of keys, values and headers of the processed records.
    pub processed_bytes: u64,
    /// Records sent to sinks.
    pub sent: u64,
    /// Bytes sent to sinks.
    pub sent_bytes: u64,
    /// Records sent to changelogs.
    pub logged: u64,
    /// Bytes sent to changelogs.
    pub logged_bytes: u64,
    /// Records left out, by reason.
    pub dropped: DroppedBy,
    /// Punctuations called.
    pub punctuated: u64,
    /// The same by source topic; in the order of the task's sources, or by name in a sum.
    pub topics: Vec<TopicCounters>,
}

/// Counters of one source topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCounters {
    /// Its name.
    pub topic: Arc<str>,
    /// Records processed.
    pub processed: u64,
    /// Records left out, by reason.
    pub dropped: DroppedBy,
    /// From a record's timestamp to the end of the commit that made its effects visible.
    pub event: Latency,
}

impl TopicCounters {
    /// Nothing counted yet.
    pub fn new(topic: Arc<str>) -> Self {
        Self { topic, processed: 0, dropped: DroppedBy::default(), event: Latency::new(EVENT_BOUNDS_US) }
    }
}

impl Counters {
    /// Counters of a task with these source topics.
    pub fn of_sources<'a>(topics: impl Iterator<Item = &'a Arc<str>>) -> Self {
        Self { topics: topics.map(|t| TopicCounters::new(Arc::clone(t))).collect(), ..Self::default() }
    }

    /// Counts records left out. `topic` is where the record in hand came from, if there is one.
    pub fn drop_record(&mut self, reason: Dropped, topic: Option<&Arc<str>>) {
        self.dropped[reason as usize] += 1;
        let Some(topic) = topic else { return };
        // A task has a source or a few; names are shared, so that comparing pointers nearly always decides.
        if let Some(of) = self.topics.iter_mut().find(|t| Arc::ptr_eq(&t.topic, topic) || t.topic == *topic) {
            of.dropped[reason as usize] += 1;
        }
    }

    /// Counts records that a source refused before they were processed.
    pub(super) fn drop_at(&mut self, source: usize, reason: Dropped, records: u64) {
        self.dropped[reason as usize] += records;
        self.topics[source].dropped[reason as usize] += records;
    }

    /// Adds other counters, topics by their names.
    pub fn add(&mut self, more: &Self) {
        self.processed += more.processed;
        self.processed_bytes += more.processed_bytes;
        self.sent += more.sent;
        self.sent_bytes += more.sent_bytes;
        self.logged += more.logged;
        self.logged_bytes += more.logged_bytes;
        self.punctuated += more.punctuated;
        add(&mut self.dropped, &more.dropped);
        for topic in &more.topics {
            let at = self.topics.iter().position(|t| t.topic == topic.topic).unwrap_or_else(|| {
                self.topics.push(TopicCounters::new(Arc::clone(&topic.topic)));
                self.topics.len() - 1
            });
            let sum = &mut self.topics[at];
            sum.processed += topic.processed;
            add(&mut sum.dropped, &topic.dropped);
            sum.event.add(&topic.event);
        }
    }
}

fn add(sum: &mut DroppedBy, more: &DroppedBy) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// Samples of one transaction and source at most.
const SAMPLES_MAX: usize = 128;

/// Timestamps of the records of the open transaction, for the latency that is known when it ends. Every record up to
/// [`SAMPLES_MAX`], then every second, every fourth …; each sample stands for that many records.
#[derive(Debug, Clone)]
pub(super) struct Samples {
    times: Vec<Timestamp>,
    every: u64,
    /// Records since the last sample.
    since: u64,
}

impl Default for Samples {
    fn default() -> Self {
        Self { times: Vec::new(), every: 1, since: 0 }
    }
}

impl Samples {
    /// Notes a processed record.
    pub fn note(&mut self, time: Timestamp) {
        self.since += 1;
        if self.since < self.every {
            return;
        }
        if self.times.len() == SAMPLES_MAX {
            let mut odd = false;
            self.times.retain(|_| {
                odd = !odd;
                odd
            });
            self.every *= 2;
            return;
        }
        self.since = 0;
        self.times.push(time);
    }

    /// Forgets the transaction.
    pub fn clear(&mut self) {
        self.times.clear();
        (self.every, self.since) = (1, 0);
    }

    /// The transaction is visible at `now`: its records become observations, as many as were noted.
    pub fn observe(&mut self, now: Timestamp, latency: &mut Latency) {
        let mut records = mem::take(&mut self.since);
        for time in self.times.drain(..) {
            records += self.every;
            latency.observe(now.saturating_sub(time).saturating_mul(1_000), mem::take(&mut records));
        }
        self.every = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_for_all_records_and_stay_few() {
        for records in [0, 1, 127, 128, 129, 1_000, 123_457] {
            let mut samples = Samples::default();
            (0..records).for_each(|_| samples.note(990));
            assert!(samples.times.len() <= SAMPLES_MAX);
            let mut latency = Latency::new(EVENT_BOUNDS_US);
            samples.observe(1_000, &mut latency);
            assert_eq!((latency.count(), latency.sum_us), (records, i128::from(records) * 10_000));
            samples.observe(2_000, &mut latency);
            assert_eq!(latency.count(), records, "a transaction is observed once");
        }
    }

    #[test]
    fn sums_go_by_topic() {
        let topics: [Arc<str>; 2] = ["a".into(), "b".into()];
        let mut one = Counters::of_sources(topics.iter());
        one.drop_record(Dropped::Late, Some(&topics[1]));
        one.drop_record(Dropped::Late, Some(&"b".into()));
        one.drop_record(Dropped::Late, None);
        one.drop_at(0, Dropped::NegativeTimestamp, 3);
        let mut sum = Counters::of_sources(topics[1..].iter());
        sum.add(&one);
        sum.add(&one);
        assert_eq!(sum.dropped[Dropped::Late as usize], 6);
        let of = |name: &str| sum.topics.iter().find(|t| &*t.topic == name).unwrap();
        assert_eq!(of("b").dropped[Dropped::Late as usize], 4);
        assert_eq!(of("a").dropped[Dropped::NegativeTimestamp as usize], 6);
    }
}
