//! A dead-letter topic for people: what lies in it, and what of it was put back into the topics that it came from.

mod progress;

use super::{
    admin::{Admin, Counts},
    clients::{Clients, Quiet},
};
use crate::{
    config::Config,
    fault::{Fault, Result},
    record::{Headers, OutRecord, RawRecord},
};
use bytes::Bytes;
use progress::Progress;
use rdkafka::{
    Message as _, Offset as RdOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::{BorrowedMessage, Header, Headers as _, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
    topic_partition_list::TopicPartitionListElem,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a new producer waits for the end of a former one's transaction, and how long a partition may tell nothing.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of records in one transaction.
const TRANSACTION_BYTES_MAX: usize = 8 << 20;

/// A record of a dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its partition.
    pub partition: i32,
    /// Offset, time, key, value and headers.
    pub record: RawRecord,
    /// True when it was put back before.
    pub replayed: bool,
}

/// Remembers the first record that was not written.
#[derive(Default)]
struct Refused(Mutex<Option<String>>);

impl rdkafka::ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let text = format!("a record of {} was not written: {error}", message.topic());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
        }
    }
}

/// One dead-letter topic, and a consumer group that knows what was put back.
pub struct DeadLetters {
    clients: Clients,
    topic: Arc<str>,
    group: String,
    counts: Counts,
    consumer: BaseConsumer<Quiet>,
    progress: BTreeMap<i32, Progress>,
}

impl DeadLetters {
    /// Connects, and reads what `group` says was put back.
    ///
    /// # Errors
    /// When no broker answers, or there is no such topic.
    pub fn open(config: &Config, topic: &str, group: &str) -> Result<Self> {
        let mut clients = Clients::new(config, group, "replay");
        let admin = Admin::connect(&clients)?;
        let counts = admin.counts()?;
        if !counts.contains_key(topic) {
            return Err(admin.missing(&[topic]));
        }
        clients.partitions = usize::try_from(counts[topic]).unwrap_or(1);
        let consumer = clients.reader("letters").create_with_context(Quiet).map_err(|e| unfit(&e))?;
        let progress = BTreeMap::new();
        let mut letters = Self { clients, topic: topic.into(), group: group.to_owned(), counts, consumer, progress };
        letters.recall()?;
        Ok(letters)
    }

    /// Partition counts of all topics.
    pub fn counts(&self) -> &BTreeMap<Arc<str>, i32> {
        &self.counts
    }

    fn fault(&self, what: impl std::fmt::Display) -> Fault {
        Fault::stop(what.to_string()).at(format!("topic {}, group {}", self.topic, self.group))
    }

    /// Reads the committed offsets. They wait for a transaction that holds some.
    fn recall(&mut self) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, self.counts[&self.topic] - 1);
        let untold = |e: KafkaError| {
            self.fault(format!("the group does not tell what was put back: {e}")).hint(
                "a replay that was killed holds its offsets until its transaction ends; grant READ on the group to this user",
            )
        };
        let answer = self.consumer.committed_offsets(list, TIMEOUT).map_err(untold)?;
        // Of each partition: one without an answer would be put back once more.
        answer.elements().iter().try_for_each(TopicPartitionListElem::error).map_err(untold)?;
        self.progress.clear();
        for element in answer.elements() {
            if let RdOffset::Offset(next) = element.offset() {
                self.progress.insert(element.partition(), Progress::new(next, element.metadata()));
            }
        }
        Ok(())
    }

    /// Shows every record that is committed now, partition by partition.
    ///
    /// # Errors
    /// When it can't be read, and what `visit` gives.
    pub fn read(&mut self, visit: &mut dyn FnMut(&DeadLetter) -> Result<()>) -> Result<()> {
        for partition in 0..self.counts[&self.topic] {
            self.read_partition(partition, 0, &mut |letter, _| visit(letter))?;
        }
        Ok(())
    }

    /// Shows the records of a partition, each with the offset behind the record before it.
    fn read_partition(
        &self,
        partition: i32,
        from: i64,
        visit: &mut dyn FnMut(&DeadLetter, i64) -> Result<()>,
    ) -> Result<()> {
        let cut = |e: KafkaError| self.fault(format!("partition {partition} can't be read: {e}"));
        let (low, high) = self.consumer.fetch_watermarks(&self.topic, partition, TIMEOUT).map_err(cut)?;
        let start = from.max(low);
        if start >= high {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, RdOffset::Offset(start)).map_err(cut)?;
        self.consumer.assign(&list).map_err(cut)?;
        let done = Progress::default();
        let progress = self.progress.get(&partition).unwrap_or(&done);
        // What was deleted before it was put back is no hole.
        let (mut behind, mut heard) = (from, Instant::now());
        loop {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let letter = letter(&message, progress);
                    visit(&letter, behind)?;
                    behind = letter.record.offset + 1;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error)) => tracing::debug!(%error, "the reader of dead letters reports an error"),
                None => {}
            }
            if heard.elapsed() > PATIENCE {
                return Err(self
                    .fault(format!("partition {partition} tells nothing behind offset {behind}"))
                    .hint("does its leader run, and may this user READ the topic?"));
            }
        }
    }

    /// Puts back what `choose` makes of the records that were not put back yet, at most `records_max` in one transaction
    /// with the note that they were. Returns how many there were, and tells `done` after each transaction.
    ///
    /// # Errors
    /// When a transaction fails, which leaves nothing behind, and what `choose` gives. What was committed before stays.
    pub fn replay(
        &mut self,
        records_max: usize,
        choose: &mut dyn FnMut(&DeadLetter) -> Result<Option<OutRecord>>,
    ) -> Result<u64> {
        let producer = self.producer()?;
        // Only now: another one that ran until the producer took over has committed what it will ever commit.
        self.recall()?;
        let mut count = 0;
        for partition in 0..self.counts[&self.topic] {
            let mut progress = self.progress.get(&partition).cloned().unwrap_or_default();
            let from = progress.next();
            let (mut batch, mut bytes) = (Vec::new(), 0);
            self.read_partition(partition, from, &mut |letter, behind| {
                if letter.replayed {
                    progress.add(behind, letter.record.offset);
                    return Ok(());
                }
                if let Some(record) = choose(letter)? {
                    progress.add(behind, letter.record.offset);
                    bytes += record.bytes();
                    count += 1;
                    batch.push(record);
                }
                if batch.len() >= records_max.max(1) || bytes >= TRANSACTION_BYTES_MAX {
                    bytes = 0;
                    self.put_back(&producer, partition, &progress, std::mem::take(&mut batch))?;
                }
                Ok(())
            })?;
            if !batch.is_empty() {
                self.put_back(&producer, partition, &progress, batch)?;
            }
            self.progress.insert(partition, progress);
        }
        Ok(count)
    }

    /// A producer of the group's one transactional id: who put back before does so no more.
    fn producer(&self) -> Result<BaseProducer<Refused>> {
        let mut config = self.clients.producer(0, true);
        config.set("linger.ms", "5");
        let producer: BaseProducer<Refused> = config.create_with_context(Refused::default()).map_err(|e| unfit(&e))?;
        producer.init_transactions(PATIENCE).map_err(|e| {
            self.fault(format!("no transaction can be started: {e}"))
                .hint("grant WRITE on the transactional id, which is the group's name with `-replay-0`, to this user")
        })?;
        Ok(producer)
    }

    fn put_back(
        &self,
        producer: &BaseProducer<Refused>,
        partition: i32,
        progress: &Progress,
        records: Vec<OutRecord>,
    ) -> Result<()> {
        let Some(text) = progress.text() else {
            return Err(self
                .fault(format!("what was put back of partition {partition} lies too scattered to be remembered"))
                .hint("put back more of it: a wider --filter, an earlier --since"));
        };
        let mut offsets = TopicPartitionList::new();
        let noted = offsets.add_partition_offset(&self.topic, partition, RdOffset::Offset(progress.next()));
        noted.map_err(|e| unfit(&e))?;
        if let Some(mut element) = offsets.find_partition(&self.topic, partition) {
            element.set_metadata(text);
        }
        let done = self.transact(producer, &offsets, &records);
        done.map_err(|error| {
            // The next producer of this id aborts what this one leaves.
            let _ = producer.abort_transaction(TIMEOUT);
            let refused = producer.context().0.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.fault(format!("a transaction failed, and nothing of it is left: {}", refused.unwrap_or(error)))
                .hint("run the command again: what was put back before is not put back twice")
        })
    }

    fn transact(
        &self,
        producer: &BaseProducer<Refused>,
        offsets: &TopicPartitionList,
        records: &[OutRecord],
    ) -> std::result::Result<(), String> {
        let text = |e: KafkaError| e.to_string();
        producer.begin_transaction().map_err(text)?;
        for record in records {
            send(producer, record)?;
        }
        let group = self.consumer.group_metadata().ok_or("the client knows no group")?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match producer.send_offsets_to_transaction(offsets, &group, TIMEOUT) {
                Ok(()) => break,
                Err(error) if retriable(&error) && Instant::now() < deadline => {
                    producer.poll(Duration::from_millis(50))
                }
                Err(error) => return Err(text(error)),
            };
        }
        loop {
            match producer.commit_transaction(TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(error) if retriable(&error) && Instant::now() < deadline => {}
                Err(error) => return Err(text(error)),
            }
        }
    }
}

fn retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_retriable())
}

fn unfit(error: &KafkaError) -> Fault {
    Fault::stop(format!("the Kafka client can't work: {error}")).hint("check the consumer. and producer. settings")
}

/// Puts a record into the producer's queue, and waits while that is full.
fn send(producer: &BaseProducer<Refused>, record: &OutRecord) -> std::result::Result<(), String> {
    let mut headers = OwnedHeaders::new();
    for (key, value) in record.headers.iter() {
        headers = headers.insert(Header { key, value: value.map(|v| &v[..]) });
    }
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    let mut next = BaseRecord::<[u8], [u8]>::to(&record.topic).partition(record.partition).timestamp(record.timestamp);
    next = next.headers(headers);
    next.key = key;
    next.payload = value;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match producer.send(next) {
            Ok(()) => return Ok(()),
            Err((error, back)) => {
                let full = error.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::QueueFull);
                if !full || Instant::now() > deadline {
                    return Err(format!("a record for {} can't be sent: {error}", record.topic));
                }
                producer.poll(Duration::from_millis(50));
                next = back;
            }
        }
    }
}

fn letter(message: &BorrowedMessage<'_>, progress: &Progress) -> DeadLetter {
    let bytes = |part: Option<&[u8]>| part.map(Bytes::copy_from_slice);
    let mut headers = Headers::new();
    for header in message.headers().into_iter().flat_map(|all| all.iter()) {
        headers.add(header.key, bytes(header.value));
    }
    let offset = message.offset();
    let timestamp = message.timestamp().to_millis().unwrap_or(-1);
    let record = RawRecord { offset, timestamp, key: bytes(message.key()), value: bytes(message.payload()), headers };
    DeadLetter { partition: message.partition(), record, replayed: progress.has(offset) }
}
