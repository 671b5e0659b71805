//! The test driver: a topology in the test's own thread, one record at a time.

use crate::{
    codec::{Serde, partition_for},
    embedded::{ClientConfig, Member, MemoryDisks, Progress},
    fault::{Fault, Result},
    log::{Isolation, Log, LogError, TopicConfig},
    record::{Headers, OutRecord, RawRecord, Target, TaskId, Timestamp, TopicPartition},
    state::{Backend, KeyValueStore, MemoryBackend, Row, Store},
    topology::{Resolved, Topology},
    worker::Settings,
};
use bytes::Bytes;
use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Duration};

/// Ticks without an end that a single step may take; more of them is a bug of the topology or of the worker.
const TICKS_MAX: usize = 1_000_000;
/// How long, in model time, a lone member may take to join its group.
const JOIN_MS_MAX: i64 = 60_000;
/// The longest step of the model's time in that.
const JOIN_STEP_MS_MAX: i64 = 100;

/// The longest silence of the member while the clock advances; well below the timeout of its session.
const HEARTBEAT_MS_MAX: i64 = 1_000;

/// What a [`TestDriver`] runs with.
#[derive(Debug, Clone)]
pub struct DriverOptions {
    /// The application's id: the prefix of internal topics.
    pub application_id: String,
    /// Partition count of every external topic.
    pub partitions: i32,
    /// Output topics that only a function of the record names, and input topics that only a pattern takes in.
    pub topics: Vec<String>,
    /// The wall clock at the start, in milliseconds.
    pub start_ms: Timestamp,
    /// Settings of the worker. By default it commits after each record, so that caches hold nothing back.
    pub settings: Settings,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            application_id: "app".into(),
            partitions: 1,
            topics: Vec::new(),
            start_ms: 0,
            settings: Settings { commit_interval_ms: 0, ..Settings::default() },
        }
    }
}

/// A typed record that a topology wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRecord<K, V> {
    /// Its key.
    pub key: Option<K>,
    /// Its value.
    pub value: Option<V>,
    /// Its event time in milliseconds.
    pub timestamp: Timestamp,
    /// Its headers.
    pub headers: Headers,
}

/// Runs a topology without Kafka and without threads: the worker itself, on the model log, transactions included.
/// The wall clock moves only by [`TestDriver::advance`].
///
/// ```
/// use millstream::{codec::serdes, testing::TestDriver, topology::StreamsBuilder};
/// let builder = StreamsBuilder::new();
/// builder.stream::<String, String>("words").group_by(|_, word| word.cloned()).count().to_stream().to("counts");
///
/// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
/// for word in ["to", "be", "or", "not", "to"] {
///     driver.pipe("words", &serdes::string(), &serdes::string(), None, Some(&word.to_owned()), 0).unwrap();
/// }
/// let counts = driver.read("counts", &serdes::string(), &serdes::i64()).unwrap();
/// assert_eq!((counts.len(), counts[4].key.as_deref(), counts[4].value), (5, Some("to"), Some(2)));
/// ```
pub struct TestDriver {
    log: Log,
    disks: MemoryDisks,
    member: Member,
    topology: Arc<Topology>,
    resolved: Arc<Resolved>,
    application_id: String,
    settings: Settings,
    /// Records that processes before this one left out.
    dropped: u64,
    now: Timestamp,
    partitions: i32,
    /// How far each topic's partitions were read.
    read: BTreeMap<TopicPartition, usize>,
}

fn log_fault(error: LogError, topic: &str) -> Fault {
    Fault::stop(format!("the model log refuses: {error:?}")).at(format!("topic {topic}"))
}

fn start(topology: &Arc<Topology>, resolved: &Arc<Resolved>, application_id: &str, settings: &Settings) -> Member {
    let config = ClientConfig::new(application_id, "test", resolved.subscription());
    Member::new(Arc::clone(topology), Arc::clone(resolved), settings.clone(), config, 0)
}

impl TestDriver {
    /// Starts a topology on topics of one partition.
    ///
    /// # Errors
    /// When the topology doesn't resolve or the worker ends.
    pub fn new(topology: Topology) -> Result<Self> {
        Self::with(topology, DriverOptions::default())
    }

    /// Starts a topology.
    ///
    /// # Errors
    /// When the topology doesn't resolve or the worker ends.
    pub fn with(topology: Topology, options: DriverOptions) -> Result<Self> {
        let topology = Arc::new(topology);
        let mut external = topology.external_sources();
        external.extend(topology.external_sinks());
        external.extend(topology.global_topics());
        external.extend(options.topics.iter().map(|t| Arc::from(t.as_str())));
        external.extend(options.settings.errors.topics().cloned());
        let counts: BTreeMap<Arc<str>, i32> = external.into_iter().map(|t| (t, options.partitions)).collect();
        let mut resolved = topology.resolve(&options.application_id, &counts)?;
        resolved.partitions.extend(options.topics.iter().map(|t| (Arc::from(t.as_str()), options.partitions)));
        let mut log = Log::new("test");
        for (topic, partitions) in &counts {
            log.create_topic(topic, *partitions, TopicConfig::default());
        }
        for topic in &resolved.internal {
            log.create_topic(&topic.name, topic.partitions, TopicConfig::from_settings(&topic.config));
        }
        let resolved = Arc::new(resolved);
        let DriverOptions { application_id, settings, start_ms: now, partitions, .. } = options;
        let member = start(&topology, &resolved, &application_id, &settings);
        let disks = MemoryDisks::new(|| Arc::new(MemoryBackend::simulated_disk()) as Arc<dyn Backend>);
        let (dropped, read) = (0, BTreeMap::new());
        let mut driver =
            Self { log, disks, member, topology, resolved, application_id, settings, dropped, now, partitions, read };
        driver.join()?;
        Ok(driver)
    }

    /// The process dies without a word, and another one starts on its disk: it takes up what was committed. The group
    /// does not wait for the dead member's session to end; joining takes some time of the wall clock all the same.
    ///
    /// ```
    /// use millstream::{codec::serdes, testing::TestDriver, topology::StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("words").group_by_key().count().to_stream().to("counts");
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// for _ in 0..2 {
    ///     driver.pipe("words", &serdes::string(), &serdes::string(), Some(&"be".into()), Some(&"x".into()), 0).unwrap();
    ///     driver.crash().unwrap();
    /// }
    /// assert_eq!(driver.read("counts", &serdes::string(), &serdes::i64()).unwrap()[1].value, Some(2));
    /// ```
    ///
    /// # Errors
    /// When the worker does not come up again.
    pub fn crash(&mut self) -> Result<()> {
        self.dropped = self.dropped();
        if let Some(gone) = self.member.client.member_id().cloned() {
            self.log.leave(&self.application_id, &gone, self.now);
        }
        self.disks.release_all();
        self.settings.session += 1;
        self.resolved = Arc::new(self.resolved.restarted());
        self.member = start(&self.topology, &self.resolved, &self.application_id, &self.settings);
        self.join()
    }

    /// Lets the wall clock advance until all that was piped in is committed, however many internal topics lie on the way.
    /// With the default options nothing waits.
    ///
    /// # Errors
    /// As [`TestDriver::pipe`].
    pub fn flush(&mut self) -> Result<()> {
        self.rest()
    }

    /// Ticks until the member is in its group; only the group's timers may need time to pass.
    fn join(&mut self) -> Result<()> {
        self.rest()
    }

    fn rest(&mut self) -> Result<()> {
        let (end, mut step) = (self.now + JOIN_MS_MAX, 1);
        loop {
            self.settle()?;
            if self.member.worker().idle() {
                return Ok(());
            }
            if self.now >= end {
                return Err(Fault::stop("the worker of the test driver does not come to rest"));
            }
            // A dead process may have left a transaction that ends by its timeout: not millisecond by millisecond.
            self.now += step;
            step = (step * 2).min(JOIN_STEP_MS_MAX);
            self.log.tick(self.now);
        }
    }

    /// Ticks until there is nothing to do at this time.
    fn settle(&mut self) -> Result<()> {
        let mut quiet = 0;
        for _ in 0..TICKS_MAX {
            match self.member.tick(&mut self.log, &mut self.disks, self.now, 1) {
                Progress::Busy => quiet = 0,
                // A commit that has just ended makes records visible, which only the next tick fetches.
                Progress::Idle(_) if quiet < 3 => quiet += 1,
                Progress::Idle(_) => return Ok(()),
                Progress::Exited => return Err(self.ending()),
            }
        }
        Err(Fault::stop("the topology does not come to rest").hint("does it write to a topic that it reads?"))
    }

    /// Pipes a typed record in, and processes it with all that it causes.
    ///
    /// # Errors
    /// The fault with which the worker ended; it stays ended.
    pub fn pipe<K: 'static, V: 'static>(
        &mut self,
        topic: &str,
        key_serde: &Serde<K>,
        value_serde: &Serde<V>,
        key: Option<&K>,
        value: Option<&V>,
        timestamp: Timestamp,
    ) -> Result<()> {
        let key = key.map(|key| key_serde.to_bytes(key)).transpose()?;
        let value = value.map(|value| value_serde.to_bytes(value)).transpose()?;
        self.pipe_raw(topic, RawRecord { offset: 0, timestamp, key, value, headers: Headers::new() })
    }

    /// Pipes bytes in; the offset is the log's to give.
    ///
    /// # Errors
    /// As [`TestDriver::pipe`].
    pub fn pipe_raw(&mut self, topic: &str, record: RawRecord) -> Result<()> {
        self.pipe_all_raw(topic, [record])
    }

    /// As [`TestDriver::pipe_raw`] for many records that are in the topic before the first of them is processed.
    ///
    /// # Errors
    /// As [`TestDriver::pipe`].
    pub fn pipe_all_raw(&mut self, topic: &str, records: impl IntoIterator<Item = RawRecord>) -> Result<()> {
        for record in records {
            self.append(topic, record)?;
        }
        self.settle()
    }

    /// Pipes bytes in, lets the worker take some turns, and has the process die as in [`TestDriver::crash`], which may be
    /// in the middle of a transaction. The next process does what is left to do: exactly once, or once more.
    ///
    /// # Errors
    /// As [`TestDriver::pipe`] and [`TestDriver::crash`].
    pub fn pipe_raw_and_crash(&mut self, topic: &str, record: RawRecord, turns: usize) -> Result<()> {
        self.append(topic, record)?;
        for _ in 0..turns {
            if self.member.tick(&mut self.log, &mut self.disks, self.now, 1) == Progress::Exited {
                return Err(self.ending());
            }
        }
        self.crash()
    }

    fn append(&mut self, topic: &str, record: RawRecord) -> Result<()> {
        let RawRecord { timestamp, key, value, headers, .. } = record;
        let partition = key.as_ref().map_or(0, |key| partition_for(key, self.partitions));
        let target = Target::Sink;
        let record = OutRecord { topic: topic.into(), partition, key, value, timestamp, headers, target };
        self.log.append(record).map(drop).map_err(|error| log_fault(error, topic))
    }

    /// Why the worker has ended.
    fn ending(&self) -> Fault {
        self.member.fault().cloned().unwrap_or_else(|| Fault::stop("the worker has ended"))
    }

    /// Lets the wall clock advance and runs what is due.
    ///
    /// # Errors
    /// As [`TestDriver::pipe`].
    pub fn advance(&mut self, by: Duration) -> Result<()> {
        let end = self.now.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
        // A member that is silent for long leaves its group: it goes on telling of itself, and does nothing else.
        while self.now < end {
            self.now = (self.now + HEARTBEAT_MS_MAX).min(end);
            self.log.tick(self.now);
            self.member.client.group(&mut self.log, self.now);
        }
        self.settle()
    }

    /// The wall clock in milliseconds.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The records that were committed to a topic since it was read last, partition by partition. The topic may be an
    /// internal one, by its full name.
    ///
    /// # Errors
    /// When there is no such topic.
    pub fn read_raw(&mut self, topic: &str) -> Result<Vec<RawRecord>> {
        let partitions = self.resolved.partitions.get(topic).copied().unwrap_or(self.partitions);
        let mut found = Vec::new();
        for partition in 0..partitions {
            let partition = TopicPartition::new(topic, partition);
            let all = self.log.read_all(&partition, Isolation::ReadCommitted).map_err(|e| log_fault(e, topic))?;
            let read = self.read.entry(partition).or_default();
            let before = std::mem::replace(read, all.len());
            found.extend(all.into_iter().skip(before));
        }
        Ok(found)
    }

    /// The typed records that were committed to a topic since it was read last.
    ///
    /// # Errors
    /// When there is no such topic, or its bytes are of other types.
    pub fn read<K: 'static, V: 'static>(
        &mut self,
        topic: &str,
        key_serde: &Serde<K>,
        value_serde: &Serde<V>,
    ) -> Result<Vec<TestRecord<K, V>>> {
        let typed = |raw: RawRecord| {
            Ok(TestRecord {
                key: raw.key.as_ref().map(|b: &Bytes| key_serde.decode(b)).transpose()?,
                value: raw.value.as_ref().map(|b: &Bytes| value_serde.decode(b)).transpose()?,
                timestamp: raw.timestamp,
                headers: raw.headers,
            })
        };
        self.read_raw(topic)?.into_iter().map(typed).collect()
    }

    /// Every topic that the topology reads or writes, internal ones too.
    pub fn topics(&self) -> Vec<Arc<str>> {
        self.resolved.partitions.keys().cloned().collect()
    }

    /// A store of the first task that has one of this name.
    pub fn store(&mut self, name: &str) -> Option<&mut Store> {
        self.store_of(0, name)
    }

    /// A store of the task of a partition.
    pub fn store_of(&mut self, partition: i32, name: &str) -> Option<&mut Store> {
        let owner = |sub: &&crate::topology::ResolvedSub| sub.stores.iter().any(|s| &*s.spec.name == name);
        let sub_topology = self.resolved.sub_topologies.iter().find(owner)?.id;
        self.member.worker_mut().store(TaskId { sub_topology, partition }, name)
    }

    /// The rows of a store on partition 0, or of a global table: row id and row, in order.
    ///
    /// # Errors
    /// When there is no such store.
    pub fn rows(&mut self, name: &str) -> Result<Vec<(Bytes, Row)>> {
        if let Some(table) = self.resolved.globals.iter().find(|table| &**table.store.name() == name) {
            return Ok(table.store.rows());
        }
        let store = self.store(name).ok_or_else(|| Fault::stop(format!("there is no store `{name}`")))?;
        let mut rows = Vec::new();
        store.scan(&[], None, false, &mut |id, row| {
            rows.push((Bytes::copy_from_slice(id), row));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// A key-value store on partition 0, to look rows up in.
    ///
    /// # Errors
    /// When there is no such store.
    pub fn key_value_store<'a, K: 'static, V: 'static>(
        &'a mut self,
        name: &str,
        key: &'a Serde<K>,
        value: &'a Serde<V>,
    ) -> Result<KeyValueStore<'a, K, V>> {
        let now = self.now;
        let store = self.store(name).ok_or_else(|| Fault::stop(format!("there is no store `{name}`")))?;
        KeyValueStore::new(store, key, value, now)
    }

    /// Records that were left out, whatever the reason.
    pub fn dropped(&mut self) -> u64 {
        let counters = self.member.worker_mut().snapshot().counters;
        let global: u64 = self.resolved.globals.iter().map(|table| table.store.dropped()).sum();
        self.dropped + global + counters.values().flat_map(|c| c.dropped).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::serdes,
        topology::{Materialized, StreamsBuilder},
    };

    /// Forwards the clock of each call of its schedule.
    struct Clock;

    impl crate::operator::Processor<String, String, String, i64> for Clock {
        fn init(&mut self, cx: &mut crate::operator::ProcessorContext<'_, String, i64>) -> Result<()> {
            cx.schedule(Duration::from_secs(60), crate::operator::Punctuation::WallClock).map(drop)
        }

        fn process(
            &mut self,
            _: &mut crate::operator::ProcessorContext<'_, String, i64>,
            _: crate::record::Record<'_, String, String>,
        ) -> Result<()> {
            Ok(())
        }

        fn punctuate(
            &mut self,
            cx: &mut crate::operator::ProcessorContext<'_, String, i64>,
            _: crate::operator::ScheduleId,
            timestamp: Timestamp,
        ) -> Result<()> {
            cx.forward(crate::record::Record::new(None, Some(&timestamp), timestamp))
        }
    }

    /// A schedule is due once however far the clock goes (P-23), and the member stays in its group meanwhile.
    #[test]
    fn the_clock_may_go_far_at_once() {
        let builder = StreamsBuilder::new();
        builder.stream::<String, String>("in").process(|| Clock, &[]).to("out");
        let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
        let start = driver.now();
        for (hours, calls) in [(1, 1), (24, 1), (0, 0)] {
            driver.advance(Duration::from_secs(hours * 3_600)).unwrap();
            assert_eq!(driver.read("out", &serdes::string(), &serdes::i64()).unwrap().len(), calls, "{hours} hours");
        }
        assert_eq!(driver.now(), start + 25 * 3_600_000);
    }

    #[test]
    fn records_flow_through_repartition_topics_and_stores_can_be_read() {
        let builder = StreamsBuilder::new();
        let words = builder.stream::<String, String>("words").group_by(|_, word| word.cloned());
        words.count_with(Materialized::as_store("counts")).to_stream().to("out");
        let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
        let (text, number) = (serdes::string(), serdes::i64());
        for (at, word) in ["a", "b", "a"].into_iter().enumerate() {
            driver.pipe("words", &text, &text, None, Some(&word.to_owned()), at as i64).unwrap();
        }
        let seen: Vec<_> =
            driver.read("out", &text, &number).unwrap().into_iter().map(|r| (r.key, r.value, r.timestamp)).collect();
        let record = |key: &str, count, at| (Some(key.to_owned()), Some(count), at);
        assert_eq!(seen, [record("a", 1, 0), record("b", 1, 1), record("a", 2, 2)]);
        assert!(driver.read_raw("out").unwrap().is_empty());
        let mut store = driver.key_value_store("counts", &text, &number).unwrap();
        assert_eq!(store.get(&"a".to_owned()).unwrap(), Some(2));
        assert_eq!(driver.rows("counts").unwrap().len(), 2);
        assert_eq!(driver.now(), 0);
    }
}
