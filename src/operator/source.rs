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

    fn process(&self, cx: &mut dyn Context, raw: &RawRecord, timestamp: Timestamp) -> Result<bool> {
        let (key, value) = match self.decode(raw) {
            Ok(decoded) => decoded,
            Err(_) if self.on_error == OnDecodeError::Continue => {
                cx.dropped(Dropped::Deserialization);
                return Ok(false);
            }
            Err(fault) => {
                let topic = cx.source().map_or_else(String::new, |s| format!(", {}-{}", s.topic, s.partition));
                return Err(self.refuse(fault, format!("source {}{topic}", self.name)));
            }
        };
        let record = Record { key: key.as_ref(), value: value.as_ref(), timestamp, headers: &raw.headers };
        self.children.forward(cx, record)?;
        Ok(true)
    }
}

impl<K, V> Node for SourceNode<K, V> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::serdes,
        fault::Remedy,
        operator::testkit::{Kit, collect},
        record::Headers,
    };

    fn raw(value: &'static [u8], timestamp: Timestamp) -> RawRecord {
        RawRecord { offset: 7, timestamp, key: None, value: Some(value.into()), headers: Headers::new() }
    }

    fn source(extractor: Extractor<String, i64>, on_error: OnDecodeError) -> SourceNode<String, i64> {
        let (key, value, children) = (serdes::string(), serdes::i64(), collect().1);
        SourceNode { name: "source".into(), key, value, extractor, on_error, children }
    }

    #[test]
    fn bytes_that_are_no_value_stop_or_are_counted() {
        let mut kit = Kit::key_value();
        let fault =
            source(Extractor::FailOnInvalid, OnDecodeError::Fail).process(&mut kit, &raw(b"x", 1), 1).unwrap_err();
        assert_eq!(fault.remedy, Remedy::Stop);
        assert!(fault.what().starts_with("the value of the record at offset 7 can't be read"), "{fault}");
        let lenient = source(Extractor::FailOnInvalid, OnDecodeError::Continue);
        assert_eq!(lenient.process(&mut kit, &raw(b"x", 1), 1), Ok(false));
        assert_eq!(kit.dropped, [Dropped::Deserialization]);
    }

    #[test]
    fn extractors_differ_in_what_they_do_with_negative_timestamps() {
        let time = |extractor, partition_time| {
            source(extractor, OnDecodeError::Fail).timestamp("in", &raw(b"\0\0\0\0\0\0\0\x09", -1), partition_time)
        };
        assert!(time(Extractor::FailOnInvalid, 5).is_err());
        assert_eq!(time(Extractor::SkipInvalid, 5), Ok(-1));
        assert_eq!(time(Extractor::PartitionTime, 5), Ok(5));
        assert!(time(Extractor::PartitionTime, -1).is_err());
        assert_eq!(time(Extractor::Function(Arc::new(|_, v, _, _| *v.unwrap())), 5), Ok(9));
    }
}
