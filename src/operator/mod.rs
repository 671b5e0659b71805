//! The operators, one per file, and the two traits they are built on: [`Process`] and [`Context`].

mod context;
mod process;

pub use context::{Context, Dropped, Punctuation, ScheduleId, TimeSlot};
pub use process::{Children, Edge, Node, Process, Source};
