//! The text committed with each offset: Kafka Streams' partition time and processor metadata, in which the
//! operators' times and the commit stamp travel.
//!
//! Layout before base64: byte 2, partition time i64, then (when there is any entry) count i32 and for each entry key
//! length i32, key, value i64; all big endian. Kafka Streams keeps entries it doesn't know.

use crate::record::{NO_TIMESTAMP, Timestamp};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::collections::BTreeMap;

const MAGIC: u8 = 2;
const SESSION: &str = "millstream.session";
const COMMIT: &str = "millstream.commit";

/// Tells one commit from all others: whose it is and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Drawn when the producer started.
    pub session: i64,
    /// Counted up by each commit.
    pub commit: i64,
}

/// What is committed beside an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Greatest timestamp read from the partition, -1 before the first.
    pub partition_time: Timestamp,
    /// Times by name.
    pub times: BTreeMap<String, i64>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self { partition_time: NO_TIMESTAMP, times: BTreeMap::new() }
    }
}

impl Metadata {
    /// Adds the stamp of a commit.
    pub fn set_stamp(&mut self, stamp: Stamp) {
        self.times.insert(SESSION.into(), stamp.session);
        self.times.insert(COMMIT.into(), stamp.commit);
    }

    /// The stamp, when this worker's program made the commit.
    pub fn stamp(&self) -> Option<Stamp> {
        Some(Stamp { session: *self.times.get(SESSION)?, commit: *self.times.get(COMMIT)? })
    }

    /// The text for the offset commit.
    pub fn encode(&self) -> String {
        let mut bytes = vec![MAGIC];
        bytes.extend(self.partition_time.to_be_bytes());
        if !self.times.is_empty() {
            bytes.extend(len(self.times.len()));
            for (name, time) in &self.times {
                bytes.extend(len(name.len()));
                bytes.extend(name.as_bytes());
                bytes.extend(time.to_be_bytes());
            }
        }
        STANDARD.encode(bytes)
    }

    /// Reads such a text. Anything else (another program's metadata, an empty text) counts as "nothing known".
    pub fn decode(text: &str) -> Self {
        STANDARD.decode(text).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default()
    }
}

fn len(n: usize) -> [u8; 4] {
    u32::try_from(n).expect("offset metadata is at most a few kilobytes").to_be_bytes()
}

fn parse(bytes: &[u8]) -> Option<Metadata> {
    let (&magic, mut rest) = bytes.split_first()?;
    let partition_time = i64::from_be_bytes(*rest.split_off(..8)?.first_chunk()?);
    let mut times = BTreeMap::new();
    if magic == MAGIC && !rest.is_empty() {
        let count = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
        for _ in 0..count {
            let name = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?) as usize;
            let name = std::str::from_utf8(rest.split_off(..name)?).ok()?;
            times.insert(name.to_owned(), i64::from_be_bytes(*rest.split_off(..8)?.first_chunk()?));
        }
    }
    (magic == 1 || magic == MAGIC).then_some(Metadata { partition_time, times })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut metadata = Metadata { partition_time: 42, times: BTreeMap::from([("store".into(), 7)]) };
        metadata.set_stamp(Stamp { session: 3, commit: 9 });
        let read = Metadata::decode(&metadata.encode());
        assert_eq!(read, metadata);
        assert_eq!(read.stamp(), Some(Stamp { session: 3, commit: 9 }));
    }

    #[test]
    fn r35_partition_time_alone_is_nine_bytes() {
        let text = Metadata { partition_time: 1, ..Metadata::default() }.encode();
        assert_eq!(STANDARD.decode(&text).unwrap(), [2, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn foreign_text_is_nothing_known() {
        for text in ["", "hello", "AgAAAA==", "////////////////"] {
            assert_eq!(Metadata::decode(text), Metadata::default(), "{text}");
        }
    }
}
