//! How `memory.limit` is divided.
//!
//! What a byte of each share takes of the process was measured (window counts of 100-byte records): a row on its way
//! through a commit is once in the overlay, once as a changelog record and once as an output record in the outbox, and
//! again in the queue of the Kafka client until the broker has it.

use crate::fault::{Fault, Result};

/// What a process takes without a record in it: program, threads, buffers of the Kafka clients and of the databases.
const BASE: i64 = 48 << 20;
/// The least that works; below it the shares are smaller than single records may be.
const MIN: i64 = 96 << 20;
/// More rows than this in one transaction or one write to disk gain nothing, and a commit would take long.
const OVERLAY_MAX: i64 = 16 << 20;
const PERSIST_MAX: i64 = 16 << 20;
/// Tenths of a byte of memory that a byte of an overlay and of a table takes.
const OVERLAY_TENTHS: i64 = 120;
const TABLE_TENTHS: i64 = 17;

/// The settings that a limit stands for, in bytes. Each may be set by itself.
///
/// # Errors
/// When the limit is too small to work with.
pub(super) fn shares(limit: i64) -> Result<[(&'static str, i64); 6]> {
    if limit < MIN {
        return Err(Fault::stop(format!("setting `memory.limit`: {limit} bytes are too few"))
            .hint(format!("set {MIN} (96MiB) or more, or leave it out")));
    }
    let budget = limit - BASE;
    let overlay = (budget / 56).min(OVERLAY_MAX);
    let table = budget * 3 / 14 + (budget / 56 - overlay) * OVERLAY_TENTHS / TABLE_TENTHS;
    Ok([
        ("state.memory.bytes", table),
        ("state.persist.bytes", (table / 8).min(PERSIST_MAX)),
        ("transaction.overlay.max.bytes", overlay),
        ("rocksdb.block.cache.bytes", budget / 28),
        ("rocksdb.write.buffer.bytes", budget / 28),
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
        for limit in [96 << 20, 160 << 20, 512 << 20, 8 << 30] {
            let sum = share(limit, "state.memory.bytes") * TABLE_TENTHS / 10
                + share(limit, "transaction.overlay.max.bytes") * OVERLAY_TENTHS / 10
                + share(limit, "rocksdb.block.cache.bytes")
                + share(limit, "rocksdb.write.buffer.bytes")
                + share(limit, "fetch.queue.max.bytes") * 5 / 2;
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
        assert_eq!(config.int("rocksdb.block.cache.bytes"), (464 << 20) / 28);
    }

    #[test]
    fn a_limit_that_cannot_be_kept_is_refused() {
        let fault = Config::load(&[("memory.limit".into(), "32MiB".into())], [], None).unwrap_err();
        assert!(fault.to_string().contains("memory.limit"), "{fault}");
    }
}
