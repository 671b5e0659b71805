//! Rows of the stores of stream-stream joins: all records of one key and time are kept, in the order of their arrival.

use super::{
    Moments, Segmented, Store, StoreKind,
    row::Version,
    segmented::{HEAD_BYTES, ROW, SEQUENCE_BYTES, TIME_BYTES, time_at},
};
use crate::record::{Headers, Timestamp};
use bytes::Bytes;

impl Segmented {
    /// The row id of a record in a join's store.
    pub fn join_row(&self, key: &[u8], time: Timestamp, sequence: i32) -> Bytes {
        let mut row = Vec::with_capacity(HEAD_BYTES + key.len() + TIME_BYTES + SEQUENCE_BYTES);
        row.extend_from_slice(&self.segment_of(time).to_be_bytes());
        row.push(ROW);
        row.extend_from_slice(key);
        row.extend_from_slice(&time.to_be_bytes());
        row.extend_from_slice(&sequence.to_be_bytes());
        row.into()
    }

    /// The row id of a changelog key `{key}{time i64}{sequence i32}`; `None` when it is none, or its time is negative.
    pub(super) fn join_row_of(&self, changelog_key: &[u8]) -> Option<Bytes> {
        let (rest, sequence) = changelog_key.split_last_chunk::<SEQUENCE_BYTES>()?;
        let at = rest.len().checked_sub(TIME_BYTES)?;
        let time = time_at(rest, at).filter(|time| *time >= 0)?;
        Some(self.join_row(&rest[..at], time, i32::from_be_bytes(*sequence)))
    }
}

impl StoreKind {
    /// True for the store of one side of a stream-stream join.
    pub fn is_join(self) -> bool {
        matches!(self, Self::Segmented(Segmented { moments: Moments::Join, .. }))
    }

    /// A row's value, from its changelog record. It is copied, so that a small value does not keep a whole fetched batch
    /// alive.
    pub(super) fn restored_value(self, value: &[u8]) -> Bytes {
        if self.is_join() { join_value(value, Headers::none()) } else { Bytes::copy_from_slice(value) }
    }
}

/// A record's value follows.
const VALUE: u8 = 0;
/// The length of the headers (u32), the headers, and the record's value follow.
const HEADERS: u8 = 1;
/// The headers of a record without a value follow.
const NULL: u8 = 2;

/// A record's value with its headers, as a join's store keeps them: only the changelog has a use for the headers.
pub fn join_value(value: &[u8], headers: &Headers) -> Bytes {
    let mut out = Vec::with_capacity(1 + value.len());
    if headers.is_empty() {
        out.push(VALUE);
    } else {
        let encoded = encode(headers);
        out.push(HEADERS);
        out.extend_from_slice(&len(encoded.len()).to_be_bytes());
        out.extend_from_slice(&encoded);
    }
    out.extend_from_slice(value);
    out.into()
}

/// The record's value in a row of a join's store; `None` for a record that had none.
pub fn split_join_value(row: &Bytes) -> Option<Bytes> {
    logged(Some(row.clone())).0
}

/// Value and headers of the changelog record of a row.
pub(super) fn logged(row: Option<Bytes>) -> (Option<Bytes>, Headers) {
    let Some(row) = row else { return (None, Headers::new()) };
    match row.first() {
        Some(&NULL) => (None, decode(&row[1..])),
        Some(&HEADERS) => {
            let Some((length, rest)) = row[1..].split_first_chunk() else { return (None, Headers::new()) };
            let value = row.len() - rest.len() + rest.len().min(u32::from_be_bytes(*length) as usize);
            (Some(row.slice(value..)), decode(&row[5..value]))
        }
        _ => (Some(row.slice(row.len().min(1)..)), Headers::new()),
    }
}

fn len(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a record is smaller than 4 GiB")
}

/// Headers: length and bytes of the name, then length (-1 for null) and bytes of the value.
fn encode(headers: &Headers) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in headers.iter() {
        out.extend_from_slice(&len(name.len()).to_be_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&value.map_or(u32::MAX, |value| len(value.len())).to_be_bytes());
        out.extend_from_slice(value.map_or(&[][..], |value| value));
    }
    out
}

fn decode(mut bytes: &[u8]) -> Headers {
    let mut headers = Headers::new();
    while let Some((name, value, rest)) = header(bytes) {
        headers.add(name, value);
        bytes = rest;
    }
    headers
}

fn header(bytes: &[u8]) -> Option<(String, Option<Bytes>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (length, rest) = rest.split_first_chunk()?;
    let name = String::from_utf8_lossy(name).into_owned();
    match u32::from_be_bytes(*length) {
        u32::MAX => Some((name, None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(length as usize)?;
            Some((name, Some(Bytes::copy_from_slice(value)), rest))
        }
    }
}

impl Store {
    pub(super) fn is_join(&self) -> bool {
        self.spec.kind.is_join()
    }

    /// Logs a record without a value. Nobody can read it and it does not move time, but Kafka Streams' join writes it.
    pub fn log_null(&mut self, row: Bytes, timestamp: Timestamp, headers: &Headers) {
        let value = (!headers.is_empty()).then(|| [&[NULL], &encode(headers)[..]].concat().into());
        self.write_open(row, Version { value, timestamp });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::store;
    use std::ops::ControlFlow;

    fn rows() -> Segmented {
        Segmented::new(Moments::Join, 100, 10)
    }

    fn put(store: &mut Store, key: &str, time: Timestamp, sequence: i32) -> bool {
        let row = rows().join_row(key.as_bytes(), time, sequence);
        let value = join_value(format!("{key}{sequence}").as_bytes(), Headers::none());
        store.put(row, Some(value), time).unwrap()
    }

    fn found(store: &mut Store, key: &str, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, String)> {
        let mut found = Vec::new();
        store
            .scan_key(key.as_bytes(), from, to, false, &mut |id, row| {
                let value = split_join_value(&row.value.into()).map(|value| String::from_utf8(value.to_vec()).unwrap());
                found.extend(value.map(|value| (rows().split(id).unwrap().1, value)));
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    #[test]
    fn d166_a_record_goes_to_the_changelog_and_back() {
        let row = rows().join_row(b"key", 61, 2);
        assert_eq!(&row[..9], b"\0\0\0\0\0\0\0\x3c\0");
        assert_eq!(rows().split(&row), Some((&b"key"[..], 61, 61)));
        let key = rows().changelog_key(&row);
        assert_eq!(&key[..], b"key\0\0\0\0\0\0\0\x3d\0\0\0\x02");
        assert_eq!(rows().row_of(&key).unwrap(), row);
        assert!(rows().row_of(b"short").is_err());
        assert!(rows().row_of(b"\xff\0\0\0\0\0\0\0\0\0\0\0").is_err());
    }

    #[test]
    fn d82_duplicates_are_kept_and_come_in_order() {
        let mut store = store(StoreKind::Segmented(rows()));
        for (key, time, sequence) in [("k", 15, 1), ("k", 15, 2), ("kk", 15, 3), ("k", 4, 4), ("k", 17, 5)] {
            assert!(put(&mut store, key, time, sequence));
        }
        assert_eq!(found(&mut store, "k", 4, 15), [(4, "k4".into()), (15, "k1".into()), (15, "k2".into())]);
    }

    #[test]
    fn a_null_row_is_logged_and_does_not_move_time() {
        let mut store = store(StoreKind::Segmented(rows()));
        put(&mut store, "k", 1, 1);
        let null = rows().join_row(b"k", 900, 2);
        store.log_null(null.clone(), 900, Headers::none());
        store.log_null(null.clone(), 900, &[("h".to_owned(), None)].into_iter().collect());
        store.restore(&rows().changelog_key(&null), None, 900).unwrap();
        assert_eq!(found(&mut store, "k", 0, 1_000), [(1, "k1".into())]);
        assert!(store.is_dirty());
    }

    #[test]
    fn headers_travel_with_the_value() {
        let headers: Headers =
            [("a".to_owned(), Some(Bytes::from_static(b"1"))), ("b".to_owned(), None)].into_iter().collect();
        for headers in [headers, Headers::new()] {
            let row = join_value(b"value", &headers);
            assert_eq!(logged(Some(row.clone())), (Some(Bytes::from_static(b"value")), headers.clone()));
            assert_eq!(split_join_value(&row).unwrap(), "value");
        }
        for torn in [&b""[..], b"\x01", b"\x01\0\0\0\x09\0", b"\x02\0\0"] {
            logged(Some(Bytes::copy_from_slice(torn)));
        }
    }
}
