//! Requests of a consumer that are repeated, lists of partitions, and what its errors mean.

use crate::{
    fault::{Fault, Result},
    record::{Offset, TopicPartition},
};
use rdkafka::{
    Offset as RdOffset, TopicPartitionList,
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long one request about offsets may take; it is repeated.
pub(in super::super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request is repeated.
const PATIENCE: Duration = Duration::from_secs(60);

/// Repeats a request that failed for a passing reason, for a minute.
pub(in super::super) fn patiently<T>(what: &str, mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T> {
    let start = Instant::now();
    loop {
        let error = match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let denied = error.rdkafka_error_code().is_some_and(is_denied);
        if denied || start.elapsed() > PATIENCE {
            let hint = if denied { "grant it to this application's user" } else { "look at its log" };
            return Err(Fault::stop(format!("the broker did not give {what}: {error}")).hint(hint));
        }
        tracing::debug!(%error, what, "a request failed and is repeated");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// True for the codes of a missing right.
pub(in super::super) fn is_denied(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::TopicAuthorizationFailed
            | E::GroupAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::TransactionalIdAuthorizationFailed
    )
}

/// A list of partitions without offsets.
pub(in super::super) fn list_of(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for p in partitions {
        list.add_partition(&p.topic, p.partition);
    }
    list
}

/// The offsets of a list that has real ones.
pub(in super::super) fn offsets_of(list: &TopicPartitionList) -> BTreeMap<TopicPartition, Offset> {
    let offset = |o: RdOffset| match o {
        RdOffset::Offset(offset) => Some(offset),
        _ => None,
    };
    list.elements()
        .iter()
        .filter_map(|e| Some((TopicPartition::new(e.topic(), e.partition()), offset(e.offset())?)))
        .collect()
}

/// What an error of the consumer means at `place`; `None` when the client mends it itself.
pub(super) fn consume_error(code: RDKafkaErrorCode, place: &str) -> Option<Fault> {
    use RDKafkaErrorCode as E;
    let fault = match code {
        _ if is_denied(code) => {
            Fault::stop(format!("the broker does not let this application read: {code}")).hint(match code {
                E::GroupAuthorizationFailed => "grant READ on the group, whose name is the application.id, to its user",
                _ => "grant READ and DESCRIBE on its topics to this application's user",
            })
        }
        E::UnknownTopicOrPartition | E::UnknownTopic => {
            Fault::stop("a topic of this application does not exist any more")
                .hint("create it, or start with --create-topics")
        }
        E::AutoOffsetReset | E::OffsetOutOfRange => {
            Fault::stop("a committed offset points to records that are deleted, and auto.offset.reset is none")
                .hint("accept the gap with auto.offset.reset=earliest, or reset the application")
        }
        _ => {
            tracing::debug!(%code, place, "the consumer reports an error");
            return None;
        }
    };
    Some(fault.at(place))
}

/// A consumer that can't go on.
pub(super) fn fatal(code: RDKafkaErrorCode) -> Fault {
    let fault = Fault::stop(format!("the consumer can't go on: {code}"));
    if code == RDKafkaErrorCode::FencedInstanceId {
        fault.hint("another process uses the same group.instance.id: give each its own")
    } else {
        fault.hint("start again")
    }
}

/// A call that the consumer refuses.
pub(super) fn broken(error: &KafkaError) -> Fault {
    Fault::stop(format!("the consumer can't work: {error}")).hint("check the consumer. and security settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_named_and_not_asked_for_again() {
        let mut asked = 0;
        let fault = patiently("offsets", || -> Result<(), KafkaError> {
            asked += 1;
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed))
        });
        assert_eq!(asked, 1);
        assert!(fault.unwrap_err().to_string().contains("grant it"));
        let fault = consume_error(RDKafkaErrorCode::GroupAuthorizationFailed, "app").unwrap();
        assert!(fault.to_string().contains("(app): grant READ on the group"), "{fault}");
        assert_eq!(consume_error(RDKafkaErrorCode::BrokerTransportFailure, "app"), None);
    }
}
