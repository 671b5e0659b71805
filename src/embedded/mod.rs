//! A worker on the model log: a [`Member`] carries out the effects of its worker, step by step, with the time as an
//! argument. The test driver, the simulator and the threads of the embedded log all use it.

mod client;
mod disks;
mod member;

pub use client::{Client, ClientConfig, CommitTrouble, Reset, Trouble};
pub use disks::{Disks, MemoryDisks};
pub use member::{Member, Progress};
