//! Kafka's default partitioner (D-163), so that keys land where Java's producers put them.

/// Kafka's murmur2 of `bytes`: 32 bits, seed 0x9747b28c.
///
/// ```
/// use millstream::codec::murmur2;
/// assert_eq!(murmur2(b"foobar"), -790_332_482);
/// ```
pub fn murmur2(bytes: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ bytes.len() as u32;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (shift, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * shift);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    (h ^ (h >> 15)) as i32
}

/// The partition of a key among `partitions`, which must be positive.
///
/// # Panics
/// When `partitions` is 0.
pub fn partition_for(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest`.
    #[test]
    fn d163_hashes_are_those_of_java() {
        let vectors: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (bytes, hash) in vectors {
            assert_eq!(murmur2(bytes), hash, "{bytes:?}");
        }
    }
}
