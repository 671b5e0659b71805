//! The producer of one stream thread: its transactions and how they end.

use super::{
    calls::Calls,
    clients::{Clients, client_error, log},
    consumer::is_denied,
    raw::{self, RawError, TopicHandle},
};
use crate::{
    fault::{Fault, Remedy, Result},
    record::OutRecord,
    worker::{CommitOffset, GroupMetadata, Outcome, Stage},
};
use rdkafka::{
    ClientContext, Offset as RdOffset, TopicPartitionList,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message as _},
    producer::{BaseProducer, Producer as _, ProducerContext},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// One slice of a resumable call.
const SLICE_MS: i32 = 50;
/// One slice of an abort, which needs delivery reports polled in between.
const ABORT_SLICE_MS: i32 = 2;
/// How long an answer to a commit is waited for before the outcome counts as unknown.
const COMMIT_PATIENCE: Duration = Duration::from_secs(60);
/// How long a new producer may take to register.
const INIT_PATIENCE: Duration = Duration::from_secs(180);

/// Remembers the first delivery that failed.
#[derive(Default)]
struct Deliveries {
    failed: Mutex<Option<Fault>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code();
            // An abort purges what is queued; that is no failure of its own.
            if matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)) {
                return;
            }
            let place = format!("{}-{}", message.topic(), message.partition());
            let fault = code.and_then(refused);
            let fault = fault.unwrap_or_else(|| Fault::rebuild(format!("a record was not written: {error}")));
            let fault = fault.at(place);
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        }
    }
}

/// The producer of one stream thread.
pub(super) struct Producer {
    clients: Clients,
    thread: usize,
    exactly_once: bool,
    open: bool,
    broken: bool,
    fenced_at: Option<Instant>,
    topics: BTreeMap<Arc<str>, TopicHandle>,
    calls: Calls,
    client: Option<BaseProducer<Deliveries>>,
}

impl Producer {
    /// A producer that is not connected yet; [`Producer::replace`] makes it ready.
    pub fn new(clients: Clients, thread: usize, exactly_once: bool, calls: Calls) -> Self {
        Self {
            clients,
            calls,
            thread,
            exactly_once,
            open: false,
            broken: true,
            fenced_at: None,
            topics: BTreeMap::new(),
            client: None,
        }
    }

    fn rk(&self) -> Option<*mut rdkafka_sys::rd_kafka_t> {
        self.client.as_ref().map(|c| c.client().native_ptr())
    }

    /// Destroys the client and registers a new one under the same transactional id: former transactions are decided.
    pub fn replace(&mut self) -> Result<()> {
        self.drop_client();
        let config = self.clients.producer(self.thread, self.exactly_once);
        let client: BaseProducer<Deliveries> = config
            .create_with_context(Deliveries::default())
            .map_err(|e| Fault::stop(format!("the producer can't work: {e}")).hint("check the producer. settings"))?;
        if self.exactly_once {
            let _in = self.calls.enter("init_transactions");
            let start = Instant::now();
            while let Err(error) = raw::init(client.client().native_ptr(), 5_000) {
                let again = error.retriable && !error.fatal && start.elapsed() < INIT_PATIENCE;
                if !again {
                    return Err(self.init_failed(&error));
                }
            }
        }
        self.client = Some(client);
        self.broken = false;
        Ok(())
    }

    fn init_failed(&self, error: &RawError) -> Fault {
        let id = self.clients.transactional_id(self.thread);
        let fault = Fault::stop(format!("the transactional id `{id}` can't be registered: {error}"));
        match error.code {
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
                fault.hint("grant WRITE and DESCRIBE on transactional ids that start with the application.id")
            }
            RDKafkaErrorCode::InvalidTransactionTimeout => {
                fault.hint("transaction.timeout.ms is above the broker's transaction.max.timeout.ms")
            }
            _ => fault.hint("look at the broker's log"),
        }
    }

    fn drop_client(&mut self) {
        let _in = self.calls.enter("close producer");
        self.topics.clear();
        self.client = None;
        self.open = false;
        self.broken = true;
    }

    /// Starts a transaction.
    pub fn begin(&mut self) -> Result<()> {
        if !self.exactly_once {
            return Ok(());
        }
        let Some(rk) = self.rk().filter(|_| !self.broken) else {
            return Err(Fault::rebuild("there is no producer"));
        };
        raw::begin(rk).map_err(|error| {
            self.note(&error);
            Fault::rebuild(format!("no transaction can be started: {error}"))
        })?;
        self.open = true;
        Ok(())
    }

    /// Puts records into the client's queue; waits while it is full.
    pub fn send(&mut self, records: &[OutRecord]) -> Result<()> {
        let Some(rk) = self.rk() else { return Err(Fault::rebuild("there is no producer")) };
        let _in = self.calls.enter("produce");
        // Records of one topic come in runs, so its name is looked up once for each.
        for run in records.chunk_by(|one, next| Arc::ptr_eq(&one.topic, &next.topic)) {
            if !self.topics.contains_key(&run[0].topic) {
                let handle = TopicHandle::new(rk, &run[0].topic)
                    .ok_or_else(|| Fault::stop("no handle for a topic").at(run[0].topic.to_string()))?;
                self.topics.insert(Arc::clone(&run[0].topic), handle);
            }
            self.send_run(rk, run)?;
        }
        self.poll(Duration::ZERO);
        self.failure()
    }

    /// Sends records of one topic.
    fn send_run(&mut self, rk: *mut rdkafka_sys::rd_kafka_t, records: &[OutRecord]) -> Result<()> {
        let topic = &self.topics[&records[0].topic];
        for record in records {
            while let Err(error) = raw::produce(rk, topic, record) {
                if error.code == RDKafkaErrorCode::QueueFull {
                    self.poll(Duration::from_millis(5));
                    self.failure()?;
                    continue;
                }
                self.note(&error);
                let fault = refused(error.code);
                let fault = fault.unwrap_or_else(|| Fault::rebuild(format!("a record can't be sent: {error}")));
                return Err(fault.at(format!("{}-{}", record.topic, record.partition)));
            }
        }
        Ok(())
    }

    fn poll(&self, timeout: Duration) {
        if let Some(client) = &self.client {
            client.poll(timeout);
        }
    }

    fn failure(&self) -> Result<()> {
        let Some(client) = &self.client else { return Ok(()) };
        let failed = client.context().failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }

    /// Adds the offsets and commits. `took_us` learns how long each took, in microseconds.
    pub fn commit(
        &mut self,
        offsets: &[CommitOffset],
        group: &GroupMetadata,
        took_us: &mut Vec<(Stage, i64)>,
    ) -> Outcome {
        let Some(rk) = self.rk().filter(|_| !self.broken) else { return Outcome::Fenced };
        let list = offset_list(offsets);
        let start = Instant::now();
        if !offsets.is_empty() {
            let _in = self.calls.enter("send_offsets_to_transaction");
            // Librdkafka ignores this timeout while the group's coordinator is away; the watchdog sees that.
            while let Err(error) = raw::send_offsets(rk, &list, &self.clients.application_id, group, 10_000) {
                if let Some(outcome) = self.judge(&error, start, false) {
                    return outcome;
                }
            }
            took_us.push((Stage::Offsets, micros(start)));
        }
        let ending = Instant::now();
        let _in = self.calls.enter("commit_transaction");
        while let Err(error) = raw::commit(rk, SLICE_MS) {
            if let Some(outcome) = self.judge(&error, start, true) {
                return outcome;
            }
            self.poll(Duration::ZERO);
        }
        took_us.push((Stage::End, micros(ending)));
        self.open = false;
        Outcome::Committed
    }

    /// Remembers a fatal error, and whether it is the sign of another producer with the same transactional id.
    fn note(&mut self, error: &RawError) {
        if !error.fatal {
            return;
        }
        tracing::warn!(%error, "the producer is of no use any more");
        self.broken = true;
        let cause = self.client.as_ref().and_then(|c| c.client().fatal_error());
        if is_fenced(error.code) || cause.is_some_and(|(code, _)| is_fenced(code)) {
            self.fenced_at = Some(Instant::now());
        }
    }

    /// What an error of a transaction call means; `None`: call again. `ending` tells that the commit itself may have
    /// reached the coordinator: then a client that can't tell leaves the outcome unknown.
    fn judge(&mut self, error: &RawError, start: Instant, ending: bool) -> Option<Outcome> {
        use RDKafkaErrorCode as E;
        if error.fatal {
            self.note(error);
            return Some(if ending { Outcome::Unknown } else { Outcome::Fenced });
        }
        if error.abortable {
            // A delivery that failed knows its place.
            self.poll(Duration::ZERO);
            let told = self.failure().err().filter(|fault| fault.remedy == Remedy::Stop);
            if let Some(fault) = told.or_else(|| refused(error.code)) {
                return Some(Outcome::Aborted(fault));
            }
            return Some(match error.code {
                E::IllegalGeneration | E::UnknownMemberId | E::FencedInstanceId => Outcome::Lost,
                _ => Outcome::Aborted(Fault::retry(format!("the transaction failed: {error}"))),
            });
        }
        if error.retriable && start.elapsed() < COMMIT_PATIENCE {
            return None;
        }
        self.broken = true;
        Some(Outcome::Unknown)
    }

    /// Aborts what is open. An error means that the client must be replaced.
    pub fn abort(&mut self) -> Result<()> {
        if !self.open {
            return if self.broken && self.exactly_once { Err(unusable()) } else { Ok(()) };
        }
        self.open = false;
        let Some(rk) = self.rk().filter(|_| !self.broken) else { return Err(unusable()) };
        let _in = self.calls.enter("abort_transaction");
        let start = Instant::now();
        while let Err(error) = raw::abort(rk, ABORT_SLICE_MS) {
            // Purged messages are failed deliveries, and the abort waits until they are polled.
            self.poll(Duration::ZERO);
            if error.fatal || !error.retriable || start.elapsed() > COMMIT_PATIENCE {
                self.note(&error);
                self.broken = true;
                return Err(Fault::retry(format!("the transaction can't be aborted: {error}")));
            }
        }
        let _purged = self.failure();
        Ok(())
    }

    /// At least once: all that was sent is delivered, or a failure.
    pub fn flush(&mut self) -> Result<()> {
        let Some(rk) = self.rk() else { return Err(Fault::retry("there is no producer")) };
        let _in = self.calls.enter("flush");
        let start = Instant::now();
        while !raw::flush(rk, SLICE_MS) {
            self.poll(Duration::ZERO);
            self.failure()?;
            if start.elapsed() > INIT_PATIENCE {
                return Err(Fault::retry("the broker did not take the output in time"));
            }
        }
        self.poll(Duration::ZERO);
        self.failure()
    }

    /// True once when this producer was fenced by another one with its transactional id, within the last minute again.
    pub fn fenced_again(&mut self, before: &mut Option<Instant>) -> bool {
        let Some(at) = self.fenced_at.take() else { return false };
        let again = before.is_some_and(|b| at.duration_since(b) < Duration::from_secs(60));
        *before = Some(at);
        again
    }

    /// Its transactional id.
    pub fn transactional_id(&self) -> String {
        self.clients.transactional_id(self.thread)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.drop_client();
    }
}

fn micros(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// What the broker refuses however often it is tried; `None` when another try may do.
fn refused(code: RDKafkaErrorCode) -> Option<Fault> {
    use RDKafkaErrorCode as E;
    let (what, hint) = match code {
        code if is_denied(code) => return Some(not_allowed(code)),
        // The client splits no batch.
        E::MessageSizeTooLarge | E::InvalidMessageSize => (
            "the broker refuses records as larger than their topic's max.message.bytes",
            "raise it above max.request.size, or set max.request.size and producer.batch.size below it",
        ),
        E::InvalidRecord => (
            "the broker refuses a record as invalid",
            "a compacted topic takes no record without a key; see also the topic's message.timestamp settings",
        ),
        E::InvalidTimestamp => (
            "the broker refuses a record's timestamp",
            "see the topic's settings message.timestamp.before.max.ms and message.timestamp.after.max.ms",
        ),
        _ => return None,
    };
    Some(Fault::stop(format!("{what}: {code}")).hint(hint))
}

/// A right that is missing: another try changes nothing.
fn not_allowed(code: RDKafkaErrorCode) -> Fault {
    Fault::stop(format!("the broker does not let this application write: {code}")).hint(match code {
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            "grant READ on the group, whose name is the application.id, to its user"
        }
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
            "grant WRITE and DESCRIBE on transactional ids that start with the application.id to its user"
        }
        _ => "grant WRITE and DESCRIBE on its output and internal topics to this application's user",
    })
}

fn unusable() -> Fault {
    Fault::retry("the producer is of no use any more")
}

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch)
}

/// Offsets with metadata as the client wants them.
pub(super) fn offset_list(offsets: &[CommitOffset]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for o in offsets {
        let mut e = list.add_partition(&o.partition.topic, o.partition.partition);
        if let Err(error) = e.set_offset(RdOffset::Offset(o.offset)) {
            tracing::error!(%error, partition = %o.partition, "an offset is not one");
        }
        e.set_metadata(&o.metadata);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_other_try_mends_stops_the_worker() {
        use RDKafkaErrorCode as E;
        for code in [E::MessageSizeTooLarge, E::InvalidRecord, E::InvalidTimestamp, E::TopicAuthorizationFailed] {
            assert_eq!(refused(code).map(|fault| fault.remedy), Some(Remedy::Stop), "{code}");
        }
        for code in [E::NotLeaderForPartition, E::MessageTimedOut, E::UnknownMemberId, E::UnknownTopicOrPartition] {
            assert!(refused(code).is_none(), "{code}");
        }
    }
}
