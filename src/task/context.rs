//! The task as its operators see it.

use super::{counters::Counters, outbox::Outbox, schedules::Schedules};
use crate::{
    codec,
    fault::{Fault, Result},
    operator::{
        Context, Dropped, ErrorContext, ErrorHandlers, ErrorSettings, OnError, Punctuation, ScheduleId, Stage, TimeSlot,
    },
    record::{OutRecord, RawRecord, SourceContext, StoreIx, TaskId, Timestamp},
    sink::SinkRow,
    state::Store,
    topology::Resolved,
};
use std::sync::Arc;

use super::replica::Slot;

/// Everything of a task but its graph, so that the graph can be called with it.
pub(super) struct Inside<'a> {
    pub id: TaskId,
    pub resolved: &'a Resolved,
    pub request_bytes_max: usize,
    pub now: Timestamp,
    pub stream_time: Timestamp,
    pub source: Option<SourceContext>,
    pub input: Option<&'a RawRecord>,
    /// What came with an update that the record cache held back.
    pub held_input: Option<Arc<RawRecord>>,
    pub errors: &'a ErrorSettings,
    pub handlers: &'a ErrorHandlers,
    pub names: &'a [Arc<str>],
    pub slots: &'a mut [Slot],
    pub times: &'a mut [Timestamp],
    pub schedules: &'a mut Schedules,
    pub outbox: &'a mut Outbox,
    pub counters: &'a mut Counters,
    pub unkeyed: &'a mut u32,
    pub commit_requested: &'a mut bool,
}

impl Context for Inside<'_> {
    fn task(&self) -> TaskId {
        self.id
    }

    fn application_id(&self) -> &str {
        &self.resolved.application_id
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

    fn input(&self) -> Option<&RawRecord> {
        // What a cache held back comes with another source, or none.
        let own = self.input.filter(|raw| self.source.as_ref().is_some_and(|source| source.offset == raw.offset));
        self.held_input.as_deref().or(own)
    }

    fn set_input(&mut self, input: Option<Arc<RawRecord>>) -> Option<Arc<RawRecord>> {
        std::mem::replace(&mut self.held_input, input)
    }

    fn error_settings(&self) -> &ErrorSettings {
        self.errors
    }

    fn on_error(&self, stage: Stage, context: &ErrorContext<'_>, fault: &Fault) -> OnError {
        self.handlers.at(stage).map_or_else(|| self.errors.at(stage), |handler| handler(context, fault))
    }

    fn store(&mut self, store: StoreIx) -> &mut Store {
        &mut self.slots[store.0].store
    }

    fn time(&self, slot: TimeSlot) -> Timestamp {
        self.times[slot.0]
    }

    fn set_time(&mut self, slot: TimeSlot, time: Timestamp) {
        self.times[slot.0] = time;
    }

    fn partitions(&self, topic: &str) -> Result<i32> {
        self.resolved.partitions.get(topic).copied().ok_or_else(|| {
            Fault::stop(format!("output topic `{topic}` is not known"))
                .at(format!("task {}", self.id))
                .hint("create the topic, then start again")
        })
    }

    fn default_partition(&mut self, key: Option<&[u8]>, partitions: i32) -> i32 {
        match key {
            Some(key) => codec::partition_for(key, partitions),
            None => {
                *self.unkeyed = self.unkeyed.wrapping_add(1);
                (*self.unkeyed % u32::try_from(partitions).unwrap_or(1).max(1)) as i32
            }
        }
    }

    fn internal_topic(&self, name: &str) -> Arc<str> {
        format!("{}-{name}", self.resolved.application_id).into()
    }

    fn send(&mut self, record: OutRecord) -> Result<()> {
        if record.bytes() > self.request_bytes_max {
            return Err(Fault::skip(format!(
                "a record of {} bytes for topic `{}` is larger than max.request.size = {}",
                record.bytes(),
                record.topic,
                self.request_bytes_max
            ))
            .at(format!("task {}", self.id))
            .hint("raise max.request.size and the topic's max.message.bytes, or make the record smaller"));
        }
        self.counters.sent += 1;
        self.counters.sent_bytes += record.bytes() as u64;
        self.outbox.push(record);
        Ok(())
    }

    fn collect(&mut self, sink: &Arc<str>, row: SinkRow) {
        self.counters.sent += 1;
        self.counters.sent_bytes += row.bytes() as u64;
        self.outbox.rows.push(sink, self.id, row);
    }

    fn dropped(&mut self, reason: Dropped) {
        self.counters.drop_record(reason, self.source.as_ref().map(|s| &s.topic));
    }

    fn schedule(&mut self, node: usize, interval_ms: i64, kind: Punctuation) -> ScheduleId {
        self.schedules.add(node, &self.names[node], interval_ms, kind, self.now)
    }

    fn schedule_from(&mut self, node: usize, start: Timestamp, interval_ms: i64, kind: Punctuation) -> ScheduleId {
        let time = match kind {
            Punctuation::StreamTime => self.stream_time,
            Punctuation::WallClock => self.now,
        };
        self.schedules.add_from(node, &self.names[node], start, interval_ms, kind, time)
    }

    fn cancel(&mut self, node: usize, schedule: ScheduleId) {
        self.schedules.cancel(node, schedule);
    }

    fn request_commit(&mut self) {
        *self.commit_requested = true;
    }
}
