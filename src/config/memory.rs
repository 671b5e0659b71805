//! How `memory.limit` is divided.
//!
//! The shares are set by what window counts of 100-byte records take in fact, at limits from 160 MiB to 512 MiB. A row on
//! its way through a commit is once in the overlay, once as a changelog record and once as an output record in the
//! outbox, and again in the queue of the Kafka client until the broker has it: an overlay stands for seven times its bytes.
//! A row in memory is worth more than its block in RocksDB's cache, but that holds filters and indexes too, about a byte
//! and a half for each row on disk: of twelve million rows at 512 MiB they fill less than half of it.

use crate::fault::{Fault, Result};

/// What a process at work takes besides: program, threads, buffers of the Kafka clients and of the databases, and what the
/// allocator holds ready.
const BASE: i64 = 96 << 20;
/// The least that works; below it the shares are smaller than single records may be.
const MIN: i64 = 128 << 20;
/// More rows than this in one transaction or one write to disk gain nothing, and a commit would take long.
const OVERLAY_MAX: i64 = 16 << 20;
const PERSIST_MAX: i64 = 16 << 20;
/// Bytes of memory that a byte of an overlay takes until its commit has ended.
const OVERLAY_FACTOR: i64 = 7;

/// The settings that a limit stands for, in bytes. Each may be set by itself.
///
/// # Errors
/// When the limit is too small to work with.
pub(super) fn shares(limit: i64) -> Result<[(&'static str, i64); 6]> {
    if limit < MIN {
        return Err(Fault::stop(format!("setting `memory.limit`: {limit} bytes are too few"))
            .hint(format!("set {MIN} (128MiB) or more, or leave it out")));
    }
    let budget = limit - BASE;
    let overlay = (budget / 28).min(OVERLAY_MAX);
    let table = budget / 28 * 11 + (budget / 28 - overlay) * OVERLAY_FACTOR;
    Ok([
        ("state.memory.bytes", table),
        ("state.persist.bytes", (table / 7).min(PERSIST_MAX)),
        ("transaction.overlay.max.bytes", overlay),
        ("rocksdb.block.cache.bytes", budget / 28 * 3),
        ("rocksdb.write.buffer.bytes", budget / 8),
        ("fetch.queue.max.bytes", budget / 14),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, setting};

    fn share(limit: i64, name: &str) -> i64 {
        shares(limit).unwrap().into_iter().find(|s| s.0 == name).unwrap().1
    }

    #[test]
    fn shares_stay_within_the_limit() {
        for limit in [128 << 20, 160 << 20, 512 << 20, 8 << 30] {
            let sum = share(limit, "state.memory.bytes")
                + share(limit, "transaction.overlay.max.bytes") * OVERLAY_FACTOR
                + share(limit, "rocksdb.block.cache.bytes")
                + share(limit, "rocksdb.write.buffer.bytes")
                + share(limit, "fetch.queue.max.bytes") * 3 / 2;
            assert!(sum + BASE <= limit, "{limit}: {sum}");
            assert!(sum + BASE >= limit - limit / 5, "{limit}: {sum} leaves too much");
        }
    }

    #[test]
    fn the_table_shows_the_shares_of_the_default() {
        let limit = setting("memory.limit").unwrap().default.parse().unwrap();
        for (name, bytes) in shares(limit).unwrap() {
            assert_eq!(setting(name).unwrap().default, bytes.to_string(), "{name}");
        }
    }

    #[test]
    fn what_is_set_by_itself_keeps_its_value() {
        let flags = [("memory.limit", "512MiB"), ("state.memory.bytes", "1MiB")].map(|(n, v)| (n.into(), v.into()));
        let config = Config::load(&flags, [], None).unwrap();
        assert_eq!(config.int("state.memory.bytes"), 1 << 20);
        assert_eq!(config.int("rocksdb.block.cache.bytes"), (416 << 20) / 28 * 3);
    }

    #[test]
    fn a_limit_that_cannot_be_kept_is_refused() {
        let fault = Config::load(&[("memory.limit".into(), "32MiB".into())], [], None).unwrap_err();
        assert!(fault.to_string().contains("memory.limit"), "{fault}");
    }
}
