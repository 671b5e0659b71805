//! Row ids, the changelog keys that belong to them, and how both are taken apart.

use super::StoreKind;
use crate::{
    codec::malformed,
    fault::Result,
    record::{Headers, Timestamp},
};
use bytes::Bytes;

const START_BYTES: usize = 8;
const SEQUENCE_BYTES: usize = 4;

/// Row id of a window store: window start (i64 big endian), then the key's bytes.
///
/// Starts are never negative, so byte order is time order.
///
/// ```
/// use millstream::state::{split_window_row, window_row};
/// let row = window_row(60_000, b"k");
/// assert_eq!(split_window_row(&row), Some((60_000, &b"k"[..])));
/// ```
pub fn window_row(start: Timestamp, key: &[u8]) -> Bytes {
    let mut row = Vec::with_capacity(START_BYTES + key.len());
    row.extend_from_slice(&start.to_be_bytes());
    row.extend_from_slice(key);
    row.into()
}

/// Window start and key of a window store's row id; `None` when the id is too short.
pub fn split_window_row(row: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (start, key) = row.split_first_chunk::<START_BYTES>()?;
    Some((Timestamp::from_be_bytes(*start), key))
}

/// First byte of a version with a value.
pub(super) const LIVE: u8 = 1;
/// The one byte of a version that deletes.
pub(super) const DELETED: u8 = 0;

const LENGTH_BYTES: usize = 4;

/// The row ids of all versions of a key begin with this.
pub(super) fn version_prefix(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(LENGTH_BYTES + key.len() + START_BYTES);
    row.extend_from_slice(&u32::try_from(key.len()).expect("a key is shorter than 4 GiB").to_be_bytes());
    row.extend_from_slice(key);
    row
}

/// Row id of one version of a key.
pub(super) fn version_row(key: &[u8], timestamp: Timestamp) -> Bytes {
    let mut row = version_prefix(key);
    row.extend_from_slice(&timestamp.to_be_bytes());
    row.into()
}

/// Row id of a version that came too late: it is logged, as in Kafka Streams, and never read.
pub(super) fn refused_row(key: &[u8], timestamp: Timestamp) -> Bytes {
    let mut row = version_row(key, timestamp).to_vec();
    row.push(u8::MAX);
    row.into()
}

/// Key and time of a version's row id, and whether the version was refused; `None` when it is too short.
pub(super) fn split_version_row(row: &[u8]) -> Option<(&[u8], Timestamp, bool)> {
    let (length, rest) = row.split_first_chunk::<LENGTH_BYTES>()?;
    let (key, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (time, mark) = rest.split_first_chunk::<START_BYTES>()?;
    Some((key, Timestamp::from_be_bytes(*time), !mark.is_empty()))
}

/// What marks a record of a suppress buffer's changelog: the version of its format.
fn buffer_headers() -> Headers {
    [("v".to_owned(), Some(Bytes::from_static(&[3])))].into_iter().collect()
}

impl StoreKind {
    /// The changelog key of a row: the row id itself, or `{key}{start i64}{sequence i32 = 0}` for a window store (D-166).
    ///
    /// # Panics
    /// When the row id of a window store or session store is too short; [`Store::put`](super::Store::put) lets none in.
    pub fn changelog_key(self, row: &[u8]) -> Bytes {
        match self {
            Self::KeyValue | Self::Lru { .. } | Self::Buffer => Bytes::copy_from_slice(row),
            Self::Versioned { .. } => {
                let (key, ..) = split_version_row(row).expect("a version's row id has key and time");
                Bytes::copy_from_slice(key)
            }
            Self::Segmented(segmented) => segmented.changelog_key(row),
            Self::Window { .. } => {
                let (start, key) = split_window_row(row).expect("a window row id begins with its start");
                let mut out = Vec::with_capacity(row.len() + SEQUENCE_BYTES);
                out.extend_from_slice(key);
                out.extend_from_slice(&start.to_be_bytes());
                out.extend_from_slice(&0i32.to_be_bytes());
                out.into()
            }
        }
    }

    /// Value and headers of the changelog record of a row; `None` when the row changes without one.
    pub(super) fn changelog_value(self, value: Option<Bytes>) -> Option<(Option<Bytes>, Headers)> {
        match self {
            // A version that nobody can ask for any more goes silently: compaction deletes it from the changelog.
            Self::Versioned { .. } => value.map(|v| ((v.first() == Some(&LIVE)).then(|| v.slice(1..)), Headers::new())),
            Self::Buffer if value.is_some() => Some((value, buffer_headers())),
            _ => Some((value, Headers::new())),
        }
    }

    /// The row id of a changelog key (D-166), copied, so that a small key does not keep a whole fetched batch alive.
    ///
    /// # Errors
    /// When the key of a window store is too short, its start is negative or its sequence number is not 0. The key of a
    /// versioned store is only a part of the row id.
    pub fn row_of(self, changelog_key: &[u8]) -> Result<Bytes> {
        match self {
            Self::KeyValue | Self::Lru { .. } | Self::Buffer | Self::Versioned { .. } => {
                Ok(Bytes::copy_from_slice(changelog_key))
            }
            Self::Segmented(segmented) => segmented.row_of(changelog_key),
            Self::Window { .. } => {
                let parts = changelog_key
                    .split_last_chunk::<SEQUENCE_BYTES>()
                    .and_then(|(rest, sequence)| Some((rest.split_last_chunk::<START_BYTES>()?, sequence)));
                let Some(((key, start), sequence)) = parts else {
                    return Err(malformed(format_args!(
                        "a window store's changelog key has at least 12 bytes, this one has {}",
                        changelog_key.len()
                    )));
                };
                let start = Timestamp::from_be_bytes(*start);
                if start < 0 || *sequence != [0; SEQUENCE_BYTES] {
                    return Err(malformed(format_args!(
                        "a changelog key with window start {start} and sequence number {} is not of this store",
                        i32::from_be_bytes(*sequence)
                    )));
                }
                Ok(window_row(start, key))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: StoreKind = StoreKind::Window { size_ms: 10, retention_ms: 20 };

    #[test]
    fn a_window_row_goes_to_the_changelog_and_back_d166() {
        let row = window_row(258, b"key");
        let key = WINDOW.changelog_key(&row);
        assert_eq!(&key[..], b"key\0\0\0\0\0\0\x01\x02\0\0\0\0");
        assert_eq!(WINDOW.row_of(&key).unwrap(), row);
    }

    #[test]
    fn a_short_or_foreign_window_key_is_refused() {
        for key in [&b"12345678901"[..], b"k\0\0\0\0\0\0\x01\x02\0\0\0\x01", b"k\xff\0\0\0\0\0\x01\x02\0\0\0\0"] {
            assert!(WINDOW.row_of(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_key_value_row_is_its_own_changelog_key() {
        let row = Bytes::from_static(b"");
        assert_eq!(StoreKind::KeyValue.changelog_key(&row), row);
        assert_eq!(StoreKind::KeyValue.row_of(b"").unwrap(), row);
    }
}
