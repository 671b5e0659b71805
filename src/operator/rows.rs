//! Typed keys to row ids and back.

use crate::{codec::Serde, fault::Result, record::Windowed, state::Segmented};
use bytes::Bytes;

/// How a store's row id is made from a table's key.
pub(crate) trait Rows<K>: Clone + Send + Sync + 'static {
    /// The row id of `key`.
    fn row(&self, key: &K) -> Result<Bytes>;

    /// The key of a row id.
    fn key(&self, row: &[u8]) -> Result<K>;
}

/// Row id = key bytes.
pub(crate) struct KeyRows<K>(pub Serde<K>);

impl<K> Clone for KeyRows<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: 'static> Rows<K> for KeyRows<K> {
    fn row(&self, key: &K) -> Result<Bytes> {
        self.0.to_bytes(key)
    }

    fn key(&self, row: &[u8]) -> Result<K> {
        self.0.decode(row)
    }
}

/// Bytes of a window start at the head of a row id.
pub(crate) const START_BYTES: usize = 8;

/// Row id = window start, then key bytes.
pub(crate) struct WindowRows<K> {
    /// Serde of the inner key.
    pub key: Serde<K>,
    /// Window size in milliseconds: the end is not in the bytes.
    pub size_ms: i64,
}

impl<K> Clone for WindowRows<K> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), size_ms: self.size_ms }
    }
}

impl<K: 'static> Rows<Windowed<K>> for WindowRows<K> {
    fn row(&self, key: &Windowed<K>) -> Result<Bytes> {
        let mut row = Vec::with_capacity(32);
        row.extend_from_slice(&key.start.to_be_bytes());
        self.key.encode(&key.key, &mut row)?;
        Ok(row.into())
    }

    fn key(&self, row: &[u8]) -> Result<Windowed<K>> {
        let (start, key) = row
            .split_at_checked(START_BYTES)
            .ok_or_else(|| crate::codec::malformed("a window row is shorter than 8 bytes"))?;
        let start = i64::from_be_bytes(start.try_into().expect("split after a start"));
        Ok(Windowed::new(self.key.decode(key)?, start, start.saturating_add(self.size_ms)))
    }
}

/// Row id by segment, key and times: sliding windows and sessions.
pub(crate) struct SegmentedRows<K> {
    /// Serde of the inner key.
    pub key: Serde<K>,
    /// The store's kind.
    pub kind: Segmented,
}

impl<K> Clone for SegmentedRows<K> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), kind: self.kind }
    }
}

impl<K: 'static> Rows<Windowed<K>> for SegmentedRows<K> {
    fn row(&self, key: &Windowed<K>) -> Result<Bytes> {
        Ok(self.kind.row(&self.key.to_bytes(&key.key)?, key.start, key.end))
    }

    fn key(&self, row: &[u8]) -> Result<Windowed<K>> {
        let (key, start, end) =
            self.kind.split(row).ok_or_else(|| crate::codec::malformed("a row id without a window"))?;
        Ok(Windowed::new(self.key.decode(key)?, start, end))
    }
}
