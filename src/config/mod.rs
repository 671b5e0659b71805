//! What can be set, where a value came from, and what it means.
//!
//! One table ([`SETTINGS`]) names every setting in Kafka Streams' words. A value is taken from the first of: a flag
//! (`--set key=value`), the environment (`MILLSTREAM_COMMIT_INTERVAL_MS`), the TOML file, the default.

mod clients;
mod load;
mod memory;
mod table;
mod value;

pub use clients::Client;
pub use load::{Config, Effective, Origin};
pub use table::{PREFIXES, SETTINGS, Setting, setting};
pub use value::Kind;

#[cfg(test)]
mod tests;
