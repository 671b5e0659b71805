//! Global tables on Kafka: one thread of the process reads their topics whole before tasks start, and follows them.

use super::{clients::Clients, restore::Restorer};
use crate::{
    fault::{Fault, Remedy, Result},
    record::TopicPartition,
    topology::GlobalTable,
    worker::{LogRange, Settings},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long the reader waits before it asks again whether there is something new: Kafka Streams' `poll.ms`.
const PAUSE: Duration = Duration::from_millis(100);
/// For so long the tables may be behind their topics before that is told, and told again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts the reader of the global tables, and waits until it has read what their topics hold now. It ends with `stop`,
/// or with a fault. `None` when there is no such table, or `asked` to stop meanwhile.
///
/// # Errors
/// When a topic can't be read, or a record is none of its table's and nobody leaves such out.
pub(super) fn start(
    clients: &Clients,
    tables: &[GlobalTable],
    settings: &Settings,
    asked: &AtomicBool,
    stop: &Arc<AtomicBool>,
) -> Result<Option<JoinHandle<Result<()>>>> {
    if tables.is_empty() {
        return Ok(None);
    }
    tracing::info!(tables = tables.len(), "restoring global tables");
    let (restored, waits) = channel();
    let (clients, tables, settings, ending) = (clients.clone(), tables.to_vec(), settings.clone(), Arc::clone(stop));
    let reader = thread::Builder::new()
        .name("globals".into())
        .spawn(move || read(clients, &tables, &settings, &ending, &restored))
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
    settings: &Settings,
    stop: &Arc<AtomicBool>,
    restored: &Sender<()>,
) -> Result<()> {
    let mut reader = Restorer::of_globals(clients, Arc::clone(stop));
    let mut waiting = true;
    let mut level = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match catch_up(&mut reader, tables, settings, stop) {
            Ok(()) => {
                level = Instant::now();
                if waiting {
                    waiting = false;
                    tables.iter().for_each(|table| table.store.set_restored());
                    let rows: usize = tables.iter().map(|table| table.store.count()).sum();
                    tracing::info!(rows, "restored global tables");
                    // Nobody waits any more when the process was asked to stop.
                    let _gone = restored.send(());
                }
            }
            Err(fault) if fault.remedy == Remedy::Retry => {
                if level.elapsed() > PATIENCE {
                    tracing::warn!(%fault, "global tables are behind");
                    level = Instant::now();
                }
            }
            Err(fault) => return Err(fault.with_remedy(Remedy::Stop)),
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Reads what is committed to the topics by now. A partition that can't be read yet holds up no other one.
fn catch_up(reader: &mut Restorer, tables: &[GlobalTable], settings: &Settings, stop: &AtomicBool) -> Result<()> {
    let mut level = Ok(());
    for table in tables {
        let partitions: Vec<TopicPartition> =
            (0..table.partitions).map(|p| TopicPartition::new(Arc::clone(&table.topic), p)).collect();
        for (partition, range) in partitions.iter().zip(reader.ranges(&partitions)?) {
            match follow(reader, (table, settings), partition, range) {
                Err(fault) if fault.remedy == Remedy::Retry && !stop.load(Ordering::Relaxed) => level = Err(fault),
                read => read?,
            }
        }
    }
    level
}

fn follow(
    reader: &mut Restorer,
    (table, settings): (&GlobalTable, &Settings),
    partition: &TopicPartition,
    range: LogRange,
) -> Result<()> {
    let mut position = table.store.position(partition.partition).unwrap_or(range.start);
    while position < range.end {
        let (records, next) = reader.piece(partition, position, range.end)?;
        table.apply(partition.partition, &records, next, settings.errors.deserialization)?;
        position = next;
    }
    Ok(())
}
