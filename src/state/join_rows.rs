//! Rows of the stores of stream-stream joins: all records of one key and time are kept, in the order of their arrival.

use super::{
    Moments, Segmented, Store, StoreKind,
    row::Version,
    segmented::{HEAD_BYTES, ROW, SEQUENCE_BYTES, TIME_BYTES, time_at},
};
use crate::{
    fault::Result,
    record::{Headers, Timestamp},
};
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
}

impl Store {
    pub(super) fn is_join(&self) -> bool {
        self.spec.kind.is_join()
    }

    /// As [`Store::put`], with headers for the changelog record. They are not kept with the row.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_with_headers(
        &mut self,
        row: Bytes,
        value: Option<Bytes>,
        timestamp: Timestamp,
        headers: &Headers,
    ) -> Result<bool> {
        let live = self.put(row.clone(), value, timestamp)?;
        self.open.set_headers(&row, headers);
        Ok(live)
    }

    /// Logs a record without a value. Nobody can read it and it does not move time, but Kafka Streams' join writes it.
    pub fn log_null(&mut self, row: &Bytes, timestamp: Timestamp, headers: &Headers) {
        self.write_open(row.clone(), Version { value: None, timestamp });
        self.open.set_headers(row, headers);
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
        store.put(row, Some(format!("{key}{sequence}").into()), time).unwrap()
    }

    fn found(store: &mut Store, key: &str, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, String)> {
        let mut found = Vec::new();
        store
            .scan_key(key.as_bytes(), from, to, false, &mut |id, row| {
                let value = String::from_utf8(row.value.to_vec()).unwrap();
                found.push((rows().split(id).unwrap().1, value));
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
        store.log_null(&null, 900, Headers::none());
        store.log_null(&null, 900, &[("h".to_owned(), None)].into_iter().collect());
        store.restore(&rows().changelog_key(&null), None, 900).unwrap();
        assert_eq!(found(&mut store, "k", 0, 1_000), [(1, "k1".into())]);
        assert!(store.is_dirty());
    }
}
