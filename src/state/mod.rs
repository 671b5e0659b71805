//! State stores: rows of bytes in three tiers (overlay, table, backend), and typed views over them.

mod backend;
mod spec;
mod store;

pub use backend::{Backend, Batch, Saved};
pub use spec::{StoreKind, StoreSpec};
pub use store::{ChangelogSink, Pending, Row, Store};
