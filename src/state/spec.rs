//! What a topology says of a store.

use super::Segmented;
use std::{collections::BTreeMap, sync::Arc};

/// The shape of a store's rows, and with it the meaning of its row ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Row id = key bytes.
    KeyValue,
    /// Row id = key bytes. A row that is one too many takes the place of the one used longest ago, which is deleted.
    Lru {
        /// How many rows there may be, at least 1.
        entries_max: usize,
    },
    /// Row id = window start (i64 big endian), then key bytes: windows sit together and expire together.
    Window {
        /// Window size in milliseconds.
        size_ms: i64,
        /// How long a row stays readable, in milliseconds of stream time after its window's start.
        retention_ms: i64,
    },
    /// Windows or sessions that are looked up by key and a range of time: see [`Segmented`].
    Segmented(Segmented),
    /// Row id = length of the key (u32 big endian), key bytes, time of the version (i64 big endian): all versions of a
    /// key, oldest first. The value begins with a byte that tells a version from a deletion.
    Versioned {
        /// How far back a version can be asked for, in milliseconds of stream time.
        history_ms: i64,
    },
    /// Row id = key bytes; a changelog record per row and commit, marked with the version of its format. The buffer of
    /// `suppress`.
    Buffer,
}

/// A store as the topology declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSpec {
    /// Name, unique in the topology.
    pub name: Arc<str>,
    /// Shape of the rows.
    pub kind: StoreKind,
    /// True when rows keep their timestamp (all stores of the DSL). It is always stored; only views differ.
    pub timestamped: bool,
    /// True when writes go to a changelog topic.
    pub logged: bool,
    /// Topic settings over the defaults, from `Materialized::with_logging_enabled`.
    pub changelog_config: BTreeMap<String, String>,
    /// True when updates are forwarded once per commit (the record cache).
    pub cached: bool,
    /// False for a store that stays in memory and is restored whole.
    pub persistent: bool,
}

impl StoreSpec {
    /// Stream-time retention in milliseconds of a store that expires.
    pub fn retention_ms(&self) -> Option<i64> {
        match self.kind {
            StoreKind::Window { retention_ms, .. } | StoreKind::Segmented(Segmented { retention_ms, .. }) => {
                Some(retention_ms)
            }
            StoreKind::KeyValue | StoreKind::Lru { .. } | StoreKind::Versioned { .. } | StoreKind::Buffer => None,
        }
    }
}
