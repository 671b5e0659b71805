//! The order in which Java's `HashMap` gives strings back: Kafka Streams' `describe()` depends on it in places.

use std::sync::Arc;

/// Java's `String.hashCode`, spread as `HashMap` spreads it.
fn hash(text: &str) -> u32 {
    let hash = text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    hash ^ (hash >> 16)
}

/// Distinct strings, given in order of insertion, in the order of a `HashMap` that grew from its default size.
pub(crate) fn hash_order<T>(mut items: Vec<T>, name: impl Fn(&T) -> Arc<str>) -> Vec<T> {
    let mut buckets = 16u32;
    while items.len() as u64 * 4 > u64::from(buckets) * 3 {
        buckets *= 2;
    }
    items.sort_by_key(|item| hash(&name(item)) & (buckets - 1));
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_hash_as_in_java() {
        // "hello".hashCode() == 99162322 in Java.
        assert_eq!(hash("hello"), 99_162_322 ^ (99_162_322 >> 16));
        assert_eq!(hash_order(vec!["in2", "in"], |s| Arc::from(*s)), ["in", "in2"]);
    }
}
