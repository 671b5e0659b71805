//! Requests whose answers may come in any order and at any time.

use super::{ClientConfig, group::stable};
use crate::{
    embedded::Disks,
    fault::Fault,
    log::{Isolation, Log, LogError},
    record::{Offset, TaskId, TopicPartition},
    state::{Backend, Batch},
    worker::{Effect, Event, LogRange, OpenStore, OpenedStore, Request},
};
use std::sync::Arc;

pub(super) enum Pending {
    Open { request: Request, task: TaskId, stores: Vec<OpenStore> },
    Close { request: Request, task: TaskId },
    Ranges { request: Request, partitions: Vec<TopicPartition> },
    Restore { request: Request, changelog: TopicPartition, from: Offset, to: Offset },
    Persist { request: Request, task: TaskId, backend: Arc<dyn Backend>, batch: Batch },
    Stable { request: Request, partitions: Vec<TopicPartition> },
}

fn broker(error: LogError, partition: &TopicPartition) -> Fault {
    Fault::rebuild(error.to_string()).at(partition.to_string())
}

impl Pending {
    /// `None` for an effect that has no answer.
    pub(super) fn new(effect: Effect) -> Option<Self> {
        Some(match effect {
            Effect::OpenStores { request, task, stores } => Self::Open { request, task, stores },
            Effect::CloseStores { request, task } => Self::Close { request, task },
            Effect::LogRanges { request, partitions } => Self::Ranges { request, partitions },
            Effect::Restore { request, changelog, from, to } => Self::Restore { request, changelog, from, to },
            Effect::Persist { request, task, backend, batch } => Self::Persist { request, task, backend, batch },
            Effect::FetchStable { request, partitions } => Self::Stable { request, partitions },
            _ => return None,
        })
    }

    pub(super) fn try_complete(
        &self,
        config: &ClientConfig,
        member: usize,
        log: &mut Log,
        disks: &mut dyn Disks,
    ) -> Option<Event> {
        Some(match self {
            Self::Open { request, task, stores } => {
                let result = disks.open(member, *task, stores)?.and_then(|backends| {
                    stores.iter().zip(backends).map(|(store, backend)| opened(store, backend, log)).collect()
                });
                Event::Opened { request: *request, result }
            }
            Self::Close { request, task } => {
                disks.close(member, *task);
                Event::Closed { request: *request }
            }
            Self::Ranges { request, partitions } => {
                let range = |p: &TopicPartition| Ok(LogRange { start: log.start(p)?, end: log.end(p)? });
                let result = partitions.iter().map(|p| range(p).map_err(|e| broker(e, p))).collect();
                Event::LogRanges { request: *request, result }
            }
            Self::Restore { request, changelog, from, to } => {
                let result = match log.fetch(changelog, *from, Isolation::ReadCommitted, config.fetch_bytes_max) {
                    // The last stable offset holds it back.
                    Ok(fetched) if fetched.position <= *from && *from < *to => return None,
                    Ok(fetched) => {
                        let mut records = fetched.records;
                        records.truncate(records.partition_point(|r| r.offset < *to));
                        Ok((records, fetched.position.min(*to).max(*from)))
                    }
                    Err(error) => Err(broker(error, changelog)),
                };
                Event::Restored { request: *request, result }
            }
            Self::Persist { request, backend, batch, .. } => {
                Event::Persisted { request: *request, result: backend.persist(batch) }
            }
            Self::Stable { request, partitions } => {
                let result = match log.stable(&config.group, partitions) {
                    Err(LogError::Unstable) => return None,
                    Err(error) => Err(Fault::rebuild(error.to_string())),
                    Ok(committed) => {
                        Ok(partitions.iter().zip(committed).map(|(p, committed)| stable(p, committed)).collect())
                    }
                };
                Event::StableOffsets { request: *request, result }
            }
        })
    }

    /// The task that is being opened.
    pub(super) fn opens(&self) -> Option<TaskId> {
        if let Self::Open { task, .. } = self { Some(*task) } else { None }
    }

    /// True while the former life of a task still touches its directory.
    pub(super) fn uses(&self, opening: TaskId) -> bool {
        matches!(self, Self::Persist { task, .. } | Self::Close { task, .. } if *task == opening)
    }

    /// A persist reaches the disk although nobody is left to hear of it.
    pub(super) fn finish_persist(&self) {
        if let Self::Persist { backend, batch, .. } = self {
            // A failure leaves the backend as it was, which is what a crash may do as well.
            let _ = backend.persist(batch);
        }
    }
}

fn opened(store: &OpenStore, backend: Arc<dyn Backend>, log: &Log) -> Result<OpenedStore, Fault> {
    let topic = store.changelog.as_ref().map(|c| &*c.topic);
    let topic_id = topic.and_then(|t| log.topic_id(t)).unwrap_or_default().to_owned();
    Ok(OpenedStore { saved: backend.saved()?, backend, cluster_id: log.cluster_id().to_owned(), topic_id })
}
