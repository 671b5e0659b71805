//! Where records enter: bytes to typed records.

use super::{Children, Context, Dropped, Node, Source, extract::Extractor};
use crate::{
    codec::Serde,
    fault::{Fault, Result},
    record::{RawRecord, Record, Timestamp},
};
use std::sync::Arc;

/// What to do with a record whose bytes are no value of the source's type (`deserialization.exception.handler`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDecodeError {
    /// Stop the worker.
    #[default]
    Fail,
    /// Leave the record out and count it.
    Continue,
}

/// The node of a source topic.
pub(crate) struct SourceNode<K, V> {
    pub name: Arc<str>,
    pub key: Serde<K>,
    pub value: Serde<V>,
    pub extractor: Extractor<K, V>,
    pub on_error: OnDecodeError,
    pub children: Children<K, V>,
}

impl<K: 'static, V: 'static> SourceNode<K, V> {
    fn decode(&self, raw: &RawRecord) -> Result<(Option<K>, Option<V>)> {
        let part = |what: &str, fault: Fault| {
            Fault::skip(format!("the {what} of the record at offset {} can't be read: {}", raw.offset, fault.what()))
        };
        let key = raw.key.as_ref().map(|b| self.key.decode(b)).transpose().map_err(|f| part("key", f))?;
        let value = raw.value.as_ref().map(|b| self.value.decode(b)).transpose().map_err(|f| part("value", f))?;
        Ok((key, value))
    }

    fn refuse(&self, fault: Fault, place: String) -> Fault {
        let fault = fault.at(place).hint("mend the serde, or leave such records out (OnDecodeError::Continue)");
        match self.on_error {
            OnDecodeError::Fail => fault.with_remedy(crate::fault::Remedy::Stop),
            OnDecodeError::Continue => fault,
        }
    }
}

impl<K: 'static, V: 'static> Source for SourceNode<K, V> {
    fn timestamp(&self, topic: &str, raw: &RawRecord, partition_time: Timestamp) -> Result<Timestamp> {
        let place = || format!("source {}, topic {topic}, offset {}", self.name, raw.offset);
        match &self.extractor {
            Extractor::FailOnInvalid if raw.timestamp < 0 => Err(Fault::stop("the record has no valid timestamp")
                .at(place())
                .hint("choose another TimestampExtractor")),
            Extractor::FailOnInvalid | Extractor::SkipInvalid => Ok(raw.timestamp),
            Extractor::PartitionTime if raw.timestamp >= 0 => Ok(raw.timestamp),
            Extractor::PartitionTime if partition_time >= 0 => Ok(partition_time),
            Extractor::PartitionTime => {
                Err(Fault::stop("the record has no valid timestamp, nor has any before it").at(place()))
            }
            Extractor::Function(extract) => {
                let (key, value) = self.decode(raw).map_err(|fault| self.refuse(fault, place()))?;
                Ok(extract(key.as_ref(), value.as_ref(), raw.timestamp, partition_time))
            }
        }
    }

    fn process(&self, cx: &mut dyn Context, raw: &RawRecord, timestamp: Timestamp) -> Result<()> {
        let (key, value) = match self.decode(raw) {
            Ok(decoded) => decoded,
            Err(_) if self.on_error == OnDecodeError::Continue => {
                cx.dropped(Dropped::Deserialization);
                return Ok(());
            }
            Err(fault) => {
                let topic = cx.source().map_or_else(String::new, |s| format!(", {}-{}", s.topic, s.partition));
                return Err(self.refuse(fault, format!("source {}{topic}", self.name)));
            }
        };
        let record = Record { key: key.as_ref(), value: value.as_ref(), timestamp, headers: &raw.headers };
        self.children.forward(cx, record)
    }
}

impl<K, V> Node for SourceNode<K, V> {}
