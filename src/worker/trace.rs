//! Events and effects as lines of a log: what the drivers say at level debug, target `member`.

use super::{Effect, Event, OpenedStore, Stable};
use crate::record::OutRecord;
use std::{collections::BTreeSet, fmt};

/// What it says, without its records.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&of_event(self))
    }
}

/// What it asks for.
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&of_effect(self))
    }
}

fn of_event(event: &Event) -> String {
    match event {
        Event::Assigned { partitions, group, .. } => {
            let of = |s: &Stable| format!("{}@{}", s.partition, s.offset.unwrap_or(-1));
            let partitions = partitions.iter().map(of).collect::<Vec<_>>().join(" ");
            format!("Assigned generation {} {partitions}", group.generation)
        }
        Event::Revoked => "Revoked".into(),
        Event::Lost => "Lost".into(),
        Event::Records { fetch, partition, records, position, end } => {
            format!("Records {} of {partition} fetch {} to {position} end {end}", records.len(), fetch.0)
        }
        Event::Position { fetch, partition, position, end } => {
            format!("Position {position} of {partition} fetch {} end {end}", fetch.0)
        }
        Event::Opened { request, result } => {
            let of = |s: &OpenedStore| s.saved.as_ref().map_or(-1, |s| s.position);
            let positions = result.iter().flatten().map(of).collect::<Vec<_>>();
            format!("Opened {} at {positions:?}", request.0)
        }
        Event::LogRanges { request, result } => format!("LogRanges {} {result:?}", request.0),
        Event::Restored { request, result } => {
            format!("Restored {} {:?}", request.0, result.as_ref().map(|(records, to)| (records.len(), *to)))
        }
        Event::Persisted { request, result } => format!("Persisted {} {}", request.0, result.is_ok()),
        Event::Closed { request } => format!("Closed {}", request.0),
        Event::CommitEnded { request, outcome } => format!("CommitEnded {} {outcome:?}", request.0),
        Event::SendFailed { fault } => format!("SendFailed {fault}"),
        Event::AbortEnded { request, result } => format!("AbortEnded {} {}", request.0, result.is_ok()),
        Event::ProducerReady { request, result } => format!("ProducerReady {} {}", request.0, result.is_ok()),
        Event::StableOffsets { request, result } => {
            let of = |s: &Stable| format!("{}@{}", s.partition, s.offset.unwrap_or(-1));
            format!("StableOffsets {} {:?}", request.0, result.iter().flatten().map(of).collect::<Vec<_>>())
        }
        Event::Budget { table_bytes_max } => format!("Budget {table_bytes_max}"),
        Event::Stop => "Stop".into(),
    }
}

fn of_effect(effect: &Effect) -> String {
    match effect {
        Effect::Begin => "Begin".into(),
        Effect::Send { records } => {
            let of = |r: &OutRecord| format!("{}-{}", r.topic, r.partition);
            format!("Send {} to {:?}", records.len(), records.iter().map(of).collect::<BTreeSet<_>>())
        }
        Effect::Commit { request, offsets, group } => {
            let offsets = offsets.iter().map(|o| format!("{}@{}", o.partition, o.offset)).collect::<Vec<_>>();
            format!("Commit {} generation {} {offsets:?}", request.0, group.generation)
        }
        Effect::Abort { request } => format!("Abort {}", request.0),
        Effect::ReplaceProducer { request } => format!("ReplaceProducer {}", request.0),
        Effect::FetchStable { request, .. } => format!("FetchStable {}", request.0),
        Effect::Fetch { fetch, partition, from } => format!("Fetch {} {partition} from {from:?}", fetch.0),
        Effect::Flow { partition, on } => format!("Flow {partition} {on}"),
        Effect::Unassign => "Unassign".into(),
        Effect::Rejoin => "Rejoin".into(),
        Effect::OpenStores { request, task, .. } => format!("OpenStores {} {task}", request.0),
        Effect::CloseStores { request, task } => format!("CloseStores {} {task}", request.0),
        Effect::LogRanges { request, partitions } => format!("LogRanges {} {}", request.0, partitions.len()),
        Effect::Restore { request, changelog, from, to } => {
            format!("Restore {} {changelog} from {from} to {to}", request.0)
        }
        Effect::RestoreDone { changelog } => format!("RestoreDone {changelog}"),
        Effect::Persist { request, task, batch, .. } => format!(
            "Persist {} of {task}: {} rows, position {}",
            request.0,
            batch.rows.len(),
            batch.saved.as_ref().map_or(-1, |s| s.position)
        ),
        Effect::Purge { partition, below } => format!("Purge {partition} below {below}"),
        Effect::Deliver { batches } => {
            let of = |batch: &crate::sink::Batch| format!("{} {}@{}", batch.sink, batch.rows.len(), batch.task);
            format!("Deliver {}", batches.iter().map(of).collect::<Vec<_>>().join(" "))
        }
        Effect::KeepForever { topic, by } => format!("KeepForever {topic} by {by:?}"),
        Effect::Exit { fault } => format!("Exit {fault:?}"),
    }
}
