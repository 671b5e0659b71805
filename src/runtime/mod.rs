//! The process around a driver: logs, signals, figures, the watchdog, and how it ends.
#![expect(clippy::disallowed_methods, reason = "the process reads the clock and starts threads")]

mod board;
#[cfg(feature = "kafka")]
mod disk;
mod ending;
mod logging;
mod queries;
mod settings;
mod signals;
mod watchdog;

pub use board::{Board, DiskFigure, LookAtDisk, Stuck, Vitals};
#[cfg(feature = "kafka")]
pub use disk::disk;
pub use ending::Ending;
pub use logging::{LogFormat, logging, report};
pub use queries::{Busy, Job, Listener, LookUp, Queries, QueryFigures, Told};
pub use settings::worker_settings;
pub use signals::Stop;
pub use watchdog::watch;
