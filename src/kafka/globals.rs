//! Global tables on Kafka: one thread of the process reads their topics whole before tasks start, and follows them.

use super::{clients::Clients, restore::Restorer};
use crate::{
    fault::{Fault, Remedy, Result},
    record::TopicPartition,
    topology::GlobalTable,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long the reader waits before it asks again whether there is something new: Kafka Streams' `poll.ms`.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts the reader of the global tables, numbered `number` among the threads, and waits until it has read what their
/// topics hold now. It ends with `stop`, or with a fault. `None` when there is no such table, or `asked` to stop meanwhile.
///
/// # Errors
/// When a topic can't be read, or a record is none of its table's.
pub(super) fn start(
    clients: &Clients,
    tables: &[GlobalTable],
    number: usize,
    asked: &AtomicBool,
    stop: &Arc<AtomicBool>,
) -> Result<Option<JoinHandle<Result<()>>>> {
    if tables.is_empty() {
        return Ok(None);
    }
    tracing::info!(tables = tables.len(), "restoring global tables");
    let (restored, waits) = channel();
    let (clients, tables, ending) = (clients.clone(), tables.to_vec(), Arc::clone(stop));
    let reader = thread::Builder::new()
        .name("globals".into())
        .spawn(move || read(clients, &tables, number, &ending, &restored))
        .map_err(|e| Fault::stop(format!("a thread can't be started: {e}")))?;
    loop {
        match waits.recv_timeout(PAUSE) {
            Ok(()) => return Ok(Some(reader)),
            Err(RecvTimeoutError::Timeout) if asked.load(Ordering::Relaxed) => {
                stop.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return match reader.join() {
                    Ok(ended) => ended.map(|()| None),
                    Err(_) => Err(Fault::stop("the reader of global tables panicked")),
                };
            }
        }
    }
}

/// Reads until it is told to stop.
fn read(
    clients: Clients,
    tables: &[GlobalTable],
    number: usize,
    stop: &Arc<AtomicBool>,
    restored: &Sender<()>,
) -> Result<()> {
    let mut reader = Restorer::new(clients, number, Arc::clone(stop));
    let mut waiting = true;
    while !stop.load(Ordering::Relaxed) {
        match catch_up(&mut reader, tables) {
            Ok(()) if waiting => {
                waiting = false;
                tables.iter().for_each(|table| table.store.set_restored());
                // Nobody waits any more when the process was asked to stop.
                let _gone = restored.send(());
            }
            Ok(()) => {}
            Err(fault) if fault.remedy == Remedy::Retry => tracing::warn!(%fault, "global tables are behind"),
            Err(fault) => return Err(fault.with_remedy(Remedy::Stop)),
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Reads what the topics hold now.
fn catch_up(reader: &mut Restorer, tables: &[GlobalTable]) -> Result<()> {
    for table in tables {
        let partitions: Vec<TopicPartition> =
            (0..table.partitions).map(|p| TopicPartition::new(Arc::clone(&table.topic), p)).collect();
        for (partition, range) in partitions.iter().zip(reader.ranges(&partitions)?) {
            let number = partition.partition;
            let mut position = table.store.position(number).unwrap_or(range.start);
            while position < range.end {
                let (records, next) = reader.piece(partition, position, range.end)?;
                table.apply(number, &records, next)?;
                position = next;
            }
        }
    }
    Ok(())
}
