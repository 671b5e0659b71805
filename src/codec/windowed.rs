//! Keys of windowed tables, as they go to topics.

use super::{Codec, Serde, malformed};
use crate::{
    fault::Result,
    record::{Timestamp, Windowed},
};

const TIME_BYTES: usize = 8;

fn split_time(bytes: &[u8]) -> Result<(&[u8], Timestamp)> {
    match bytes.split_last_chunk::<TIME_BYTES>() {
        Some((key, time)) => Ok((key, Timestamp::from_be_bytes(*time))),
        None => Err(malformed(format_args!("a windowed key of {} bytes has no window", bytes.len()))),
    }
}

/// Key and window as an object, where the key has a form.
fn show<K: 'static>(
    serde: &Serde<K>,
    window: Result<(&[u8], Timestamp, Timestamp)>,
) -> Option<Result<serde_json::Value>> {
    let (key, start, end) = match window {
        Ok(window) => window,
        Err(fault) => return Some(Err(fault)),
    };
    let key = super::Show::show(serde, key)?;
    Some(key.map(|key| serde_json::json!({ "key": key, "start": start, "end": end })))
}

struct Time<K> {
    key: Serde<K>,
    size_ms: i64,
}

impl<K: 'static> Codec<Windowed<K>> for Time<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<()> {
        self.key.encode(&value.key, out)?;
        out.extend_from_slice(&value.start.to_be_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Windowed<K>> {
        let (key, start) = split_time(bytes)?;
        Ok(Windowed::new(self.key.decode(key)?, start, start.saturating_add(self.size_ms)))
    }

    fn partition_key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        self.key.partition_key(&bytes[..bytes.len().saturating_sub(TIME_BYTES)])
    }

    fn show(&self, bytes: &[u8]) -> Option<Result<serde_json::Value>> {
        let window = split_time(bytes).map(|(key, start)| (key, start, start.saturating_add(self.size_ms)));
        show(&self.key, window)
    }
}

/// A key in a time window: `{key}{start i64}` (D-166). The end is not written; reading adds `size_ms` to the start.
/// The inner key alone chooses the partition (D-164).
///
/// ```
/// use millstream::{codec::serdes, record::Windowed};
/// let serde = serdes::windowed(serdes::string(), 60_000);
/// let key = Windowed::new("JFK".to_owned(), 258, 60_258);
/// let bytes = serde.to_bytes(&key).unwrap();
/// assert_eq!(&bytes[..], b"JFK\0\0\0\0\0\0\x01\x02");
/// assert_eq!(serde.decode(&bytes).unwrap(), key);
/// assert_eq!(serde.partition_key(&bytes), b"JFK");
/// ```
pub fn windowed<K: 'static>(key: Serde<K>, size_ms: i64) -> Serde<Windowed<K>> {
    Serde::new(Time { key, size_ms })
}

struct Session<K>(Serde<K>);

impl<K: 'static> Codec<Windowed<K>> for Session<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<()> {
        self.0.encode(&value.key, out)?;
        out.extend_from_slice(&value.end.to_be_bytes());
        out.extend_from_slice(&value.start.to_be_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Windowed<K>> {
        let (rest, start) = split_time(bytes)?;
        let (key, end) = split_time(rest)?;
        Ok(Windowed::new(self.0.decode(key)?, start, end))
    }

    fn partition_key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        self.0.partition_key(&bytes[..bytes.len().saturating_sub(2 * TIME_BYTES)])
    }

    fn show(&self, bytes: &[u8]) -> Option<Result<serde_json::Value>> {
        let session = split_time(bytes).and_then(|(rest, start)| {
            let (key, end) = split_time(rest)?;
            Ok((key, start, end))
        });
        show(&self.0, session)
    }
}

/// A key in a session: `{key}{end i64}{start i64}` (D-166). The inner key alone chooses the partition (D-164).
pub fn session_windowed<K: 'static>(key: Serde<K>) -> Serde<Windowed<K>> {
    Serde::new(Session(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::serdes;

    #[test]
    fn d166_a_session_key_has_its_end_first() {
        let serde = session_windowed(serdes::string());
        let key = Windowed::new("k".to_owned(), 1, 2);
        let bytes = serde.to_bytes(&key).unwrap();
        assert_eq!(&bytes[..], b"k\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01");
        assert_eq!(serde.decode(&bytes).unwrap(), key);
        assert_eq!(serde.partition_key(&bytes), b"k");
    }

    #[test]
    fn a_key_without_a_window_is_refused() {
        assert!(windowed(serdes::string(), 1).decode(b"1234567").is_err());
        assert!(session_windowed(serdes::string()).decode(b"123456789012345").is_err());
    }

    #[test]
    fn an_unlimited_window_ends_at_the_end_of_time() {
        let key = windowed(serdes::string(), i64::MAX).decode(b"k\0\0\0\0\0\0\0\x02").unwrap();
        assert_eq!(key.end, i64::MAX);
    }
}
