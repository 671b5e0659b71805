//! The rows of records that wait to be tried again: for each key a line of them, and an index of what is due when.
//!
//! A record in a line is the row `{0}{length of the key u32}{key}{number u64}`; records without a key stand in one line of
//! their own, `{1}{number u64}`. What is due is the row `{2}{time i64}{row id of the record}`. Numbers begin anew once a
//! line is empty, so that nothing is left behind when nobody waits.

use crate::{
    codec::{Serde, malformed, serdes},
    fault::Result,
    record::{Headers, RawRecord, SourceContext, Timestamp},
    state::Store,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

const KEYED: u8 = 0;
const UNKEYED: u8 = 1;
const DUE: u8 = 2;

/// Bytes, or null.
type Field = Option<Vec<u8>>;

/// A record that waits, or was given to the processor in vain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// Attempts that failed; 0 for a record that waits behind another of its key.
    pub attempts: u32,
    /// Wall clock of the first failure, or of the arrival.
    pub since: Timestamp,
    pub timestamp: Timestamp,
    pub key: Field,
    pub value: Field,
    pub headers: Vec<(String, Field)>,
    /// Topic, partition and offset of the input record; absent after punctuation.
    pub source: Option<(String, i32, i64)>,
    /// Key and value of the input record, where they are not those above.
    pub input: Option<(Field, Field)>,
}

/// The row as it is stored. Another shape gets another variant.
#[derive(Serialize, Deserialize)]
enum Stored {
    One(Waiting),
}

fn owned(bytes: Option<&Bytes>) -> Field {
    bytes.map(|bytes| bytes.to_vec())
}

impl Waiting {
    /// A record in hand, with the input record that it comes from.
    pub fn new(
        (key, value): (Field, Field),
        timestamp: Timestamp,
        headers: &Headers,
        source: Option<&SourceContext>,
        input: Option<&RawRecord>,
    ) -> Self {
        let same = |raw: &&RawRecord| raw.key.as_deref() != key.as_deref() || raw.value.as_deref() != value.as_deref();
        let input = input.filter(same).map(|raw| (owned(raw.key.as_ref()), owned(raw.value.as_ref())));
        Self {
            attempts: 0,
            since: 0,
            timestamp,
            key,
            value,
            headers: headers.iter().map(|(name, value)| (name.to_owned(), owned(value))).collect(),
            source: source.map(|s| (s.topic.to_string(), s.partition, s.offset)),
            input,
        }
    }

    pub fn headers(&self) -> Headers {
        self.headers.iter().map(|(name, value)| (name.clone(), value.clone().map(Bytes::from))).collect()
    }

    pub fn source(&self) -> Option<SourceContext> {
        let (topic, partition, offset) = self.source.as_ref()?;
        Some(SourceContext { topic: topic.as_str().into(), partition: *partition, offset: *offset })
    }

    /// The input record as it came.
    pub fn input(&self) -> Option<RawRecord> {
        let (_, _, offset) = self.source.as_ref()?;
        let (key, value) = self.input.clone().unwrap_or_else(|| (self.key.clone(), self.value.clone()));
        let (key, value) = (key.map(Bytes::from), value.map(Bytes::from));
        Some(RawRecord { offset: *offset, timestamp: self.timestamp, key, value, headers: self.headers() })
    }

    fn encode(self) -> Result<Bytes> {
        rows().to_bytes(&Stored::One(self))
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        rows().decode(bytes).map(|Stored::One(waiting)| waiting)
    }
}

fn rows() -> Serde<Stored> {
    serdes::bincode()
}

fn prefix(key: Option<&[u8]>) -> Vec<u8> {
    match key {
        Some(key) => {
            let length = u32::try_from(key.len()).expect("a key fits in a record");
            [&[KEYED][..], &length.to_be_bytes(), key].concat()
        }
        None => vec![UNKEYED],
    }
}

/// The line that a row belongs to.
fn line_of(id: &[u8]) -> &[u8] {
    &id[..id.len() - size_of::<u64>()]
}

/// True when the row's record has a key.
pub(super) fn is_keyed(id: &[u8]) -> bool {
    id.first() == Some(&KEYED)
}

fn due_row(due: Timestamp, id: &[u8]) -> Bytes {
    [&[DUE][..], &due.to_be_bytes(), id].concat().into()
}

/// The first or last row of a line.
fn end_of(store: &mut Store, line: &[u8], last: bool) -> Result<Option<Bytes>> {
    let (from, to) = ([line, &[0; 8]].concat(), [line, &[0xff; 8]].concat());
    let mut found = None;
    store.scan(&from, Some(&to), last, &mut |id, _| {
        found = Some(Bytes::copy_from_slice(id));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// True when a record with this key waits.
pub(super) fn has_line(store: &mut Store, key: &[u8]) -> Result<bool> {
    Ok(end_of(store, &prefix(Some(key)), false)?.is_some())
}

/// The row of the record that comes next in the line of this one.
pub(super) fn next_in_line(store: &mut Store, id: &[u8]) -> Result<Option<Bytes>> {
    end_of(store, line_of(id), false)
}

/// Puts a record at the end of its line.
pub(super) fn append(store: &mut Store, waiting: Waiting) -> Result<Bytes> {
    let line = prefix(waiting.key.as_deref());
    let number = match end_of(store, &line, true)? {
        Some(last) => number_of(&last)? + 1,
        None => 0,
    };
    let id = Bytes::from([&line[..], &number.to_be_bytes()].concat());
    put(store, &id, waiting)?;
    Ok(id)
}

fn number_of(id: &[u8]) -> Result<u64> {
    let number = id.last_chunk().ok_or_else(|| malformed("no row of a record that waits"))?;
    Ok(u64::from_be_bytes(*number))
}

/// Writes a record's row again.
pub(super) fn put(store: &mut Store, id: &Bytes, waiting: Waiting) -> Result<()> {
    let timestamp = waiting.timestamp;
    store.put(id.clone(), Some(waiting.encode()?), timestamp).map(drop)
}

/// The record of a row.
pub(super) fn get(store: &mut Store, id: &[u8]) -> Result<Option<Waiting>> {
    store.get(id)?.map(|row| Waiting::decode(&row.value)).transpose()
}

/// Takes a record out of its line.
pub(super) fn remove(store: &mut Store, id: &Bytes) -> Result<()> {
    store.put(id.clone(), None, 0).map(drop)
}

/// Notes when a record is due.
pub(super) fn set_due(store: &mut Store, due: Timestamp, id: &[u8]) -> Result<()> {
    store.put(due_row(due, id), Some(Bytes::new()), 0).map(drop)
}

/// Forgets when a record is due.
pub(super) fn clear_due(store: &mut Store, due: Timestamp, id: &[u8]) -> Result<()> {
    store.put(due_row(due, id), None, 0).map(drop)
}

/// The record that is due first, and when.
pub(super) fn first_due(store: &mut Store) -> Result<Option<(Timestamp, Bytes)>> {
    let mut found = None;
    store.scan(&[DUE], Some(&[DUE + 1]), false, &mut |id, _| {
        found = id[1..].split_first_chunk().map(|(due, id)| (i64::from_be_bytes(*due), Bytes::copy_from_slice(id)));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// How many records wait.
pub(super) fn count(store: &mut Store) -> Result<usize> {
    let mut count = 0;
    store.scan(&[KEYED], Some(&[DUE]), false, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{operator::Context, operator::testkit::Kit, record::StoreIx};

    fn of(key: Option<&str>, value: &str) -> Waiting {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Waiting { key: key.map(bytes), value: Some(bytes(value)), timestamp: 7, ..Waiting::default() }
    }

    #[test]
    fn lines_are_apart_and_in_order() {
        let mut kit = Kit::key_value();
        let store = kit.store(StoreIx(0));
        // A key that begins with the bytes of another one and its numbers has a line of its own.
        let long = format!("a{}", "\0".repeat(8));
        let first = append(store, of(Some("a"), "1")).unwrap();
        append(store, of(Some(&long), "2")).unwrap();
        append(store, of(None, "3")).unwrap();
        let second = append(store, of(Some("a"), "4")).unwrap();
        assert_eq!((count(store).unwrap(), number_of(&second).unwrap()), (4, 1));
        assert_eq!(next_in_line(store, &second).unwrap(), Some(first.clone()));
        remove(store, &first).unwrap();
        assert_eq!(next_in_line(store, &first).unwrap(), Some(second.clone()));
        assert_eq!(get(store, &second).unwrap(), Some(of(Some("a"), "4")));
        remove(store, &second).unwrap();
        assert!(!has_line(store, b"a").unwrap() && has_line(store, long.as_bytes()).unwrap());
        assert_eq!(append(store, of(Some("a"), "5")).unwrap(), first, "numbers begin anew");
    }

    #[test]
    fn what_is_due_first_comes_first() {
        let mut kit = Kit::key_value();
        let store = kit.store(StoreIx(0));
        for (due, id) in [(300, b"x"), (7, b"y"), (40, b"z")] {
            set_due(store, due, id).unwrap();
        }
        clear_due(store, 7, b"y").unwrap();
        assert_eq!(first_due(store).unwrap(), Some((40, Bytes::from_static(b"z"))));
        assert_eq!(count(store).unwrap(), 0);
    }

    #[test]
    fn the_input_record_is_kept_where_it_is_another_one() {
        let raw = |value: &'static str| RawRecord {
            offset: 4,
            timestamp: 5,
            key: Some("k".into()),
            value: Some(value.into()),
            headers: [("h".to_owned(), None)].into_iter().collect(),
        };
        let source = SourceContext { topic: "in".into(), partition: 1, offset: 4 };
        let pair = || (Some(b"k".to_vec()), Some(b"v".to_vec()));
        for (input, kept) in [(raw("v"), false), (raw("other"), true)] {
            let waiting = Waiting::new(pair(), 5, &input.headers, Some(&source), Some(&input));
            assert_eq!(waiting.input.is_some(), kept);
            let back = Waiting::decode(&waiting.clone().encode().unwrap()).unwrap();
            assert_eq!((back.input(), back.source()), (Some(input), Some(source.clone())));
            assert_eq!(back, waiting);
        }
    }
}
