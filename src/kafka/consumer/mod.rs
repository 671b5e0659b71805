//! The group member of one stream thread: assignments, fetches, positions.
//!
//! Each partition has a queue of its own, drained in turn. A partition that shall not flow is simply not drained:
//! nothing of what is prefetched is lost.

mod recorder;
mod requests;

pub(super) use requests::{REQUEST_TIMEOUT, is_denied, list_of, offsets_of, patiently};

use super::{
    calls::Calls,
    raw::{self, Queue},
};
use crate::{
    fault::{Fault, Result},
    record::{Offset, TopicPartition},
    worker::{Event, Fetch, From, GroupMetadata, Stable},
};
use rdkafka::{
    ClientConfig, Offset as RdOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};
use recorder::Recorder;
use requests::{broken, consume_error, fatal};
use std::{collections::BTreeMap, ffi::CString, mem, sync::Arc, thread::Thread, time::Duration};

/// Records taken from one partition at a time.
const PARTITION_RECORDS_MAX: usize = 500;
/// Records taken from all partitions before the worker has its turn.
const TURN_RECORDS_MAX: usize = 4_000;

struct Part {
    queue: Queue,
    name: CString,
    /// Where the client reads from until the first fetch says otherwise.
    assigned: Offset,
    fetch: Option<Fetch>,
    flowing: bool,
    position: Offset,
    end: Offset,
    /// True while `end` is the last stable end itself, which an end mark told, and not the high watermark.
    stable_end: bool,
}

/// The consumer of one stream thread.
pub(super) struct Consumer {
    parts: BTreeMap<TopicPartition, Part>,
    pending: Vec<(Fetch, TopicPartition, From)>,
    turn: usize,
    topics: Vec<Arc<str>>,
    reset: Box<dyn Fn(&str) -> Reset + Send>,
    waker: Arc<Thread>,
    own_queue: Option<Queue>,
    calls: Calls,
    /// A static member, which does not leave when it ends.
    stays: bool,
    client: BaseConsumer<Recorder>,
}

/// Where a partition without a committed offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    Earliest,
    Latest,
    Fail,
}

impl Consumer {
    /// Joins the group. `waker` is unparked when something comes.
    pub fn join(
        config: &ClientConfig,
        topics: Vec<Arc<str>>,
        reset: Box<dyn Fn(&str) -> Reset + Send>,
        waker: Arc<Thread>,
        calls: Calls,
    ) -> Result<Self> {
        let client: BaseConsumer<Recorder> = config.create_with_context(Recorder::default()).map_err(|e| broken(&e))?;
        let own_queue = Queue::of_consumer(client.client().native_ptr(), &waker);
        let (parts, pending) = (BTreeMap::new(), Vec::new());
        let stays = config.get("group.instance.id").is_some();
        let consumer = Self { parts, pending, turn: 0, topics, reset, waker, own_queue, calls, stays, client };
        consumer.subscribe()?;
        Ok(consumer)
    }

    fn subscribe(&self) -> Result<()> {
        let _in = self.calls.enter("subscribe");
        let topics: Vec<&str> = self.topics.iter().map(|t| &**t).collect();
        self.client.subscribe(&topics).map_err(|e| broken(&e))
    }

    /// Leaves and joins again: the group deals the partitions out anew.
    pub fn rejoin(&self) -> Result<()> {
        let inside = self.calls.enter("unsubscribe");
        self.client.unsubscribe();
        drop(inside);
        self.subscribe()
    }

    /// Serves the group: heartbeats are told that this thread lives, and rebalances become events.
    pub fn poll(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let inside = self.calls.enter("poll");
        let polled = self.client.poll(Duration::ZERO);
        drop(inside);
        match polled {
            None | Some(Ok(_)) => {}
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => return Err(fatal(code)),
            Some(Err(KafkaError::MessageConsumption(code))) => {
                if let Some(fault) = consume_error(code, &self.topics.join(", ")) {
                    return Err(fault);
                }
            }
            Some(Err(error)) => tracing::debug!(%error, "the consumer reports an error"),
        }
        loop {
            let Some(rebalance) = self.client.context().next() else { return Ok(()) };
            if rebalance.assigned {
                let event = self.assigned(&rebalance.partitions)?;
                events.push(event);
            } else {
                events.push(if rebalance.lost { Event::Lost } else { Event::Revoked });
            }
        }
    }

    /// Makes an assignment an event. The identity is captured first: if the group moves on meanwhile, commits under
    /// it are refused. Committed offsets are read after the assignment, and wait for open commits of former owners.
    fn assigned(&mut self, partitions: &TopicPartitionList) -> Result<Event> {
        self.drop_queues();
        let rk = self.client.client().native_ptr();
        let gone = GroupMetadata { generation: -1, member: String::new(), instance: None };
        let group = raw::identity(rk).unwrap_or(gone);
        let all: Vec<TopicPartition> =
            partitions.elements().iter().map(|e| TopicPartition::new(e.topic(), e.partition())).collect();
        if group.generation < 0 || group.member.is_empty() {
            return Ok(Event::Lost);
        }
        let stable = self.stable(&all)?;
        let counts = self.counts()?;
        let unknown: Vec<_> = stable.iter().filter(|s| s.offset.is_none()).map(|s| s.partition.clone()).collect();
        let mut starts = self.offsets(&unknown, RdOffset::Beginning)?;
        let mut list = TopicPartitionList::with_capacity(all.len());
        for s in &stable {
            let start = s.offset.unwrap_or_else(|| starts.remove(&s.partition).unwrap_or(0));
            let TopicPartition { topic, partition } = &s.partition;
            // The queue is taken apart before the assignment: afterwards the first records would go astray.
            let queue = Queue::of_partition(rk, topic, *partition, &self.waker)
                .ok_or_else(|| Fault::stop("the client has no queue for a partition").at(s.partition.to_string()))?;
            let name = raw::c(topic);
            let part = Part {
                queue,
                name,
                assigned: start,
                fetch: None,
                flowing: true,
                position: -1,
                end: -1,
                stable_end: false,
            };
            self.parts.insert(s.partition.clone(), part);
            list.add_partition_offset(topic, *partition, RdOffset::Offset(start)).map_err(|e| broken(&e))?;
        }
        let _in = self.calls.enter("assign");
        self.client.assign(&list).map_err(|e| broken(&e))?;
        Ok(Event::Assigned { partitions: stable, counts, group })
    }

    /// Committed offsets that no open transaction can change any more.
    pub fn stable(&self, partitions: &[TopicPartition]) -> Result<Vec<Stable>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let _in = self.calls.enter("committed_offsets");
        let list = list_of(partitions);
        let committed =
            patiently("committed offsets", || self.client.committed_offsets(list.clone(), REQUEST_TIMEOUT))?;
        let mut found: BTreeMap<TopicPartition, (Option<Offset>, String)> = BTreeMap::new();
        for e in committed.elements() {
            e.error().map_err(|error| {
                Fault::stop(format!("can't read the committed offset: {error}"))
                    .at(format!("{}-{}", e.topic(), e.partition()))
                    .hint("the application needs READ on its group and DESCRIBE on its topics")
            })?;
            let offset = e.offset().to_raw().filter(|o| *o >= 0);
            found.insert(TopicPartition::new(e.topic(), e.partition()), (offset, e.metadata().to_owned()));
        }
        let stable = |p: &TopicPartition| {
            let (offset, metadata) = found.remove(p).unwrap_or_default();
            Stable { partition: p.clone(), offset, metadata }
        };
        Ok(partitions.iter().map(stable).collect())
    }

    fn counts(&self) -> Result<Vec<(Arc<str>, i32)>> {
        let _in = self.calls.enter("fetch_metadata");
        let count = |topic: &Arc<str>| {
            let metadata = patiently("topic metadata", || self.client.fetch_metadata(Some(topic), REQUEST_TIMEOUT))?;
            let found = metadata.topics().iter().find(|t| t.name() == &**topic);
            let count = found.map_or(0, |t| i32::try_from(t.partitions().len()).unwrap_or(i32::MAX));
            Ok((Arc::clone(topic), count))
        };
        // A topic without partitions is one whose metadata has not arrived: it says nothing.
        Ok(self.topics.iter().map(count).collect::<Result<Vec<_>>>()?.into_iter().filter(|c| c.1 > 0).collect())
    }

    /// First offsets, or last stable ends.
    fn offsets(&self, partitions: &[TopicPartition], which: RdOffset) -> Result<BTreeMap<TopicPartition, Offset>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let _in = self.calls.enter("list_offsets");
        let mut list = list_of(partitions);
        list.set_all_offsets(which).map_err(|e| broken(&e))?;
        let answer = patiently("offsets", || self.client.offsets_for_times(list.clone(), REQUEST_TIMEOUT))?;
        Ok(offsets_of(&answer))
    }

    /// Asks for a partition's records from a place on; carried out by [`Consumer::apply_fetches`].
    pub fn fetch(&mut self, fetch: Fetch, partition: TopicPartition, from: From) {
        self.pending.push((fetch, partition, from));
    }

    /// Carries out the fetches asked for, and tells the position of each partition at once: an empty one has no other
    /// way to be known.
    pub fn apply_fetches(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let pending = mem::take(&mut self.pending);
        let mine: Vec<_> = pending.into_iter().filter(|(_, p, _)| self.parts.contains_key(p)).collect();
        if mine.is_empty() {
            return Ok(());
        }
        let all: Vec<TopicPartition> = mine.iter().map(|(_, p, _)| p.clone()).collect();
        let ends = self.offsets(&all, RdOffset::End)?;
        for (fetch, partition, from) in mine {
            let end = ends.get(&partition).copied().unwrap_or(-1);
            let reset = (self.reset)(&partition.topic);
            let start = match from {
                From::Offset(offset) => offset,
                From::Reset if reset == Reset::Fail => {
                    return Err(Fault::stop("no offset is committed, and auto.offset.reset is none")
                        .at(partition.to_string())
                        .hint("set auto.offset.reset to earliest or latest"));
                }
                From::Reset if reset == Reset::Latest => end,
                From::Reset | From::Start => {
                    let first = self.offsets(std::slice::from_ref(&partition), RdOffset::Beginning)?;
                    first.get(&partition).copied().unwrap_or(0)
                }
            };
            let part = self.parts.get_mut(&partition).expect("filtered above");
            if part.fetch.is_some() || part.assigned != start {
                let _in = self.calls.enter("seek");
                seek(&self.client, &partition, start)?;
            }
            (part.assigned, part.fetch, part.flowing) = (start, Some(fetch), true);
            (part.position, part.end, part.stable_end) = (start, end, true);
            events.push(Event::Position { fetch, partition, position: start, end });
        }
        Ok(())
    }

    /// Stops or resumes the delivery of a partition; what is prefetched stays.
    pub fn flow(&mut self, partition: &TopicPartition, on: bool) {
        if let Some(part) = self.parts.get_mut(partition) {
            part.flowing = on;
        }
    }

    /// Takes what has been fetched, from each partition in turn. True when there may be more.
    pub fn consume(&mut self, events: &mut Vec<Event>) -> Result<bool> {
        let rk = self.client.client().native_ptr();
        let count = self.parts.len();
        let keys: Vec<TopicPartition> = self.parts.keys().cloned().collect();
        let (mut taken, mut more) = (0, false);
        for step in 0..count {
            let partition = &keys[(self.turn + step) % count];
            let part = self.parts.get_mut(partition).expect("a key of the map");
            let Some(fetch) = part.fetch.filter(|_| part.flowing) else { continue };
            let batch = part.queue.consume(0, PARTITION_RECORDS_MAX);
            if batch.is_empty() {
                continue;
            }
            more |= batch.len() == PARTITION_RECORDS_MAX;
            let (records, errors) = batch.records();
            let mark = batch.end_mark();
            drop(batch);
            let position = records.last().map(|last| last.offset + 1).max(mark);
            if let Some(position) = position {
                taken += records.len();
                part.position = position;
                // The high watermark lies above the last stable end while a transaction is open there. An end mark
                // tells the stable end, once: until the end moves there is no other.
                part.stable_end = mark == Some(position);
                part.end = match raw::cached_end(rk, &part.name, partition.partition) {
                    Some(end) if !part.stable_end => end.max(position),
                    _ => position,
                };
                let (position, end) = (part.position, part.end);
                events.push(Event::Records { fetch, partition: partition.clone(), records, position, end });
            }
            for code in errors {
                if let Some(fault) = consume_error(code, &partition.to_string()) {
                    return Err(fault);
                }
            }
            if taken >= TURN_RECORDS_MAX {
                more = true;
                self.turn = self.turn.wrapping_add(step + 1);
                break;
            }
        }
        self.turn = if count == 0 { 0 } else { (self.turn + 1) % count };
        Ok(more)
    }

    /// Tells ends that moved, as long as the stable end is not known exactly. Positions come with the records and end marks of the queue alone: the client's own
    /// `position()` still shows the former fetch after a seek or a new assignment, and a commit of it would skip
    /// records.
    pub fn ends(&mut self, events: &mut Vec<Event>) {
        let rk = self.client.client().native_ptr();
        for (partition, part) in &mut self.parts {
            let Some(fetch) = part.fetch.filter(|_| !part.stable_end) else { continue };
            let end = raw::cached_end(rk, &part.name, partition.partition).unwrap_or(part.end).max(part.end);
            if end > part.end {
                part.end = end;
                let (partition, position) = (partition.clone(), part.position);
                events.push(Event::Position { fetch, partition, position, end });
            }
        }
    }

    /// Commits offsets outside a transaction.
    pub fn commit(&self, offsets: &TopicPartitionList) -> Result<(), KafkaError> {
        self.client.commit(offsets, rdkafka::consumer::CommitMode::Sync)
    }

    fn drop_queues(&mut self) {
        self.parts.clear();
        self.pending.clear();
    }

    /// Gives all partitions up.
    pub fn unassign(&mut self) -> Result<()> {
        self.drop_queues();
        let _in = self.calls.enter("unassign");
        self.client.unassign().map_err(|e| broken(&e))
    }
}

/// Leaves the group (a static member stays until its session ends).
impl Drop for Consumer {
    fn drop(&mut self) {
        let _in = self.calls.enter("close consumer");
        self.client.context().close();
        // No queue reference may be left: the client's end waits for that.
        self.drop_queues();
        self.own_queue = None;
        // First the subscription, then the partitions: a member that gives its partitions up while it is subscribed
        // joins again, and its farewell would wait behind that join.
        if !self.stays {
            self.client.unsubscribe();
        }
        if let Err(error) = self.client.unassign() {
            tracing::debug!(%error, "the closing consumer can't give its partitions up");
        }
        tracing::debug!("the consumer closes");
    }
}

fn seek(client: &BaseConsumer<Recorder>, partition: &TopicPartition, offset: Offset) -> Result<()> {
    // The client may still be starting or stopping the fetch of this partition.
    patiently("a new position", || {
        client.seek(&partition.topic, partition.partition, RdOffset::Offset(offset), REQUEST_TIMEOUT)
    })
    .map_err(|f| f.at(partition.to_string()))
}
