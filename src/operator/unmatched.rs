//! Records of the outer sides of a stream-stream join that wait for a partner (D-85).
//!
//! One store for both sides: row id = time (i64 big endian), side (1 left, 0 right), key; the value is a list of all
//! records of that key, side and time in Kafka's list format, each behind its side's byte.

use super::{Context, TimeSlot};
use crate::{
    codec::malformed,
    fault::Result,
    record::{NO_TIMESTAMP, StoreIx, Timestamp},
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Rows that are taken at once, so that a leap in time does not bring all of them into memory.
const ROWS_MAX: usize = 1_000;
/// Kafka's list format: elements of differing length.
const VARIABLE_SIZE: u8 = 1;
const HEAD_BYTES: usize = 5;

/// Where unmatched records wait, and the times that the two sides share (D-90).
#[derive(Clone, Copy)]
pub(crate) struct Unmatched {
    pub store: StoreIx,
    /// Greatest record time of both sides.
    pub stream_time: TimeSlot,
    /// Least time of the rows, as far as known; unset when nothing is known.
    pub min_time: TimeSlot,
}

/// A waiting row.
pub(crate) struct Waiting {
    pub time: Timestamp,
    pub left: bool,
    pub key: Bytes,
    /// The records' values.
    pub values: Vec<Bytes>,
}

/// Row id of a waiting record.
pub(crate) fn row_of(time: Timestamp, left: bool, key: &[u8]) -> Bytes {
    let mut row = Vec::with_capacity(9 + key.len());
    row.extend_from_slice(&time.to_be_bytes());
    row.push(u8::from(left));
    row.extend_from_slice(key);
    row.into()
}

fn split(row: &[u8]) -> Option<(Timestamp, bool, &[u8])> {
    let (time, rest) = row.split_first_chunk::<8>()?;
    let (side, key) = rest.split_first()?;
    Some((Timestamp::from_be_bytes(*time), *side == 1, key))
}

/// A list with one more element.
fn append(list: Option<&[u8]>, left: bool, value: &[u8]) -> Result<Bytes> {
    let (count, elements) = match list {
        None => (0, &[][..]),
        Some(list) => parts(list)?,
    };
    let length = u32::try_from(value.len() + 1).map_err(|_| malformed("a value of more than 4 GiB"))?;
    let mut out = Vec::with_capacity(HEAD_BYTES + elements.len() + 5 + value.len());
    out.push(VARIABLE_SIZE);
    out.extend_from_slice(&(count + 1).to_be_bytes());
    out.extend_from_slice(elements);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(u8::from(left));
    out.extend_from_slice(value);
    Ok(out.into())
}

fn parts(list: &[u8]) -> Result<(u32, &[u8])> {
    match list.split_first_chunk::<HEAD_BYTES>() {
        Some(([VARIABLE_SIZE, count @ ..], elements)) => Ok((u32::from_be_bytes(*count), elements)),
        _ => Err(malformed("these bytes are no list of a join's records")),
    }
}

/// The values of a list, without the sides' bytes.
fn values(list: &Bytes) -> Result<Vec<Bytes>> {
    let (count, _) = parts(list)?;
    let mut rest = list.slice(HEAD_BYTES..);
    let mut out = Vec::new();
    for _ in 0..count {
        let length = rest.first_chunk::<4>().map(|b| u32::from_be_bytes(*b) as usize);
        let Some(length) = length.filter(|n| (1..=rest.len() - 4).contains(n)) else {
            return Err(malformed("a list of a join's records ends too early"));
        };
        out.push(rest.slice(5..4 + length));
        rest = rest.slice(4 + length..);
    }
    Ok(out)
}

impl Unmatched {
    /// Lets the shared stream time advance, and returns it.
    pub fn observe(&self, cx: &mut dyn Context, time: Timestamp) -> Timestamp {
        let stream_time = cx.time(self.stream_time).max(time);
        cx.set_time(self.stream_time, stream_time);
        stream_time
    }

    fn min_time(&self, cx: &dyn Context) -> Timestamp {
        let min = cx.time(self.min_time);
        if min == NO_TIMESTAMP { Timestamp::MAX } else { min }
    }

    /// Adds a record.
    pub fn put(&self, cx: &mut dyn Context, left: bool, key: &[u8], value: &[u8], time: Timestamp) -> Result<()> {
        let min = self.min_time(cx).min(time);
        cx.set_time(self.min_time, min);
        let row = row_of(time, left, key);
        let store = cx.store(self.store);
        let before = store.get(&row)?;
        let list = append(before.as_ref().map(|row| &row.value[..]), left, value)?;
        store.put(row, Some(list), time).map(drop)
    }

    /// The records of a key, side and time have found a partner (D-89). `at` is the time of the record that is it.
    pub fn matched(&self, cx: &mut dyn Context, left: bool, key: &[u8], time: Timestamp, at: Timestamp) -> Result<()> {
        let row = row_of(time, left, key);
        let store = cx.store(self.store);
        if store.get(&row)?.is_some() {
            store.put(row, None, at)?;
        }
        Ok(())
    }

    /// False while the oldest row can't be due, as Kafka Streams finds out before it looks (D-86). Nothing known counts
    /// as due: its sum overflows there, and so it does here.
    pub fn may_be_due(&self, cx: &dyn Context, after_ms: i64, grace_ms: i64) -> bool {
        self.min_time(cx).wrapping_add(after_ms).wrapping_add(grace_ms) < cx.time(self.stream_time)
    }

    /// Gives the rows whose windows are closed, in order of time, to `emit`. `wait_ms` tells how long after its time a row
    /// of a side waits. `at` is the time of the record that made time advance. Each row is deleted after its successor was
    /// given away: where one fails and a handler goes on, the one before it comes again, as in Kafka Streams.
    pub fn drain(
        &self,
        cx: &mut dyn Context,
        wait_ms: impl Fn(bool) -> i64,
        at: Timestamp,
        mut emit: impl FnMut(&mut dyn Context, Waiting) -> Result<()>,
    ) -> Result<()> {
        let stream_time = cx.time(self.stream_time);
        let (mut open, mut min, mut from) = ([false; 2], NO_TIMESTAMP, Vec::new());
        let mut emitted: Option<Bytes> = None;
        loop {
            let mut due = Vec::new();
            cx.store(self.store).scan(&from, None, false, &mut |id, row| {
                let Some((time, left, _)) = split(id) else { return ControlFlow::Continue(()) };
                min = time;
                if open == [true; 2] {
                    return ControlFlow::Break(());
                }
                if time.saturating_add(wait_ms(left)) >= stream_time {
                    open[usize::from(left)] = true;
                    // Kafka Streams looks at each record of a row: another one of this row is where it stops then.
                    let several = parts(&row.value).is_ok_and(|(count, _)| count > 1);
                    let ends = several && open == [true; 2];
                    return if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                }
                due.push((Bytes::copy_from_slice(id), Bytes::from(row.value)));
                if due.len() < ROWS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            let whole = due.len() < ROWS_MAX;
            if let Some((last, _)) = due.last() {
                from = [&last[..], &[0]].concat();
            }
            for (row, list) in due {
                let Some((time, left, _)) = split(&row) else { continue };
                let (key, values) = (row.slice(9..), values(&list)?);
                if let Err(fault) = emit(cx, Waiting { time, left, key, values }) {
                    cx.set_time(self.min_time, time);
                    return Err(fault);
                }
                if let Some(row) = emitted.replace(row) {
                    cx.store(self.store).put(row, None, at)?;
                }
            }
            if whole {
                if let Some(row) = emitted {
                    cx.store(self.store).put(row, None, at)?;
                }
                cx.set_time(self.min_time, min);
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::Kit;

    #[test]
    fn d85_lists_are_kafkas() {
        let one = append(None, true, b"La").unwrap();
        assert_eq!(&one[..], b"\x01\0\0\0\x01\0\0\0\x03\x01La");
        let two = append(Some(&one), true, b"").unwrap();
        assert_eq!(&two[..], b"\x01\0\0\0\x02\0\0\0\x03\x01La\0\0\0\x01\x01");
        assert_eq!(values(&two).unwrap(), [Bytes::from("La"), Bytes::new()]);
        for bad in [&b""[..], b"\0\0\0\0\x01", b"\x01\0\0\0\x02\0\0\0\x03\x01La", b"\x01\0\0\0\x01\0\0\0\0"] {
            assert!(values(&Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn many_rows_are_drained_in_pieces_and_in_order() {
        let mut kit = Kit::key_value();
        let unmatched = Unmatched { store: StoreIx(0), stream_time: TimeSlot(0), min_time: TimeSlot(1) };
        let rows = 2 * ROWS_MAX as i64 + 5;
        for time in 0..rows {
            unmatched.put(&mut kit, time % 2 == 0, b"k", b"v", time).unwrap();
        }
        unmatched.observe(&mut kit, rows + 9);
        assert!(unmatched.may_be_due(&kit, 10, 0));
        let mut seen = Vec::new();
        unmatched
            .drain(
                &mut kit,
                |_| 10,
                rows,
                |_, waiting| {
                    seen.push(waiting.time);
                    Ok(())
                },
            )
            .unwrap();
        assert_eq!(seen, (0..rows - 1).collect::<Vec<_>>());
        assert_eq!(kit.times[1], rows - 1, "the oldest row that is left");
        assert!(!unmatched.may_be_due(&kit, 10, 0));
        unmatched.matched(&mut kit, true, b"k", rows - 1, rows).unwrap();
        assert!(kit.store.get(&row_of(rows - 1, true, b"k")).unwrap().is_none());
    }
}
