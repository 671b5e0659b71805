//! Rows that are looked up by key and a range of time, and that expire in whole segments of time.
//!
//! A row id begins with the start of the row's segment, so that expiry drops ranges of ids and never looks at a row.
//! Below it the rows of one key lie side by side, so that a look-up by key reads few rows of other keys or none: one
//! short range for each segment in question. A store for results on close also keeps an index of each segment by time.

use super::{Row, Store, StoreKind, row::Version, short_bytes::ShortBytes};
use crate::{codec::malformed, fault::Result, record::Timestamp};
use bytes::Bytes;
use std::ops::ControlFlow;

pub(super) const TIME_BYTES: usize = 8;
/// Segment start and the byte that tells rows from their index.
pub(super) const HEAD_BYTES: usize = TIME_BYTES + 1;
pub(super) const SEQUENCE_BYTES: usize = 4;
/// After the segment start: a row.
pub(super) const ROW: u8 = 0;
/// After the segment start: an entry of the index by time.
const INDEX: u8 = 1;
/// Segments that a retention is cut into, at most.
const SEGMENTS: i64 = 16;
/// The least length of Kafka Streams' segments (P-31).
const KAFKA_SEGMENT_MS_MIN: i64 = 60_000;

/// What the times of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moments {
    /// One: the start of a window of fixed size.
    Window {
        /// The window's end less its start, in milliseconds.
        size_ms: i64,
    },
    /// Two: end and start of a session, both included (D-47).
    Session,
    /// One, the record's own, and a sequence number: a join keeps all records of one key and time (D-82).
    Join,
}

impl Moments {
    fn bytes(self) -> usize {
        match self {
            Self::Window { .. } => TIME_BYTES,
            Self::Session => 2 * TIME_BYTES,
            Self::Join => TIME_BYTES + SEQUENCE_BYTES,
        }
    }
}

/// Rows by segment, key and time: `{segment start i64}{0}{key}{start i64}` for windows, `{segment start}{0}{key}{end
/// i64}{start i64}` for sessions, `{segment start}{0}{key}{time i64}{sequence i32}` for the records of a
/// join. The time that a row expires by is a window's start, a session's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segmented {
    /// Windows or sessions.
    pub moments: Moments,
    /// How long a row stays readable, in milliseconds of stream time.
    pub retention_ms: i64,
    /// Length of a segment in milliseconds, at least 1.
    pub segment_ms: i64,
    /// True for a store that is also read by time over all keys, for results on close (D-142).
    pub by_time: bool,
    /// Reads by time see a row until Kafka Streams' segment of this many milliseconds has expired, as its session store
    /// on disk does; 0: until the row has expired.
    pub kept_ms: i64,
    /// How much longer than the retention a row stays readable, in milliseconds: Kafka Streams' record cache shows rows
    /// that the store below it has expired.
    pub slack_ms: i64,
}

pub(super) fn time_at(row: &[u8], at: usize) -> Option<Timestamp> {
    Some(Timestamp::from_be_bytes(*row.get(at..)?.first_chunk()?))
}

/// The length of Kafka Streams' segments for a retention (P-31).
pub(crate) fn kafka_segment_ms(retention_ms: i64) -> i64 {
    (retention_ms / 2).max(KAFKA_SEGMENT_MS_MIN)
}

impl Segmented {
    /// Rows kept for `retention_ms`, and looked up over `reach_ms` at a time.
    pub fn new(moments: Moments, retention_ms: i64, reach_ms: i64) -> Self {
        let segment_ms = reach_ms.max(retention_ms / SEGMENTS).max(1);
        Self { moments, retention_ms, segment_ms, by_time: false, kept_ms: 0, slack_ms: 0 }
    }

    /// The same with an index by time.
    #[must_use]
    pub fn by_time(self) -> Self {
        Self { by_time: true, ..self }
    }

    /// The same, read by time as Kafka Streams' session store on disk is.
    #[must_use]
    pub fn kept_by_segment(self) -> Self {
        Self { kept_ms: kafka_segment_ms(self.retention_ms), ..self }
    }

    /// The same, with rows readable for `slack_ms` longer.
    #[must_use]
    pub fn readable_longer(self, slack_ms: i64) -> Self {
        Self { slack_ms, ..self }
    }

    /// How long a row stays readable, in milliseconds of stream time.
    pub(super) fn readable_ms(&self) -> i64 {
        self.retention_ms.saturating_add(self.slack_ms)
    }

    pub(super) fn segment_of(&self, moment: Timestamp) -> Timestamp {
        moment.div_euclid(self.segment_ms) * self.segment_ms
    }

    /// The row id of a window: its start alone counts; of a session start and end.
    pub fn row(&self, key: &[u8], start: Timestamp, end: Timestamp) -> Bytes {
        let mut row = Vec::with_capacity(HEAD_BYTES + key.len() + 2 * TIME_BYTES);
        let moment = if self.moments == Moments::Session { end } else { start };
        row.extend_from_slice(&self.segment_of(moment).to_be_bytes());
        row.push(ROW);
        row.extend_from_slice(key);
        if self.moments == Moments::Session {
            row.extend_from_slice(&end.to_be_bytes());
        }
        row.extend_from_slice(&start.to_be_bytes());
        row.into()
    }

    /// Key, start and end of a row; `None` when the id is none of this store's rows.
    pub fn split<'a>(&self, row: &'a [u8]) -> Option<(&'a [u8], Timestamp, Timestamp)> {
        let times = row.len().checked_sub(self.moments.bytes()).filter(|at| *at >= HEAD_BYTES)?;
        if row[TIME_BYTES] != ROW {
            return None;
        }
        let (start, end) = match self.moments {
            Moments::Window { size_ms } => {
                let start = time_at(row, times)?;
                (start, start.saturating_add(size_ms))
            }
            Moments::Session => (time_at(row, times + TIME_BYTES)?, time_at(row, times)?),
            Moments::Join => (time_at(row, times)?, time_at(row, times)?),
        };
        Some((&row[HEAD_BYTES..times], start, end))
    }

    /// The time that a row expires by.
    pub(super) fn moment(&self, row: &[u8]) -> Option<Timestamp> {
        let at = row.len().checked_sub(self.moments.bytes()).filter(|at| *at >= HEAD_BYTES)?;
        time_at(row, at)
    }

    /// The first segment that is kept at a stream time; 0 or less while all are.
    pub(super) fn floor(&self, stream_time: Timestamp) -> Timestamp {
        self.segment_of(self.kept_from(stream_time))
    }

    /// The first time that a read by time sees.
    fn kept_from(&self, stream_time: Timestamp) -> Timestamp {
        let expired = stream_time.saturating_sub(self.readable_ms());
        match self.kept_ms {
            0 => expired.saturating_add(1).max(0),
            kept_ms => expired.max(0) / kept_ms * kept_ms,
        }
    }

    /// The changelog key of a row: `{key}{start}{sequence i32 = 0}`, for a session `{key}{end}{start}` (D-166).
    pub(super) fn changelog_key(&self, row: &[u8]) -> Bytes {
        match self.moments {
            Moments::Session | Moments::Join => Bytes::copy_from_slice(&row[HEAD_BYTES..]),
            Moments::Window { .. } => [&row[HEAD_BYTES..], &[0; SEQUENCE_BYTES]].concat().into(),
        }
    }

    /// The row id of a changelog key (D-166).
    pub(super) fn row_of(&self, changelog_key: &[u8]) -> Result<Bytes> {
        let bad = || malformed(format_args!("a changelog key of {} bytes is not of this store", changelog_key.len()));
        let at = changelog_key.len().checked_sub(2 * TIME_BYTES);
        let row = match self.moments {
            Moments::Session => {
                let at = at.ok_or_else(bad)?;
                let (end, start) = (time_at(changelog_key, at), time_at(changelog_key, at + TIME_BYTES));
                let (end, start) = end.zip(start).filter(|(end, start)| 0 <= *start && start <= end).ok_or_else(bad)?;
                self.row(&changelog_key[..at], start, end)
            }
            Moments::Window { .. } => {
                let rest = changelog_key.strip_suffix(&[0; SEQUENCE_BYTES]).ok_or_else(bad)?;
                let at = rest.len().checked_sub(TIME_BYTES).ok_or_else(bad)?;
                let start = time_at(rest, at).filter(|start| *start >= 0).ok_or_else(bad)?;
                self.row(&rest[..at], start, start)
            }
            Moments::Join => self.join_row_of(changelog_key).ok_or_else(bad)?,
        };
        Ok(row)
    }

    /// The index entry of a row: `{segment start}{1}{times}{key}`.
    fn index(&self, row: &[u8]) -> Option<Bytes> {
        let times = row.len().checked_sub(self.moments.bytes()).filter(|at| *at >= HEAD_BYTES)?;
        Some([&row[..TIME_BYTES], &[INDEX], &row[times..], &row[HEAD_BYTES..times]].concat().into())
    }

    /// The row of an index entry.
    fn indexed(&self, entry: &[u8]) -> Option<Bytes> {
        let (times, key) = entry.get(HEAD_BYTES..)?.split_at_checked(self.moments.bytes())?;
        Some([&entry[..TIME_BYTES], &[ROW], key, times].concat().into())
    }
}

impl StoreKind {
    /// True for an entry of the index by time, which is not logged.
    pub(super) fn is_index(self, row: &[u8]) -> bool {
        matches!(self, Self::Segmented(Segmented { by_time: true, .. })) && row.get(TIME_BYTES) == Some(&INDEX)
    }
}

impl Store {
    /// The index entry that goes with a write.
    pub(super) fn index_of(&self, row: &[u8], present: bool, timestamp: Timestamp) -> Option<(Bytes, Version)> {
        match self.spec.kind {
            StoreKind::Segmented(segmented) if segmented.by_time => {
                let value = present.then(ShortBytes::default);
                Some((segmented.index(row)?, Version { value, timestamp }))
            }
            _ => None,
        }
    }

    /// True when Kafka Streams' store drops and counts a write to an expired row: one in memory every one, one on disk
    /// only those below its segments (D-58, P-40).
    pub fn counts_expired(&self, row: &[u8]) -> bool {
        let Some(retention_ms) = self.spec.retention_ms() else { return false };
        let Ok(time) = self.time_of(row, 0) else { return false };
        let expired = self.stream_time.saturating_sub(retention_ms);
        let segment_ms = kafka_segment_ms(retention_ms);
        if self.spec.persistent { time / segment_ms < expired / segment_ms } else { time <= expired }
    }

    /// Visits the live rows of one key whose time (a window's start, a session's end) lies from `from` to `to`, both
    /// included, in the order of their times.
    ///
    /// # Errors
    /// When the backend fails, or holds bytes that no store wrote.
    ///
    /// # Panics
    /// When the store is no [`Segmented`] one.
    pub fn scan_key(
        &mut self,
        key: &[u8],
        from: Timestamp,
        to: Timestamp,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Row) -> ControlFlow<()>,
    ) -> Result<()> {
        let segmented = self.segmented();
        let from = from.max(self.cut().unwrap_or(0)).max(0);
        let to = to.min(self.stream_time);
        if to < from {
            return Ok(());
        }
        let (first, last) = (segmented.segment_of(from), segmented.segment_of(to));
        let id_bytes = HEAD_BYTES + key.len() + segmented.moments.bytes();
        let mut segment = if reverse { last } else { first };
        loop {
            let id = |moment: Timestamp, tail: &[u8]| {
                [&segment.to_be_bytes()[..], &[ROW], key, &moment.to_be_bytes(), tail].concat()
            };
            // Nothing sorts above the greatest start of a session, or sequence number, but what is longer.
            let tail: &[u8] = match segmented.moments {
                Moments::Session => &[u8::MAX; TIME_BYTES + 1],
                Moments::Join => &[u8::MAX; SEQUENCE_BYTES + 1],
                Moments::Window { .. } => &[0],
            };
            let mut flow = ControlFlow::Continue(());
            self.scan(&id(from, &[]), Some(&id(to, tail)), reverse, &mut |row, found| {
                if row.len() == id_bytes {
                    flow = visit(row, found);
                }
                flow
            })?;
            if flow.is_break() || segment == (if reverse { first } else { last }) {
                return Ok(());
            }
            segment = if reverse { segment - segmented.segment_ms } else { segment + segmented.segment_ms };
        }
    }

    /// Rows of all keys whose time (a window's start, a session's end) lies from `from` to `to`, both included, in the
    /// order of their times, then keys. It may see rows that readers by key don't see any more (D-142).
    ///
    /// # Errors
    /// When the backend fails, or holds bytes that no store wrote.
    ///
    /// # Panics
    /// When the store is no [`Segmented`] one with an index by time.
    pub fn rows_by_time(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<(Bytes, Row)>> {
        let segmented = self.segmented();
        assert!(segmented.by_time, "store {}: it has no index by time", self.spec.name);
        let from = from.max(segmented.kept_from(self.stream_time));
        let to = to.min(self.stream_time);
        let mut found = Vec::new();
        if to < from {
            return Ok(found);
        }
        let mut entries = Vec::new();
        let mut segment = segmented.segment_of(from);
        while segment <= to {
            let id = |moment: Timestamp| [&segment.to_be_bytes()[..], &[INDEX], &moment.to_be_bytes()].concat();
            let end = to.checked_add(1).map_or_else(|| segment.saturating_add(1).to_be_bytes().to_vec(), id);
            self.scan(&id(from), Some(&end), false, &mut |entry, _| {
                entries.extend(segmented.indexed(entry));
                ControlFlow::Continue(())
            })?;
            segment = segment.saturating_add(segmented.segment_ms);
        }
        for id in entries {
            if let Some(row) = self.get_kept(&id)? {
                found.push((id, row));
            }
        }
        Ok(found)
    }

    fn segmented(&self) -> Segmented {
        match self.spec.kind {
            StoreKind::Segmented(segmented) => segmented,
            kind => panic!("store {}: {kind:?} is not looked up by key and time", self.spec.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::store;

    const SESSIONS: Segmented = Segmented {
        moments: Moments::Session,
        retention_ms: 100,
        segment_ms: 10,
        by_time: true,
        kept_ms: 0,
        slack_ms: 0,
    };

    #[test]
    fn d166_a_session_goes_to_the_changelog_and_back() {
        let row = SESSIONS.row(b"k", 17, 25);
        assert_eq!(&row[..], b"\0\0\0\0\0\0\0\x14\0k\0\0\0\0\0\0\0\x19\0\0\0\0\0\0\0\x11");
        assert_eq!(SESSIONS.split(&row), Some((&b"k"[..], 17, 25)));
        let key = SESSIONS.changelog_key(&row);
        assert_eq!(&key[..], b"k\0\0\0\0\0\0\0\x19\0\0\0\0\0\0\0\x11");
        assert_eq!(SESSIONS.row_of(&key).unwrap(), row);
        assert_eq!(SESSIONS.indexed(&SESSIONS.index(&row).unwrap()), Some(row));
    }

    #[test]
    fn d166_a_sliding_window_goes_to_the_changelog_and_back() {
        let windows = Segmented { moments: Moments::Window { size_ms: 5 }, ..SESSIONS };
        let row = windows.row(b"k", 17, 22);
        assert_eq!(windows.split(&row), Some((&b"k"[..], 17, 22)));
        let key = windows.changelog_key(&row);
        assert_eq!(&key[..], b"k\0\0\0\0\0\0\0\x11\0\0\0\0");
        assert_eq!(windows.row_of(&key).unwrap(), row);
        for bad in [&b"k\0\0\0\0\0\0\0\x11\0\0\0\x01"[..], b"k", b"k\xff\0\0\0\0\0\0\x11\0\0\0\0"] {
            assert!(windows.row_of(bad).is_err());
        }
    }

    #[test]
    fn a_session_that_ends_before_it_starts_is_refused() {
        assert!(SESSIONS.row_of(b"k\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02").is_err());
        assert!(SESSIONS.row_of(b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x02").is_err());
    }

    #[test]
    fn results_on_close_see_sessions_until_their_segment_of_kafka_streams_has_expired() {
        let kinds = [SESSIONS.kept_by_segment(), SESSIONS];
        let found: [Vec<i64>; 2] = kinds.map(|kind| {
            let mut store = store(StoreKind::Segmented(kind));
            for at in [59_999, 60_000, 119_000] {
                store.put(kind.row(b"k", at, at), Some("v".into()), at).unwrap();
            }
            assert!(store.get(&kind.row(b"k", 60_000, 60_000)).unwrap().is_none());
            store.rows_by_time(0, i64::MAX).unwrap().into_iter().map(|(row, _)| kind.split(&row).unwrap().1).collect()
        });
        assert_eq!(found, [vec![60_000, 119_000], vec![119_000]]);
    }

    #[test]
    fn d58_a_write_to_an_expired_row_counts_by_the_kind_of_store() {
        let mut store = store(StoreKind::Segmented(SESSIONS));
        store.put(SESSIONS.row(b"k", 119_000, 119_000), Some("v".into()), 0).unwrap();
        for (end, counts) in [(60_000, false), (59_999, true)] {
            let row = SESSIONS.row(b"k", end, end);
            assert!(!store.put(row.clone(), Some("v".into()), 0).unwrap());
            assert_eq!(store.counts_expired(&row), counts);
            assert_eq!(store.get(&row).unwrap(), None);
        }
    }
}
