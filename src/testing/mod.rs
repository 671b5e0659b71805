//! Tests without Kafka: a driver for a topology in one process, and a simulator of what can go wrong.

mod chance;
mod checker;
mod driver;
mod faults;
mod input;
mod late_rows;
mod plays;
mod queries;
mod repeats;
mod rest;
mod scene;
mod schedule;
mod script;
mod simulator;

pub use chance::Chance;
pub use driver::{DriverOptions, TestDriver, TestRecord};
pub use faults::Fault;
pub use plays::Play;
pub use schedule::Options;
pub use simulator::{Report, Simulator, replay_line};
