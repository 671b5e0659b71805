//! What a table's source topic says of the table's rows, for a topic that is the changelog at the same time.

use super::{Consumed, serdes::Needed};
use crate::{
    fault::Result,
    operator::{errors::caught, extract::Extractor},
    record::{RawRecord, Timestamp},
};
use bytes::Bytes;
use std::{fmt, sync::Arc};

/// A record of a source topic as the table stored it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// Key bytes.
    pub key: Bytes,
    /// Value bytes; `None` deletes the row.
    pub value: Option<Bytes>,
    /// Event time.
    pub timestamp: Timestamp,
}

type Read = dyn Fn(&RawRecord, Timestamp) -> Option<SourceRow> + Send + Sync;

/// Makes rows of the records of a source topic by the rules of processing: the same serdes and the same extractor.
#[derive(Clone)]
pub struct SourceRows(Arc<Read>);

impl fmt::Debug for SourceRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceRows")
    }
}

impl PartialEq for SourceRows {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SourceRows {}

impl SourceRows {
    pub(super) fn new<K: 'static, V: 'static>(key: Needed<K>, value: Needed<V>, consumed: &Consumed<K, V>) -> Self {
        let extractor = consumed.extractor.clone();
        Self(Arc::new(move |raw, latest| caught(|| row(raw, latest, &key, &value, &extractor)).ok().flatten()))
    }

    /// The row of a record that lies below the committed offset of its partition; `None` when processing left it out. A
    /// record that can't be read was left out too, by whatever handler: processing would have got no further otherwise.
    ///
    /// `latest` is the greatest timestamp so far, for an extractor that falls back on it. What a clock said is gone:
    /// a row whose time came from it gets the record's own.
    pub fn row(&self, raw: &RawRecord, latest: Timestamp) -> Option<SourceRow> {
        (self.0)(raw, latest)
    }
}

fn row<K: 'static, V: 'static>(
    raw: &RawRecord,
    latest: Timestamp,
    key: &Needed<K>,
    value: &Needed<V>,
    extractor: &Extractor<K, V>,
) -> Result<Option<SourceRow>> {
    let (keys, values) = (key.get()?, value.get()?);
    let Some(key) = raw.key.as_ref().map(|bytes| keys.decode(bytes)).transpose()? else { return Ok(None) };
    let value = raw.value.as_ref().map(|bytes| values.decode(bytes)).transpose()?;
    let timestamp = match extractor {
        Extractor::Function(extract) => extract(Some(&key), value.as_ref(), raw.timestamp, latest),
        Extractor::PartitionTime if raw.timestamp < 0 => latest,
        _ => raw.timestamp,
    };
    if timestamp < 0 {
        return Ok(None);
    }
    // Encoded anew, as in processing: equal keys may come in different bytes.
    let value = value.as_ref().map(|value| values.to_bytes(value)).transpose()?;
    Ok(Some(SourceRow { key: keys.to_bytes(&key)?, value, timestamp }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, record::Headers};

    fn rows(consumed: Consumed<String, i64>) -> SourceRows {
        let (key, value) = (Needed::maybe(Some(&serdes::string())), Needed::maybe(Some(&serdes::i64())));
        SourceRows::new(key, value, &consumed)
    }

    fn raw(key: Option<&'static str>, value: Option<i64>, timestamp: Timestamp) -> RawRecord {
        let value = value.map(|n| Bytes::copy_from_slice(&n.to_be_bytes()));
        RawRecord { offset: 0, timestamp, key: key.map(Into::into), value, headers: Headers::new() }
    }

    #[test]
    fn r91_a_restore_reads_a_source_topic_as_processing_does() {
        let plain = rows(Consumed::default());
        let wanted = SourceRow { key: "k".into(), value: Some(vec![0, 0, 0, 0, 0, 0, 0, 7].into()), timestamp: 3 };
        assert_eq!(plain.row(&raw(Some("k"), Some(7), 3), -1), Some(wanted.clone()));
        assert_eq!(plain.row(&raw(Some("k"), None, 3), -1), Some(SourceRow { value: None, ..wanted.clone() }));
        assert_eq!(plain.row(&raw(None, Some(7), 3), -1), None, "no key");
        let unreadable = RawRecord { value: Some("x".into()), ..raw(Some("k"), None, 3) };
        assert_eq!(plain.row(&unreadable, -1), None, "bytes that are no value");
        assert_eq!(plain.row(&raw(Some("k"), Some(7), -1), 3), None, "no time");
        let latest = rows(Consumed::default().partition_time_on_invalid_timestamp());
        assert_eq!(latest.row(&raw(Some("k"), Some(7), -1), 3), Some(wanted.clone()));
        let told = rows(Consumed::default().timestamp_extractor(|_, value, _, _| value.map_or(-1, |n| *n)));
        assert_eq!(told.row(&raw(Some("k"), Some(7), 3), -1), Some(SourceRow { timestamp: 7, ..wanted }));
    }
}
