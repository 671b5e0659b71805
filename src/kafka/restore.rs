//! Reads changelogs in pieces, outside the group and off the stream thread.

use super::{
    clients::{Clients, Quiet},
    consumer::{REQUEST_TIMEOUT, is_denied, list_of, offsets_of, patiently},
    raw::Queue,
};
use crate::{
    fault::{Fault, Result},
    record::{Offset, RawRecord, TopicPartition},
    worker::LogRange,
};
use rdkafka::{
    Offset as RdOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::{Duration, Instant},
};

/// Records of one piece.
const PIECE_RECORDS_MAX: usize = 2_000;
/// How long a piece is waited for before other changelogs have their turn, and it is asked for again: an open
/// transaction of a dead owner blocks the reader until it times out.
const PIECE_PATIENCE: Duration = Duration::from_millis(250);

impl ConsumerContext for Quiet {}

struct Reader {
    queue: Queue,
    position: Offset,
}

/// The reader of the changelogs of one stream thread, or of the topics of global tables.
pub(super) struct Restorer {
    clients: Clients,
    role: String,
    /// What it reads, for error texts, and the topics to grant rights on.
    what: &'static str,
    topics: &'static str,
    /// Ends are those of committed records.
    stable: bool,
    waker: Arc<Thread>,
    /// Set when nobody waits for an answer any more.
    stop: Arc<AtomicBool>,
    readers: BTreeMap<TopicPartition, Reader>,
    client: Option<BaseConsumer<Quiet>>,
    ends: Option<BaseConsumer<Quiet>>,
}

impl Restorer {
    /// A reader that connects when it is first needed. To be made on the thread that uses it.
    pub fn new(clients: Clients, thread: usize, stop: Arc<AtomicBool>) -> Self {
        Self {
            clients,
            stop,
            role: format!("{thread:03}-restore"),
            what: "its changelog",
            topics: "its internal topics",
            stable: false,
            waker: Arc::new(std::thread::current()),
            readers: BTreeMap::new(),
            client: None,
            ends: None,
        }
    }

    /// A reader of the topics of global tables. Others write them, so nobody waits for the end of an open transaction:
    /// what it holds may never be committed.
    pub fn of_globals(clients: Clients, stop: Arc<AtomicBool>) -> Self {
        let mut reader = Self::new(clients, 0, stop);
        reader.role = "global".into();
        (reader.what, reader.topics, reader.stable) = ("a global table", "its topic", true);
        reader
    }

    /// Start and end of each partition, in order. Of a changelog it is the end that a read_uncommitted reader sees: what the
    /// former owner committed last must not be missed.
    pub fn ranges(&mut self, partitions: &[TopicPartition]) -> Result<Vec<LogRange>> {
        let client = match &mut self.ends {
            Some(client) => client,
            none => {
                let role = format!("{}-ends", self.role);
                none.insert(connect(&if self.stable { self.clients.reader(&role) } else { self.clients.ends(&role) })?)
            }
        };
        let starts = listed(client, partitions, RdOffset::Beginning)?;
        let ends = listed(client, partitions, RdOffset::End)?;
        let range = |p: &TopicPartition| match (starts.get(p), ends.get(p)) {
            (Some(start), Some(end)) => Ok(LogRange { start: *start, end: *end }),
            _ => Err(Fault::retry("the broker did not tell where a topic starts and ends").at(p.to_string())),
        };
        partitions.iter().map(range).collect()
    }

    /// The next piece of a changelog: committed records from `from` on and below `to`, and the position after them.
    /// Returns once the position has moved. It comes from records and end marks alone, never from the client's own
    /// `position()`: that one still shows the former fetch after a new assignment.
    pub fn piece(&mut self, changelog: &TopicPartition, from: Offset, to: Offset) -> Result<(Vec<RawRecord>, Offset)> {
        self.open(changelog, from)?;
        let client = self.client.as_ref().expect("opened above");
        let reader = self.readers.get_mut(changelog).expect("opened above");
        let start = Instant::now();
        loop {
            let batch = reader.queue.consume(20, PIECE_RECORDS_MAX);
            let (mut records, errors) = batch.records();
            let mark = batch.end_mark();
            drop(batch);
            use rdkafka::error::RDKafkaErrorCode as E;
            if errors.iter().any(|code| matches!(code, E::AutoOffsetReset | E::OffsetOutOfRange)) {
                return Err(Fault::rebuild(format!("records of {} were deleted before they were read", self.what))
                    .at(format!("{changelog} from {from}")));
            }
            if let Some(code) = errors.iter().find(|code| is_denied(**code)) {
                let what = self.what;
                return Err(Fault::stop(format!("the broker does not let this application read {what}: {code}"))
                    .at(changelog.to_string())
                    .hint(format!("grant READ on {} to this application's user", self.topics)));
            }
            if let Some(code) = errors.first() {
                tracing::debug!(%changelog, %code, "the reader reports an error");
            }
            // Events of the client itself; no records come this way.
            drop(client.poll(Duration::ZERO));
            if let Some(read) = read_up_to(&records, mark) {
                let position = read.min(to).max(from);
                if position > from || from >= to {
                    records.retain(|r| r.offset < to);
                    reader.position = read;
                    return Ok((records, position));
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Fault::retry("the process ends").at(changelog.to_string()));
            }
            if start.elapsed() > PIECE_PATIENCE {
                tracing::debug!(%changelog, from, to, "nothing of the changelog can be read yet");
                return Err(Fault::retry(format!("nothing of {} can be read yet", self.what)).at(changelog.to_string()));
            }
        }
    }

    /// Begins to read a changelog that is asked for later. What goes wrong is told then.
    pub fn prepare(&mut self, changelog: &TopicPartition, from: Offset) {
        if let Err(fault) = self.open(changelog, from) {
            tracing::debug!(%changelog, %fault, "the reader of a changelog does not open");
        }
    }

    /// Makes the reader read a changelog from an offset on.
    fn open(&mut self, changelog: &TopicPartition, from: Offset) -> Result<()> {
        if self.readers.get(changelog).is_some_and(|r| r.position == from) {
            return Ok(());
        }
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(connect(&self.clients.reader(&self.role))?),
        };
        self.readers.remove(changelog);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&changelog.topic, changelog.partition, RdOffset::Offset(from))
            .map_err(|e| bad(&e))?;
        if let Err(error) = client.incremental_unassign(&list_of(std::slice::from_ref(changelog))) {
            tracing::trace!(%error, "the changelog was not read yet");
        }
        let rk = client.client().native_ptr();
        let queue = Queue::of_partition(rk, &changelog.topic, changelog.partition, &self.waker)
            .ok_or_else(|| Fault::stop("the client has no queue for a partition").at(changelog.to_string()))?;
        client.incremental_assign(&list).map_err(|e| bad(&e))?;
        self.readers.insert(changelog.clone(), Reader { queue, position: from });
        Ok(())
    }

    /// The reader of this changelog may go.
    pub fn done(&mut self, changelog: &TopicPartition) {
        if self.readers.remove(changelog).is_none() {
            return;
        }
        if self.readers.is_empty() {
            // A client keeps threads and connections; most of the time there is nothing to restore.
            self.client = None;
        } else if let Some(client) = &self.client
            && let Err(error) = client.incremental_unassign(&list_of(std::slice::from_ref(changelog)))
        {
            tracing::debug!(%error, %changelog, "the reader of a changelog does not go");
        }
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        // Queue references before their client, whose end would hang otherwise.
        self.readers.clear();
        self.client = None;
    }
}

/// The position after a batch: behind its last record, or at its end mark, below which everything was read.
fn read_up_to(records: &[RawRecord], mark: Option<Offset>) -> Option<Offset> {
    records.last().map(|last| last.offset + 1).max(mark)
}

fn connect(config: &rdkafka::ClientConfig) -> Result<BaseConsumer<Quiet>> {
    config.create_with_context(Quiet).map_err(|e| bad(&e))
}

/// First offsets or ends of partitions, as the client's isolation level sees them.
pub(super) fn listed(
    client: &BaseConsumer<Quiet>,
    partitions: &[TopicPartition],
    which: RdOffset,
) -> Result<BTreeMap<TopicPartition, Offset>> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut list = list_of(partitions);
    list.set_all_offsets(which).map_err(|e| bad(&e))?;
    let answer = patiently("offsets", || client.offsets_for_times(list.clone(), REQUEST_TIMEOUT))?;
    Ok(offsets_of(&answer))
}

fn bad(error: &rdkafka::error::KafkaError) -> Fault {
    Fault::stop(format!("the reader of changelogs can't work: {error}")).hint("check the consumer. settings")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    fn record(offset: Offset) -> RawRecord {
        RawRecord { offset, timestamp: 0, key: None, value: None, headers: Headers::new() }
    }

    #[test]
    fn the_position_is_behind_the_last_record_or_at_the_end_mark() {
        assert_eq!(read_up_to(&[], None), None);
        assert_eq!(read_up_to(&[record(3), record(7)], None), Some(8));
        assert_eq!(read_up_to(&[], Some(12)), Some(12));
        // A mark that came before the records of the batch is not the newest word.
        assert_eq!(read_up_to(&[record(12)], Some(12)), Some(13));
        assert_eq!(read_up_to(&[record(7)], Some(9)), Some(9));
    }
}
