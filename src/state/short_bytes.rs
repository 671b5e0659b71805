//! Bytes that are mostly short.

use bytes::Bytes;
use smallvec::SmallVec;
use std::{borrow::Borrow, fmt, ops::Deref};

/// What fits in place: a window start and a short key, or a number with its timestamp.
const IN_PLACE: usize = 24;

/// Row ids and values. Up to 24 bytes lie in place: no allocation, and no cache miss to compare them.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortBytes(SmallVec<[u8; IN_PLACE]>);

impl Clone for ShortBytes {
    fn clone(&self) -> Self {
        // Takes what it needs; a `SmallVec`'s own clone rounds up.
        Self::from(&self[..])
    }
}

impl Deref for ShortBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for ShortBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for ShortBytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ShortBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl From<&[u8]> for ShortBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl From<&Bytes> for ShortBytes {
    fn from(bytes: &Bytes) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Bytes> for ShortBytes {
    fn from(bytes: Bytes) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Vec<u8>> for ShortBytes {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= IN_PLACE { Self::from(&bytes[..]) } else { Self(SmallVec::from_vec(bytes)) }
    }
}

impl From<&str> for ShortBytes {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<ShortBytes> for Bytes {
    fn from(bytes: ShortBytes) -> Self {
        if bytes.0.spilled() { Self::from(bytes.0.into_vec()) } else { Self::copy_from_slice(&bytes) }
    }
}

impl PartialEq<Bytes> for ShortBytes {
    fn eq(&self, other: &Bytes) -> bool {
        self[..] == other[..]
    }
}

impl PartialEq<&str> for ShortBytes {
    fn eq(&self, other: &&str) -> bool {
        self[..] == *other.as_bytes()
    }
}

impl ShortBytes {
    /// Two parts, one after the other.
    pub(super) fn joined(first: &[u8], second: &[u8]) -> Self {
        let mut bytes = SmallVec::with_capacity(first.len() + second.len());
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        Self(bytes)
    }

    /// Bytes that it takes outside of its own place.
    pub(super) fn heap_bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }

    /// The same of a copy of `bytes`.
    pub(super) fn heap_bytes_of(bytes: &[u8]) -> usize {
        if bytes.len() > IN_PLACE { bytes.len() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ones_lie_in_place_and_long_ones_come_back_whole() {
        assert_eq!(size_of::<ShortBytes>(), IN_PLACE + size_of::<usize>());
        for len in [0, 1, IN_PLACE, IN_PLACE + 1, 1_000] {
            let bytes = vec![7; len];
            let short = ShortBytes::from(bytes.clone());
            assert_eq!(short.heap_bytes() > 0, len > IN_PLACE);
            assert_eq!(Bytes::from(short), bytes);
        }
    }

    #[test]
    fn they_order_as_slices_do() {
        let mut all = [&b"b"[..], b"a", b"", b"aa"].map(ShortBytes::from);
        all.sort();
        assert_eq!(all.map(|b| b.to_vec()), [&b""[..], b"a", b"aa", b"b"].map(<[u8]>::to_vec));
    }
}
