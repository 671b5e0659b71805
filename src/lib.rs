//! Kafka Streams for Rust.

pub mod codec;
pub mod fault;
pub mod log;
pub mod operator;
pub mod record;
pub mod state;
pub mod topology;
pub mod worker;
