//! Records what the group wants; the stream thread acts on it when its transaction allows.

use super::super::clients::{client_error, log};
use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};
use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What the group asked for.
pub(super) struct Rebalance {
    pub assigned: bool,
    pub lost: bool,
    pub partitions: TopicPartitionList,
}

/// The context of the group member.
#[derive(Default)]
pub(super) struct Recorder {
    rebalances: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
}

impl Recorder {
    /// The oldest wish that nobody acted on.
    pub fn next(&self) -> Option<Rebalance> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// From here on the group is answered at once: nobody acts on a record any more, and the client's end waits for
    /// the answer.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl ClientContext for Recorder {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_error(&error, reason);
    }
}

impl ConsumerContext for Recorder {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let assigned = err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let done = if assigned { consumer.assign(&TopicPartitionList::new()) } else { consumer.unassign() };
            if let Err(error) = done {
                tracing::debug!(%error, "the closing consumer can't answer the group");
            }
            return;
        }
        let event = Rebalance { assigned, lost: consumer.assignment_lost(), partitions: partitions.clone() };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}
