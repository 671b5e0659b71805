//! Systems beyond Kafka, as sinks: each behind the cargo feature of its name.
//!
//! A sink connects in the topology's program alone, by its own client, on the stream thread that commits; no call waits
//! longer than [`CALL_TIMEOUT`].

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "postgres")]
pub use postgres::PostgresTable;
#[cfg(feature = "redis")]
pub use redis::RedisHashes;

use std::time::Duration;

/// The longest wait for a connection, and for the answer to a statement: about half of `transaction.timeout.ms`, or a system
/// that hangs would cost the Kafka transaction. Where a batch takes longer, lower `transaction.sink.max.bytes`.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
