//! A task: replica, queues, operators, times.

use super::{
    context::Inside,
    counters::{Counters, Samples},
    metadata::{Metadata, Stamp, store_time},
    outbox::Outbox,
    queue::{Idle, LeftOut, Queue},
    replica::Replica,
    schedules::Schedules,
};
use crate::{
    fault::{Fault, Remedy, Result},
    operator::{
        Dropped, ErrorSettings, Punctuation, Stage,
        errors::{caught, settle},
    },
    record::{Headers, NO_TIMESTAMP, Offset, RawRecord, SourceContext, TaskId, Timestamp, TopicPartition},
    topology::{Graph, Resolved, Topology},
};
use std::{mem, sync::Arc};

/// What the worker lends to a task for one call.
pub struct Env<'a> {
    /// Wall clock in milliseconds.
    pub now: Timestamp,
    /// Topics and partition counts.
    pub resolved: &'a Resolved,
    /// The worker's outbox.
    pub outbox: &'a mut Outbox,
    /// `max.request.size` in bytes.
    pub request_bytes_max: usize,
    /// `max.task.idle.ms`.
    pub max_task_idle_ms: i64,
    /// What happens to failed and late records.
    pub errors: &'a ErrorSettings,
}

/// The committed position of one source partition, as far as this member knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read; `None` when nothing was ever committed.
    pub offset: Option<Offset>,
    /// The metadata committed with it.
    pub metadata: String,
}

/// The operators of a task and what feeds them; made anew by each restart.
struct Live {
    graph: Graph,
    queues: Vec<Queue>,
    times: Vec<Timestamp>,
    stream_time: Timestamp,
    schedules: Schedules,
    unkeyed: u32,
    idle_since: Option<Timestamp>,
}

/// One sub-topology on one partition.
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its stores.
    pub replica: Replica,
    /// What is committed for its source partitions, in the order of its sources.
    pub committed: Vec<Committed>,
    /// Counters since the task was created.
    pub counters: Counters,
    /// True when the open transaction holds something of this task.
    pub touched: bool,
    /// True when the open transaction holds a processed record of it.
    pub processed: bool,
    /// True when an operator asked for a commit.
    pub commit_requested: bool,
    /// By source: times of the records of the open transaction.
    samples: Vec<Samples>,
    sent: Sent,
    live: Option<Live>,
}

/// What must be known of the transaction whose outcome is awaited.
#[derive(Default)]
struct Sent {
    /// By source: times of its records.
    samples: Vec<Samples>,
    /// By store: whether it holds all that there was when the commit was sent.
    whole: Vec<bool>,
}

impl Task {
    /// A task without stores and operators.
    pub fn new(id: TaskId, committed: Vec<Committed>) -> Self {
        Self {
            id,
            replica: Replica::default(),
            counters: Counters::of_sources(committed.iter().map(|c| &c.partition.topic)),
            samples: vec![Samples::default(); committed.len()],
            sent: Sent::default(),
            committed,
            touched: false,
            processed: false,
            commit_requested: false,
            live: None,
        }
    }

    /// Starts, or starts again, from the committed metadata and the stores, and from nothing else: uncommitted rows,
    /// queues, times, schedules and user processors go. A new task and one after an abort take this one way.
    ///
    /// # Errors
    /// When the graph can't be built or a processor refuses to start.
    pub fn restart(&mut self, topology: &Topology, env: &mut Env<'_>) -> Result<()> {
        for slot in &mut self.replica.slots {
            slot.store.discard();
        }
        self.touched = false;
        self.processed = false;
        self.commit_requested = false;
        self.forget_samples();
        let graph = topology.graph_guarded(self.id.sub_topology, env.resolved, env.errors.guards_nodes())?;
        let metadata: Vec<Metadata> = self.committed.iter().map(|c| Metadata::decode(&c.metadata)).collect();
        let known = Metadata::merged_times(&metadata);
        let mut queues = Vec::with_capacity(graph.sources.len());
        for (entry, (committed, metadata)) in graph.sources.iter().zip(self.committed.iter().zip(&metadata)) {
            debug_assert_eq!(entry.topic, committed.partition.topic, "committed offsets come in source order");
            let mut queue = Queue::new(committed.partition.clone(), entry.source.clone());
            queue.partition_time = metadata.partition_time;
            queue.committed = committed.offset;
            queues.push(queue);
        }
        let times = graph.times.iter().map(|n| known.get(&**n).copied().unwrap_or(NO_TIMESTAMP)).collect();
        let stream_time = queues.iter().map(|q| q.partition_time).max().unwrap_or(NO_TIMESTAMP);
        let schedules = Schedules::restored(&known);
        self.live = Some(Live { graph, queues, times, stream_time, schedules, unkeyed: 0, idle_since: None });
        self.call(env, (None, None), |graph, cx| graph.nodes.iter().try_for_each(|node| node.init(cx)))?;
        self.touched = false;
        self.check_metadata()
    }

    /// Gives a store the stream time that is committed for it, before it is restored. With `exact` that is the store's
    /// time even when it holds rows beyond it, which at least once it may.
    pub fn recall_store_time(&mut self, slot: usize, exact: bool) {
        let metadata: Vec<Metadata> = self.committed.iter().map(|c| Metadata::decode(&c.metadata)).collect();
        let store = &mut self.replica.slots[slot].store;
        let time = Metadata::merged_times(&metadata).get(&store_time(&store.spec().name)).copied();
        let nothing_committed = self.committed.iter().all(|c| c.offset.is_none());
        let ours = metadata.iter().any(|m| m.stamp().is_some());
        match time {
            Some(time) if exact => store.set_stream_time(time),
            Some(time) => store.advance_stream_time(time),
            // Nothing was committed, or the store had no row yet when it was.
            None if exact && (nothing_committed || ours) => store.set_stream_time(NO_TIMESTAMP),
            // Kafka Streams committed: the rows tell.
            None => {}
        }
    }

    /// Where the committed metadata says that a store's restore may start.
    pub fn recall_floor(&self, slot: usize) -> Option<Offset> {
        let slot = &self.replica.slots[slot];
        self.committed.iter().filter_map(|c| slot.floor_in(&Metadata::decode(&c.metadata).times)).max()
    }

    /// True between a start and [`Task::stop`].
    pub fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Drops operators, queues and uncommitted rows, without writing.
    pub fn stop(&mut self) {
        self.live = None;
        self.touched = false;
        self.forget_samples();
        for slot in &mut self.replica.slots {
            slot.store.discard();
        }
    }

    fn forget_samples(&mut self) {
        self.samples.iter_mut().chain(&mut self.sent.samples).for_each(Samples::clear);
    }

    /// Calls `close` of every node.
    ///
    /// # Errors
    /// The first failure.
    pub fn close_nodes(&mut self, env: &mut Env<'_>) -> Result<()> {
        if self.live.is_none() {
            return Ok(());
        }
        self.call(env, (None, None), |graph, cx| graph.nodes.iter().try_for_each(|node| node.close(cx)))
    }

    fn call<T>(
        &mut self,
        env: &mut Env<'_>,
        (source, input): (Option<SourceContext>, Option<&RawRecord>),
        f: impl FnOnce(&Graph, &mut Inside<'_>) -> Result<T>,
    ) -> Result<T> {
        let live = self.live.as_mut().expect("only a started task is called");
        let mut cx = Inside {
            id: self.id,
            resolved: env.resolved,
            request_bytes_max: env.request_bytes_max,
            now: env.now,
            stream_time: live.stream_time,
            source,
            input,
            held_input: None,
            errors: env.errors,
            handlers: &live.graph.handlers,
            names: &live.graph.names,
            slots: &mut self.replica.slots,
            times: &mut live.times,
            schedules: &mut live.schedules,
            outbox: env.outbox,
            counters: &mut self.counters,
            unkeyed: &mut live.unkeyed,
            commit_requested: &mut self.commit_requested,
        };
        // A panic in a function of the topology is a failure like others: the worker ends in order.
        caught(|| f(&live.graph, &mut cx))
    }

    /// The source partitions with their queues.
    pub fn queues(&mut self) -> &mut [Queue] {
        self.live.as_mut().map_or(&mut [], |live| &mut live.queues)
    }

    /// The queue of a partition.
    pub fn queue(&mut self, partition: &TopicPartition) -> Option<&mut Queue> {
        self.queues().iter_mut().find(|q| q.partition == *partition)
    }

    /// Processes the record that is next by timestamp, if the task is ready, then punctuates by stream
    /// time. False when there was nothing to do.
    ///
    /// # Errors
    /// A fault whose remedy is not "skip": a record to skip is counted here.
    pub fn process(&mut self, env: &mut Env<'_>) -> Result<bool> {
        let Some(index) = self.choose(env)? else { return Ok(false) };
        let live = self.live.as_mut().expect("chosen from a started task");
        let queue = &mut live.queues[index];
        let partition_time = queue.partition_time;
        let (raw, timestamp) = queue.pop().expect("a chosen queue has a head");
        let context = SourceContext {
            topic: Arc::clone(&queue.partition.topic),
            partition: queue.partition.partition,
            offset: raw.offset,
        };
        let times = (live.stream_time, partition_time);
        live.stream_time = live.stream_time.max(timestamp);
        let entry = live.queues[index].source.clone();
        self.touched = true;
        self.processed = true;
        self.counters.processed += 1;
        self.counters.processed_bytes += raw.bytes() as u64;
        self.counters.topics[index].processed += 1;
        self.samples[index].note(timestamp);
        match self.call(env, (Some(context), Some(&raw)), |_, cx| entry.process(cx, &raw, timestamp)) {
            Err(fault) if fault.remedy == Remedy::Skip => {
                self.counters.drop_at(index, Dropped::Processing, 1);
                tracing::warn!(task = %self.id, offset = raw.offset, %fault, "record skipped");
            }
            Ok(false) => {
                let live = self.live.as_mut().expect("it was started before the call");
                (live.stream_time, live.queues[index].partition_time) = times;
            }
            other => drop(other?),
        }
        self.punctuate(Punctuation::StreamTime, env)?;
        Ok(true)
    }

    /// True once every source partition has a position: before, there is no offset that a transaction could carry (I7).
    fn positioned(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.queues.iter().all(|q| q.committable().is_some()))
    }

    /// The queue with the smallest head timestamp, ties by order of the sources; `None` while the task must wait.
    fn choose(&mut self, env: &Env<'_>) -> Result<Option<usize>> {
        if !self.positioned() {
            return Ok(None);
        }
        let Some(live) = self.live.as_mut() else { return Ok(None) };
        let mut best: Option<(Timestamp, usize)> = None;
        let mut behind = false;
        let mut empty = false;
        for (index, queue) in live.queues.iter_mut().enumerate() {
            let mut left_out = LeftOut::default();
            let head = queue.head(&mut left_out, env.now);
            self.counters.drop_at(index, Dropped::NegativeTimestamp, left_out.negative);
            self.counters.drop_at(index, Dropped::Deserialization, left_out.corrupt);
            self.touched |= left_out.negative + left_out.corrupt > 0;
            match head.map_err(|f| f.at(format!("{} of task {}", queue.partition, self.id)))? {
                Some(head) if best.is_none_or(|(time, _)| head < time) => best = Some((head, index)),
                Some(_) => {}
                None => {
                    empty = true;
                    behind |= queue.idle() == Idle::Behind;
                }
            }
        }
        let Some((_, index)) = best else {
            live.idle_since = None;
            return Ok(None);
        };
        if !empty || env.max_task_idle_ms < 0 {
            live.idle_since = None;
            return Ok(Some(index));
        }
        if behind {
            return Ok(None);
        }
        if env.max_task_idle_ms == 0 {
            return Ok(Some(index));
        }
        let since = *live.idle_since.get_or_insert(env.now);
        Ok((env.now - since >= env.max_task_idle_ms).then_some(index))
    }

    /// Calls every schedule of a kind that is due.
    ///
    /// # Errors
    /// As [`Task::process`].
    pub fn punctuate(&mut self, kind: Punctuation, env: &mut Env<'_>) -> Result<()> {
        if !self.positioned() {
            return Ok(());
        }
        loop {
            let Some(live) = self.live.as_mut() else { return Ok(()) };
            let time = match kind {
                Punctuation::StreamTime => live.stream_time,
                Punctuation::WallClock => env.now,
            };
            let Some((node, schedule)) = live.schedules.pop_due(kind, time) else { return Ok(()) };
            let (node, name) = (live.graph.nodes[node].clone(), live.graph.names[node].clone());
            self.touched = true;
            self.counters.punctuated += 1;
            self.call(env, (None, None), |_, cx| {
                let done = caught(|| node.punctuate(cx, schedule, time));
                done.or_else(|fault| settle(cx, Stage::Processing, &name, (time, Headers::none()), fault, None))
            })?;
        }
    }

    /// Forwards what the record caches hold back, upstream caches first.
    ///
    /// # Errors
    /// As [`Task::process`].
    pub fn flush(&mut self, env: &mut Env<'_>) -> Result<()> {
        let Some(live) = self.live.as_ref() else { return Ok(()) };
        for point in live.graph.flush.clone() {
            let slot = &self.replica.slots[point.store.0];
            if slot.store.pending_bytes() > 0 {
                let node = self.live.as_ref().expect("checked above").graph.nodes[point.node].clone();
                self.call(env, (None, None), |_, cx| node.flush(cx))?;
            }
        }
        Ok(())
    }

    /// Bytes of updates that the record caches hold back.
    pub fn pending_bytes(&self) -> usize {
        self.replica.slots.iter().map(|s| s.store.pending_bytes()).sum()
    }

    /// When a wall-clock schedule is due next.
    pub fn next_punctuation(&self) -> Option<Timestamp> {
        if !self.positioned() {
            return None;
        }
        self.live.as_ref()?.schedules.next_wall_clock()
    }

    /// True when a commit would change something.
    pub fn wants_commit(&self) -> bool {
        self.positioned()
            && (self.touched || self.live.as_ref().is_some_and(|live| live.queues.iter().any(Queue::moved)))
    }

    /// Offsets and metadata of all source partitions (I7), in the order of the sources. `fetched` plants the bug of
    /// committing positions that were fetched but not processed.
    ///
    /// # Errors
    /// When the metadata is too long for the brokers.
    pub fn offsets(&self, stamp: Stamp, fetched: bool) -> Result<Option<Vec<Committed>>> {
        let Some(live) = self.live.as_ref() else { return Ok(None) };
        let mut metadata = Metadata::default();
        for (name, time) in live.graph.times.iter().zip(&live.times) {
            if *time != NO_TIMESTAMP {
                metadata.times.insert(name.to_string(), *time);
            }
        }
        let timed = self.replica.slots.iter().filter(|s| s.expires() && s.store.stream_time() != NO_TIMESTAMP);
        for slot in timed {
            metadata.times.insert(store_time(&slot.store.spec().name), slot.store.stream_time());
        }
        live.schedules.save(&live.graph.names, &mut metadata.times);
        metadata.set_stamp(stamp);
        metadata.add_if_they_fit(self.replica.floors());
        let partition_times: Vec<_> = live.queues.iter().map(|queue| queue.partition_time).collect();
        let texts = metadata.spread(&partition_times)?;
        let committed = live.queues.iter().zip(texts).map(|(queue, metadata)| {
            let offset = if fetched { queue.position() } else { queue.committable() };
            Some(Committed { partition: queue.partition.clone(), offset: Some(offset?), metadata })
        });
        Ok(committed.collect())
    }

    /// Makes sure before the first record that the metadata of a commit will fit, with every time that it may hold.
    fn check_metadata(&self) -> Result<()> {
        let Some(live) = self.live.as_ref() else { return Ok(()) };
        let mut metadata = Metadata::default();
        metadata.set_stamp(Stamp { session: 0, commit: 0 });
        metadata.times.extend(live.graph.times.iter().map(|name| (name.to_string(), 0)));
        let expiring = self.replica.slots.iter().filter(|slot| slot.expires());
        metadata.times.extend(expiring.map(|slot| (store_time(&slot.store.spec().name), 0)));
        live.schedules.save(&live.graph.names, &mut metadata.times);
        metadata.spread(&vec![NO_TIMESTAMP; live.queues.len()]).map(drop)
    }

    /// The commit of the open transaction is sent: what is processed from here on belongs to the next one.
    pub fn commit_sent(&mut self) {
        (self.touched, self.processed, self.commit_requested) = (false, false, false);
        self.sent.whole = (0..self.replica.slots.len()).map(|slot| self.is_whole(slot)).collect();
        self.sent.samples.resize_with(self.samples.len(), Samples::default);
        mem::swap(&mut self.samples, &mut self.sent.samples);
    }

    /// The transaction that held `offsets` and the drained rows is committed. `now` was read before it was sent.
    pub fn commit_done(&mut self, offsets: Vec<Committed>, now: Timestamp) {
        self.committed = offsets;
        let whole = mem::take(&mut self.sent.whole);
        for (slot, whole) in self.replica.slots.iter_mut().zip(whole) {
            if whole {
                slot.store.committed(now);
            } else {
                slot.store.committed_behind(now);
            }
            if slot.source.is_some() {
                let offset = self.committed.iter().find(|c| Some(&c.partition) == slot.changelog.as_ref());
                slot.store.advance_position(offset.and_then(|c| c.offset).unwrap_or(0));
            }
        }
        let Some(live) = self.live.as_mut() else { return };
        for (queue, committed) in live.queues.iter_mut().zip(&self.committed) {
            queue.committed = committed.offset;
        }
    }

    /// True unless a store is restored from a source partition that holds input still to be processed: deletions among it
    /// may be of any age.
    fn is_whole(&self, slot: usize) -> bool {
        let slot = &self.replica.slots[slot];
        let mut queues = self.live.iter().flat_map(|live| &live.queues);
        slot.source.is_none()
            || queues.any(|q| Some(&q.partition) == slot.changelog.as_ref() && q.idle() == Idle::CaughtUp)
    }

    /// Nobody has committed for this task since its last commit: its stores hold all that was committed up to `asked_at`.
    pub fn proved(&mut self, asked_at: Timestamp) {
        // Input that is processed and not committed is in no table yet.
        let moved = self.live.as_ref().is_some_and(|live| live.queues.iter().any(Queue::moved));
        for at in 0..self.replica.slots.len() {
            if self.is_whole(at) && !(moved && self.replica.slots[at].source.is_some()) {
                self.replica.slots[at].store.covered(asked_at);
            }
        }
    }

    /// The committed offset of a source topic's partition.
    pub fn committed_offset(&self, topic: Option<&Arc<str>>) -> Option<Offset> {
        self.committed.iter().find(|c| Some(&c.partition.topic) == topic)?.offset
    }

    /// The records of the transaction that was committed last became visible at `now`.
    pub fn visible(&mut self, now: Timestamp) {
        for (samples, topic) in self.sent.samples.iter_mut().zip(&mut self.counters.topics) {
            samples.observe(now, &mut topic.event);
        }
    }

    /// Records that wait or are known to come, over all source partitions.
    pub fn lag(&self) -> i64 {
        self.live.as_ref().map_or(0, |live| live.queues.iter().map(Queue::lag).sum())
    }

    /// Bytes of the records that wait, over all source partitions.
    pub fn queued_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.queues.iter().map(Queue::bytes).sum())
    }

    /// Greatest timestamp processed, -1 before the first.
    pub fn stream_time(&self) -> Timestamp {
        self.live.as_ref().map_or(NO_TIMESTAMP, |live| live.stream_time)
    }

    /// True when every source partition is read to its known end and nothing waits.
    pub fn caught_up(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.queues.iter().all(|q| q.idle() == Idle::CaughtUp))
    }

    /// Keeps operator times and record caches over an abort: planted in [`Task::restart`]'s place by tests of checkers.
    pub fn restart_keeping_times(&mut self, topology: &Topology, env: &mut Env<'_>) -> Result<()> {
        let kept = self.live.as_ref().map(|live| (live.times.clone(), live.stream_time));
        self.restart(topology, env)?;
        if let (Some(live), Some((times, stream_time))) = (self.live.as_mut(), kept) {
            live.times = times;
            live.stream_time = stream_time;
        }
        Ok(())
    }
}

/// Says which of a task's partitions a fault concerns.
pub fn at_task(fault: Fault, id: TaskId) -> Fault {
    if fault.place().is_empty() { fault.at(format!("task {id}")) } else { fault }
}
