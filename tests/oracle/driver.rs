//! One task that holds all sub-topologies on partition 0, driven as the oracle's own driver does.

use bytes::Bytes;
use millstream::{
    fault::{Fault, Result},
    operator::{Context, Dropped, Punctuation, ScheduleId, Source, TimeSlot},
    record::{Headers, OutRecord, RawRecord, SourceContext, StoreIx, Target, TaskId, Timestamp},
    state::{ChangelogSink, MemoryBackend, Store},
    topology::{Graph, Resolved, Topology},
};
use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

struct Schedule {
    node: usize,
    id: ScheduleId,
    every_ms: i64,
    kind: Punctuation,
    due: Timestamp,
}

/// What operators see: the stores and times of all sub-topologies, one after the other.
struct Inside {
    application_id: String,
    stores: Vec<Store>,
    times: Vec<Timestamp>,
    /// First store, time and node of the sub-topology at work.
    base: (usize, usize, usize),
    source: Option<SourceContext>,
    stream_time: Timestamp,
    now: Timestamp,
    out: Vec<OutRecord>,
    dropped: u64,
    schedules: Vec<Schedule>,
}

impl Context for Inside {
    fn task(&self) -> TaskId {
        TaskId { sub_topology: 0, partition: 0 }
    }
    fn application_id(&self) -> &str {
        &self.application_id
    }
    fn now(&self) -> Timestamp {
        self.now
    }
    fn stream_time(&self) -> Timestamp {
        self.stream_time
    }
    fn source(&self) -> Option<&SourceContext> {
        self.source.as_ref()
    }
    fn set_source(&mut self, source: Option<SourceContext>) -> Option<SourceContext> {
        std::mem::replace(&mut self.source, source)
    }
    fn store(&mut self, store: StoreIx) -> &mut Store {
        &mut self.stores[self.base.0 + store.0]
    }
    fn time(&self, slot: TimeSlot) -> Timestamp {
        self.times[self.base.1 + slot.0]
    }
    fn set_time(&mut self, slot: TimeSlot, time: Timestamp) {
        self.times[self.base.1 + slot.0] = time;
    }
    fn partitions(&self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
    fn default_partition(&mut self, _key: Option<&[u8]>, _partitions: i32) -> i32 {
        0
    }
    fn internal_topic(&self, name: &str) -> Arc<str> {
        format!("{}-{name}", self.application_id).into()
    }
    fn send(&mut self, record: OutRecord) -> Result<()> {
        if record.timestamp < 0 {
            return Err(Fault::stop("the record to send has a negative timestamp"));
        }
        self.out.push(record);
        Ok(())
    }
    fn dropped(&mut self, _reason: Dropped) {
        self.dropped += 1;
    }
    fn schedule(&mut self, node: usize, every_ms: i64, kind: Punctuation) -> ScheduleId {
        let node = self.base.2 + node;
        let id = ScheduleId(self.schedules.iter().filter(|s| s.node == node).count());
        let due = if kind == Punctuation::StreamTime { 0 } else { self.now + every_ms };
        self.schedules.push(Schedule { node, id, every_ms, kind, due });
        id
    }
    fn cancel(&mut self, node: usize, schedule: ScheduleId) {
        let node = self.base.2 + node;
        self.schedules.retain(|s| (s.node, s.id) != (node, schedule));
    }
    fn request_commit(&mut self) {}
}

struct Queue {
    topic: Arc<str>,
    source: Rc<dyn Source>,
    sub: usize,
    waiting: VecDeque<RawRecord>,
    partition_time: Timestamp,
}

/// The running scenario.
pub struct Driver {
    inside: Inside,
    graphs: Vec<(Graph, (usize, usize, usize))>,
    changelogs: Vec<Option<Arc<str>>>,
    queues: Vec<Queue>,
    offsets: BTreeMap<Arc<str>, i64>,
    /// What was written, by topic.
    pub written: Vec<OutRecord>,
}

struct Changelog<'a>(&'a Arc<str>, &'a mut Vec<OutRecord>);

impl ChangelogSink for Changelog<'_> {
    fn log(&mut self, key: Bytes, value: Option<Bytes>, timestamp: Timestamp) {
        let (topic, headers) = (self.0.clone(), Headers::new());
        let (partition, key, target) = (0, Some(key), Target::Changelog);
        self.1.push(OutRecord { topic, partition, key, value, timestamp, headers, target });
    }
}

impl Driver {
    pub fn new(topology: &Topology, resolved: &Resolved, now: Timestamp) -> Result<Self> {
        let mut inside = Inside {
            application_id: resolved.application_id.to_string(),
            stores: Vec::new(),
            times: Vec::new(),
            base: (0, 0, 0),
            source: None,
            stream_time: -1,
            now,
            out: Vec::new(),
            dropped: 0,
            schedules: Vec::new(),
        };
        let (mut graphs, mut changelogs, mut queues, mut nodes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for sub in &resolved.sub_topologies {
            let graph = topology.graph(sub.id, resolved)?;
            let base = (inside.stores.len(), inside.times.len(), nodes);
            nodes += graph.nodes.len();
            for store in &sub.stores {
                let backend = Arc::new(MemoryBackend::new());
                inside.stores.push(Store::new(store.spec.clone(), backend, None, false));
                changelogs.push(store.changelog.clone());
            }
            inside.times.extend(graph.times.iter().map(|_| -1));
            for entry in &graph.sources {
                queues.push(Queue {
                    topic: entry.topic.clone(),
                    source: entry.source.clone(),
                    sub: graphs.len(),
                    waiting: VecDeque::new(),
                    partition_time: -1,
                });
            }
            graphs.push((graph, base));
        }
        let mut driver = Self { inside, graphs, changelogs, queues, offsets: BTreeMap::new(), written: Vec::new() };
        for (graph, base) in &driver.graphs {
            driver.inside.base = *base;
            for node in &graph.nodes {
                node.init(&mut driver.inside)?;
            }
        }
        Ok(driver)
    }

    /// A store by name.
    pub fn store(&mut self, name: &str) -> &mut Store {
        let found = self.inside.stores.iter_mut().find(|s| &*s.spec().name == name);
        found.unwrap_or_else(|| panic!("there is no store {name}"))
    }

    /// Records that were left out.
    pub fn dropped(&self) -> u64 {
        self.inside.dropped
    }

    /// Pipes a record in and processes it with all that it causes.
    pub fn pipe(&mut self, topic: &str, mut record: RawRecord) -> Result<()> {
        self.enqueue(topic, &mut record);
        self.run()
    }

    fn enqueue(&mut self, topic: &str, record: &mut RawRecord) {
        let offset = self.offsets.entry(topic.into()).or_insert(0);
        record.offset = *offset;
        *offset += 1;
        if let Some(queue) = self.queues.iter_mut().find(|q| &*q.topic == topic) {
            queue.waiting.push_back(record.clone());
        }
    }

    /// The wall clock advances; what is due runs.
    pub fn advance(&mut self, by_ms: i64) -> Result<()> {
        self.inside.now += by_ms;
        self.punctuate(Punctuation::WallClock, self.inside.now)?;
        self.commit()?;
        self.run()
    }

    fn run(&mut self) -> Result<()> {
        while let Some((at, time)) = self.next()? {
            let queue = &mut self.queues[at];
            let raw = queue.waiting.pop_front().expect("next gives a queue with a record");
            if time < 0 {
                self.inside.dropped += 1;
                continue;
            }
            queue.partition_time = queue.partition_time.max(time);
            self.inside.stream_time = self.inside.stream_time.max(time);
            self.inside.source = Some(SourceContext { topic: queue.topic.clone(), partition: 0, offset: raw.offset });
            self.inside.base = self.graphs[queue.sub].1;
            let source = queue.source.clone();
            source.process(&mut self.inside, &raw, time)?;
            self.inside.source = None;
            self.punctuate(Punctuation::StreamTime, self.inside.stream_time)?;
            self.commit()?;
        }
        Ok(())
    }

    /// The queue whose head has the lowest timestamp.
    fn next(&self) -> Result<Option<(usize, Timestamp)>> {
        let mut best: Option<(usize, Timestamp)> = None;
        for (at, queue) in self.queues.iter().enumerate() {
            let Some(head) = queue.waiting.front() else { continue };
            let time = queue.source.timestamp(&queue.topic, head, queue.partition_time)?;
            if best.is_none_or(|(_, lowest)| time < lowest) {
                best = Some((at, time));
            }
        }
        Ok(best)
    }

    fn punctuate(&mut self, kind: Punctuation, time: Timestamp) -> Result<()> {
        if time < 0 {
            return Ok(());
        }
        let mut due: Vec<_> = Vec::new();
        for s in self.inside.schedules.iter_mut().filter(|s| s.kind == kind && s.due <= time) {
            due.push((s.due, s.node, s.id));
            s.due += ((time - s.due) / s.every_ms + 1) * s.every_ms;
        }
        due.sort();
        for (_, node, id) in due {
            let (graph, base) = self.graphs.iter().rev().find(|(_, base)| base.2 <= node).expect("a node of a graph");
            self.inside.base = *base;
            graph.nodes[node - base.2].punctuate(&mut self.inside, id, time)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        for (graph, base) in &self.graphs {
            self.inside.base = *base;
            for point in &graph.flush {
                graph.nodes[point.node].flush(&mut self.inside)?;
            }
        }
        let mut made = std::mem::take(&mut self.inside.out);
        for (store, changelog) in self.inside.stores.iter_mut().zip(&self.changelogs) {
            let unlogged: Arc<str> = "".into();
            let mut sink = Changelog(changelog.as_ref().unwrap_or(&unlogged), &mut made);
            store.drain(&mut sink);
            store.committed(self.inside.now);
        }
        made.retain(|record| !record.topic.is_empty());
        for record in made {
            let mut raw = RawRecord {
                offset: 0,
                timestamp: record.timestamp,
                key: record.key.clone(),
                value: record.value.clone(),
                headers: record.headers.clone(),
            };
            self.enqueue(&record.topic, &mut raw);
            self.written.push(record);
        }
        Ok(())
    }
}
