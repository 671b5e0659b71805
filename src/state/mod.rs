//! State stores: rows of bytes in three tiers (overlay, table, backend), and typed views over them.

mod ask;
mod backend;
mod commit;
mod committed;
mod flaw;
mod floors;
mod global;
mod join_rows;
mod keys;
mod memory;
mod merge;
mod overlay;
mod packed;
mod persist;
mod recency;
mod row;
mod row_map;
mod segment;
mod segmented;
mod short_bytes;
mod slots;
mod spec;
mod store;
mod table;
mod versioned;
mod views;

#[cfg(feature = "rocksdb")]
mod rocks;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod version_model_tests;

pub use ask::{Ask, Entry, Limits, Page};
pub use backend::{Backend, Batch, Saved};
pub use committed::Change;
pub use flaw::Flaw;
pub use global::GlobalStore;
pub use keys::{split_window_row, window_row};
pub use memory::MemoryBackend;
#[cfg(feature = "rocksdb")]
pub use rocks::{Property, RocksRuntime};
pub use row::{ChangelogSink, Pending, Row};
pub use segmented::{Moments, Segmented};
pub use short_bytes::ShortBytes;
pub use spec::{StoreKind, StoreSpec};
pub use store::Store;
pub use versioned::{VersionPut, VersionRow};
pub use views::{
    GlobalUpdates, KeyValueStore, ReadOnlyKeyValueStore, SessionStore, ValueAndTimestamp, VersionedKeyValueStore,
    VersionedRecord, WindowStore,
};
pub(crate) use views::{Written, refused};
