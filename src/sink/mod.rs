//! Rows for systems beyond Kafka: at least once into the sink, exactly once by key and offset.
//!
//! ```text
//!   task 0_1 ─ rows ─▶ Collected (newest row per sink, task and key)      pure: the core only collects
//!                          │ commit is due
//!                          ▼
//!                    Effect::Deliver ─▶ driver ─▶ Sink::write, again and again until it is done
//!                    Effect::Commit                    offsets, output and changelogs
//! ```
//!
//! # What is guaranteed
//!
//! 1. **Nothing is missing.** The rows of a transaction are acknowledged by the sink before its offsets are committed. A
//!    crash in between, or an abort, processes the records again and writes their rows again.
//! 2. **No row goes back.** A row carries the place of the input record that made it (topic, partition, offset), and the
//!    sink keeps that place beside the row. It takes a row only where the one that it has came from an offset that is not
//!    greater, and checks that in the same step as it writes. So a repeat, a batch that was long on its way, or a member
//!    that stood still while others took its partitions over changes nothing that is newer. A deletion is such a row
//!    too: the place stays, or a stale row would come back.
//! 3. **In the end each row is the one that the last record of its key gives, as if each had been processed once**: where
//!    the row follows from the records of one partition up to that offset, and where all rows of a key come from one
//!    partition. [`StreamsBuilder::build`](crate::topology::StreamsBuilder::build) refuses a sink that hangs on several
//!    topics, whose records have no order between them; [`repartition`](crate::topology::KStream::repartition) gives
//!    them one, and also brings a changed key to one partition. Wall clock, chance and reads of global tables in a row
//!    are not repeated exactly, in a sink as little as in user code elsewhere.
//!
//! Not guaranteed: a reader of the sink may see a row up to one transaction earlier than a read_committed reader of
//! Kafka sees the output beside it, and, when that transaction is aborted, before it is written again, the same. Rows of
//! two sources under one key overwrite each other. A topic that is deleted and made anew starts at offset 0: what the sink
//! holds of it is newer then, so give the sink a new table, or the topic another name. With
//! `processing.guarantee=at_least_once` the rows are those of that guarantee: none is skipped, and counts may be too high.

mod collected;
mod memory;

pub use collected::Collected;
pub use memory::{MemorySink, Trouble, Written};

use crate::{
    fault::{Fault, Remedy, Result},
    record::{SourceContext, TaskId, Timestamp},
};
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

/// A row as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRow {
    /// What it is found by.
    pub key: Bytes,
    /// The value, or `None` where the row is deleted.
    pub value: Option<Bytes>,
    /// Event time in milliseconds.
    pub timestamp: Timestamp,
    /// The input record that made it: the guard against older rows.
    pub version: SourceContext,
}

impl SinkRow {
    /// Bytes of key and value: what it costs until the commit.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// The partition that it comes from, as sinks keep it: `topic-partition`.
    pub fn source(&self) -> String {
        format!("{}-{}", self.version.topic, self.version.partition)
    }

    /// Whether it may take the place of a row of that version: not where a greater offset of the same partition stands.
    /// An equal one is written again, as it is the same row.
    pub fn replaces(&self, there: &SourceContext) -> bool {
        let same = self.version.topic == there.topic && self.version.partition == there.partition;
        !same || self.version.offset >= there.offset
    }
}

/// The rows of one task in one transaction for one sink: one for each key, in the order of the keys, so that writers that
/// lock rows one by one never wait for each other in a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Name of the sink.
    pub sink: Arc<str>,
    /// The task that wrote them.
    pub task: TaskId,
    /// The rows.
    pub rows: Vec<SinkRow>,
}

/// A system beyond Kafka that keeps rows by key.
pub trait Sink {
    /// Writes a batch, and returns when it is safe there. Of each row the version is compared with the one that the sink
    /// has ([`SinkRow::replaces`]) in the same step as the row is written; a row that is too old is left out without an
    /// error. Called again with the same batch after a failure, which may have left any part of it written.
    ///
    /// # Errors
    /// [`Remedy::Retry`] for what may pass, such as a lost connection: the sink is opened anew. [`Remedy::Stop`] for what
    /// a person must mend, such as a missing right.
    fn write(&mut self, batch: &Batch) -> Result<()>;
}

/// Opens a sink: once for each stream thread, when it has rows, and again after a failure.
pub trait SinkSupplier: Send + Sync {
    /// Connects.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn open(&self) -> Result<Box<dyn Sink>>;
}

/// The suppliers of a topology's sinks, by name.
pub type SinkSuppliers = BTreeMap<Arc<str>, Arc<dyn SinkSupplier>>;

/// The sinks of one stream thread, as drivers use them.
#[derive(Default)]
pub struct Sinks {
    suppliers: SinkSuppliers,
    open: BTreeMap<Arc<str>, Box<dyn Sink>>,
}

impl Sinks {
    /// None of them is open yet.
    pub fn new(suppliers: SinkSuppliers) -> Self {
        Self { suppliers, open: BTreeMap::new() }
    }

    /// Writes a batch, once. After a failure the sink is closed, and the next call opens it.
    ///
    /// # Errors
    /// As [`Sink::write`], with the sink's name as the place; what is neither to be tried again nor to stop for is tried
    /// again.
    pub fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut sink = match self.open.remove(&batch.sink) {
            Some(sink) => Ok(sink),
            None => match self.suppliers.get(&batch.sink) {
                Some(supplier) => supplier.open(),
                None => Err(Fault::stop("there is no such sink")),
            },
        };
        let written = sink.as_mut().map_or_else(|fault| Err(fault.clone()), |sink| sink.write(batch));
        match (written, sink) {
            (Ok(()), Ok(sink)) => {
                self.open.insert(Arc::clone(&batch.sink), sink);
                Ok(())
            }
            (Err(fault), _) | (_, Err(fault)) => {
                let stops = fault.remedy == Remedy::Stop;
                Err(fault
                    .at(format!("sink {}, {} rows of task {}", batch.sink, batch.rows.len(), batch.task))
                    .with_remedy(if stops { Remedy::Stop } else { Remedy::Retry }))
            }
        }
    }
}
