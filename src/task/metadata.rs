//! The text committed with each offset: Kafka Streams' partition time and processor metadata, in which the
//! operators' times and the commit stamp travel.
//!
//! Layout before base64: byte 2, partition time i64, then (when there is any entry) count i32 and for each entry key
//! length i32, key, value i64; all big endian. Kafka Streams keeps entries it doesn't know.

use crate::{
    codec::murmur3,
    fault::{Fault, Result},
    record::{NO_TIMESTAMP, Timestamp},
    state::StoreKind,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::collections::BTreeMap;

const MAGIC: u8 = 2;
/// `offset.metadata.max.bytes` of the brokers: a longer text is refused, and with it the commit.
pub const METADATA_BYTES_MAX: usize = 4_096;
/// What is left free by times that can be done without.
const HEADROOM_BYTES: usize = 512;
const SESSION: &str = "millstream.session";
const COMMIT: &str = "millstream.commit";
const STORE: &str = "millstream.store.";
const FLOOR: &str = "millstream.floor.";

/// Name under which the floor of a changelog travels: another topic of the same name, or a store that keeps its rows for
/// another time, has another.
pub(super) fn floor_name(topic_id: &str, kind: StoreKind) -> String {
    let hash = murmur3(format!("{topic_id} {kind:?}").as_bytes());
    let short = hash.iter().take(6).fold(0_u64, |short, byte| short << 8 | u64::from(*byte));
    format!("{FLOOR}{short:012x}")
}

/// Name under which the stream time of a store travels.
pub(super) fn store_time(store: &str) -> String {
    format!("{STORE}{store}")
}

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

    /// Adds times that can be done without, if all of it still fits into one offset commit, with room for what an operator
    /// may add later: Kafka Streams, when it goes on, keeps what it does not know.
    pub(super) fn add_if_they_fit(&mut self, more: BTreeMap<String, i64>) {
        let mut times = self.times.clone();
        times.extend(more);
        if encoded_len(&times) <= METADATA_BYTES_MAX - HEADROOM_BYTES {
            self.times = times;
        }
    }

    /// Texts for the source partitions of a task, in their order, with the times of all of them. Each carries the whole
    /// map when that fits into an offset commit; else each carries a part of it besides the stamp, and whoever reads
    /// them puts the parts together ([`Metadata::merged_times`]).
    ///
    /// # Errors
    /// When all partitions together can't carry the map.
    pub(super) fn spread(&self, partition_times: &[Timestamp]) -> Result<Vec<String>> {
        let text = |partition_time: &Timestamp| Self { partition_time: *partition_time, ..self.clone() }.encode();
        if encoded_len(&self.times) <= METADATA_BYTES_MAX {
            return Ok(partition_times.iter().map(text).collect());
        }
        let is_stamp = |name: &String| name == SESSION || name == COMMIT;
        let mut rest = self.times.iter().filter(|(name, _)| !is_stamp(name)).peekable();
        let mut texts = Vec::with_capacity(partition_times.len());
        for partition_time in partition_times {
            let mut part = Self { partition_time: *partition_time, times: BTreeMap::new() };
            part.times.extend(self.times.iter().filter(|(n, _)| is_stamp(n)).map(|(n, t)| (n.clone(), *t)));
            while let Some((name, time)) = rest.peek() {
                part.times.insert((*name).clone(), **time);
                if encoded_len(&part.times) > METADATA_BYTES_MAX {
                    part.times.remove(*name);
                    break;
                }
                rest.next();
            }
            texts.push(part.encode());
        }
        match rest.count() {
            0 => Ok(texts),
            left => Err(Fault::stop(format!(
                "{left} of {} operator and store times do not fit into the metadata of {} offsets of {METADATA_BYTES_MAX} bytes each",
                self.times.len(),
                partition_times.len()
            ))
            .hint("give operators and stores shorter names, or split the topology with a repartition")),
        }
    }

    /// The times of several partitions as one map; the greatest of each name counts.
    pub(super) fn merged_times(all: &[Self]) -> BTreeMap<String, i64> {
        let mut merged = BTreeMap::new();
        for (name, time) in all.iter().flat_map(|m| &m.times) {
            merged.entry(name.clone()).and_modify(|t: &mut i64| *t = (*t).max(*time)).or_insert(*time);
        }
        merged
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

/// Length of the text for these times.
fn encoded_len(times: &BTreeMap<String, i64>) -> usize {
    let entries: usize = times.keys().map(|name| 4 + name.len() + 8).sum();
    (1 + 8 + 4 + entries).div_ceil(3) * 4
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

    fn named(count: usize) -> Metadata {
        let name = |i| format!("millstream.time.KSTREAM-AGGREGATE-STATE-STORE-{i:010}");
        let mut metadata = Metadata { partition_time: 5, times: (0..count as i64).map(|i| (name(i), i)).collect() };
        metadata.set_stamp(Stamp { session: 1, commit: 2 });
        metadata
    }

    #[test]
    fn times_that_fit_go_with_every_partition() {
        let metadata = named(40);
        let texts = metadata.spread(&[5, 7]).unwrap();
        assert_eq!(texts[0], metadata.encode());
        assert_eq!(texts[0].len(), encoded_len(&metadata.times));
        assert_eq!(Metadata::decode(&texts[1]).times, metadata.times);
        assert_eq!(Metadata::decode(&texts[1]).partition_time, 7);
    }

    #[test]
    fn times_that_do_not_fit_are_spread_over_the_partitions() {
        let metadata = named(80);
        let texts = metadata.spread(&[5, 6, 7]).unwrap();
        assert!(texts.iter().all(|t| t.len() <= METADATA_BYTES_MAX), "{:?}", texts.iter().map(String::len));
        let parts: Vec<_> = texts.iter().map(|t| Metadata::decode(t)).collect();
        assert!(parts.iter().all(|p| p.stamp() == metadata.stamp()));
        assert_eq!(parts.iter().map(|p| p.partition_time).collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!(Metadata::merged_times(&parts), metadata.times);
    }

    #[test]
    fn floors_are_left_out_where_they_do_not_fit() {
        let floors = || BTreeMap::from([("millstream.floor.0123456789ab".into(), 7)]);
        for (count, fits) in [(30, true), (40, false)] {
            let mut metadata = named(count);
            let before = metadata.clone();
            metadata.add_if_they_fit(floors());
            assert_eq!(metadata != before, fits, "{count}: {}", encoded_len(&metadata.times));
        }
    }

    #[test]
    fn a_floor_is_of_one_topic_and_one_time_for_which_rows_are_kept() {
        let kind = |retention_ms| StoreKind::Window { size_ms: 1, retention_ms };
        let names = [("a", 1), ("a", 2), ("b", 1)].map(|(topic_id, ms)| floor_name(topic_id, kind(ms)));
        assert!(names[0] != names[1] && names[0] != names[2]);
        assert_eq!(names[0].len(), "millstream.floor.".len() + 12);
    }

    #[test]
    fn times_that_fit_nowhere_stop_with_a_clear_error() {
        let fault = named(80).spread(&[5]).unwrap_err();
        assert!(fault.what().starts_with("36 of 82 operator and store times do not fit"), "{fault}");
    }

    #[test]
    fn foreign_text_is_nothing_known() {
        for text in ["", "hello", "AgAAAA==", "////////////////"] {
            assert_eq!(Metadata::decode(text), Metadata::default(), "{text}");
        }
    }
}
