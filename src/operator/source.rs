//! Where records enter: bytes to typed records.

use super::{Children, Context, Node, OnError, Source, Stage, errors::settle, extract::Extractor};
use crate::{
    codec::Serde,
    fault::{Fault, Remedy, Result},
    record::{RawRecord, Record, Timestamp},
};
use std::sync::Arc;

/// Key and value, or which of them can't be read and why.
type Decoded<K, V> = Result<(Option<K>, Option<V>), (&'static str, Fault)>;

/// The node of a source topic.
pub(crate) struct SourceNode<K, V> {
    pub name: Arc<str>,
    pub key: Serde<K>,
    pub value: Serde<V>,
    pub extractor: Extractor<K, V>,
    /// What this source says of bytes that it can't read; otherwise the topology or the settings say it.
    pub on_error: Option<OnError>,
    pub children: Children<K, V>,
}

impl<K: 'static, V: 'static> SourceNode<K, V> {
    fn decode(&self, raw: &RawRecord) -> Decoded<K, V> {
        let key = raw.key.as_ref().map(|b| self.key.decode(b)).transpose().map_err(|fault| ("key", fault))?;
        let value = raw.value.as_ref().map(|b| self.value.decode(b)).transpose().map_err(|fault| ("value", fault))?;
        Ok((key, value))
    }
}

impl<K: 'static, V: 'static> Source for SourceNode<K, V> {
    fn timestamp(&self, topic: &str, raw: &RawRecord, partition_time: Timestamp, now: Timestamp) -> Result<Timestamp> {
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
            Extractor::WallClock => Ok(now),
            Extractor::Function(extract) => match self.decode(raw) {
                Ok((key, value)) => Ok(extract(key.as_ref(), value.as_ref(), raw.timestamp, partition_time)),
                // Its turn comes by any time: what to do about it is decided when it is processed.
                Err(_) => Ok(raw.timestamp.max(0)),
            },
        }
    }

    fn process(&self, cx: &mut dyn Context, raw: &RawRecord, timestamp: Timestamp) -> Result<bool> {
        let (key, value) = match self.decode(raw) {
            Ok(decoded) => decoded,
            Err((part, fault)) => {
                let topic = cx.source().map_or_else(String::new, |s| format!(", {}-{}", s.topic, s.partition));
                let fault = fault
                    .with_remedy(Remedy::Skip)
                    .at(format!("the {part} at offset {}{topic}, source {}", raw.offset, self.name))
                    .hint("mend the serde, or leave such records out (deserialization.exception.handler=continue)");
                let of = (raw.timestamp, &raw.headers);
                return settle(cx, Stage::Deserialization, &self.name, of, fault, self.on_error).map(|()| false);
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
        operator::{
            Dropped,
            testkit::{Kit, collect},
        },
        record::Headers,
    };

    fn raw(value: &'static [u8], timestamp: Timestamp) -> RawRecord {
        RawRecord { offset: 7, timestamp, key: None, value: Some(value.into()), headers: Headers::new() }
    }

    fn source(extractor: Extractor<String, i64>, on_error: OnError) -> SourceNode<String, i64> {
        let (key, value, children) = (serdes::string(), serdes::i64(), collect().1);
        SourceNode { name: "source".into(), key, value, extractor, on_error: Some(on_error), children }
    }

    #[test]
    fn bytes_that_are_no_value_stop_or_are_counted() {
        let mut kit = Kit::key_value();
        let fault = source(Extractor::FailOnInvalid, OnError::Fail).process(&mut kit, &raw(b"x", 1), 1).unwrap_err();
        assert_eq!(fault.remedy, Remedy::Stop);
        assert_eq!(fault.place(), "the value at offset 7, source source");
        let lenient = source(Extractor::FailOnInvalid, OnError::Continue);
        assert_eq!(lenient.process(&mut kit, &raw(b"x", 1), 1), Ok(false));
        assert_eq!(kit.dropped, [Dropped::Deserialization]);
    }

    #[test]
    fn extractors_differ_in_what_they_do_with_negative_timestamps() {
        let time = |extractor, partition_time| {
            source(extractor, OnError::Fail).timestamp("in", &raw(b"\0\0\0\0\0\0\0\x09", -1), partition_time, 77)
        };
        assert!(time(Extractor::FailOnInvalid, 5).is_err());
        assert_eq!(time(Extractor::SkipInvalid, 5), Ok(-1));
        assert_eq!(time(Extractor::PartitionTime, 5), Ok(5));
        assert!(time(Extractor::PartitionTime, -1).is_err());
        assert_eq!(time(Extractor::WallClock, 5), Ok(77));
        assert_eq!(time(Extractor::Function(Arc::new(|_, v, _, _| *v.unwrap())), 5), Ok(9));
    }
}
