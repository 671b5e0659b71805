//! A row, and the form in which a backend stores it.

use super::short_bytes::ShortBytes;
use crate::{
    fault::{Fault, Result},
    record::{Headers, NO_TIMESTAMP, RawRecord, SourceContext, Timestamp},
};
use bytes::Bytes;
use std::sync::Arc;

const TIMESTAMP_BYTES: usize = 8;

/// A row: its value and the timestamp of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Value bytes.
    pub value: ShortBytes,
    /// Event time of the value in milliseconds.
    pub timestamp: Timestamp,
}

impl Row {
    /// The stored form: timestamp (i64 big endian), then the value (D-168).
    pub fn to_stored(&self) -> ShortBytes {
        ShortBytes::joined(&self.timestamp.to_be_bytes(), &self.value)
    }

    /// Takes the stored form apart (D-168).
    ///
    /// # Errors
    /// When there is no room for a timestamp: something else wrote these bytes.
    pub fn from_stored(stored: &[u8]) -> Result<Self> {
        let (timestamp, value) = split_stored(stored)?;
        Ok(Self { value: value.into(), timestamp })
    }
}

fn split_stored(stored: &[u8]) -> Result<(Timestamp, &[u8])> {
    match stored.split_first_chunk::<TIMESTAMP_BYTES>() {
        Some((timestamp, value)) => Ok((Timestamp::from_be_bytes(*timestamp), value)),
        None => Err(Fault::stop(format!("a stored row of {} bytes has no timestamp", stored.len()))
            .hint("delete the store's directory; it is restored from the changelog")),
    }
}

/// One version of a row: a value, or that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) value: Option<ShortBytes>,
    pub(super) timestamp: Timestamp,
}

impl Version {
    pub(super) fn row(&self) -> Option<Row> {
        Some(Row { value: self.value.clone()?, timestamp: self.timestamp })
    }

    pub(super) fn borrowed(&self) -> VersionRef<'_> {
        VersionRef { value: self.value.as_deref(), timestamp: self.timestamp }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.value.as_ref().map_or(0, ShortBytes::heap_bytes)
    }
}

/// A [`Version`] that lies elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VersionRef<'a> {
    pub(super) value: Option<&'a [u8]>,
    pub(super) timestamp: Timestamp,
}

impl VersionRef<'_> {
    pub(super) fn to_version(self) -> Version {
        Version { value: self.value.map(Into::into), timestamp: self.timestamp }
    }

    pub(super) fn row(self) -> Option<Row> {
        Some(Row { value: self.value?.into(), timestamp: self.timestamp })
    }

    pub(super) fn stored(self) -> Option<ShortBytes> {
        Some(ShortBytes::joined(&self.timestamp.to_be_bytes(), self.value?))
    }
}

impl From<Option<Row>> for Version {
    fn from(row: Option<Row>) -> Self {
        match row {
            Some(Row { value, timestamp }) => Self { value: Some(value), timestamp },
            None => Self { value: None, timestamp: NO_TIMESTAMP },
        }
    }
}

/// An update that the record cache held back, in the form in which it is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Row id.
    pub row: ShortBytes,
    /// The row as it was last forwarded, or before the cache saw it.
    pub old: Option<Row>,
    /// The row now.
    pub new: Option<Row>,
    /// Event time of the last update (a deletion has one too).
    pub timestamp: Timestamp,
    /// Headers of the last update.
    pub headers: Headers,
    /// Input record of the last update.
    pub source: Option<SourceContext>,
    /// That record as it came, where it was kept for the dead-letter topic.
    pub input: Option<Arc<RawRecord>>,
}

/// Receives the changelog records of a commit.
pub trait ChangelogSink {
    /// One changelog record in the topic's own format.
    fn log(&mut self, key: Bytes, value: Option<Bytes>, timestamp: Timestamp, headers: Headers);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_the_timestamp_then_the_value_d168() {
        let row = Row { value: ShortBytes::from(&b"v"[..]), timestamp: 258 };
        let stored = row.to_stored();
        assert_eq!(&stored[..], b"\0\0\0\0\0\0\x01\x02v");
        assert_eq!(Row::from_stored(&stored).unwrap(), row);
    }

    #[test]
    fn a_stored_row_without_a_timestamp_stops() {
        let fault = Row::from_stored(b"1234567").unwrap_err();
        assert_eq!(fault.remedy, crate::fault::Remedy::Stop);
    }
}
