//! A worker on the model log: a [`Member`] carries out the effects of its worker, step by step, with the time as an
//! argument. The test driver, the simulator and the threads of the embedded log all use it.
//!
//! [`Cluster`] runs replicas as threads on one log, [`demo`] shows them, [`run_files`] runs a topology on files.

mod client;
mod cluster;
mod demo;
mod disks;
mod files;
mod format;
mod globals;
mod member;
#[cfg(feature = "rocksdb")]
mod rocks_disks;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientConfig, CommitTrouble, Reset, Trouble};
pub use cluster::{Cluster, Replica, ReplicaConfig, wall_clock};
pub use demo::{MakeDisks, Script, Verdict, demo};
pub use disks::{Disks, MemoryDisks};
pub use files::{FileRun, Input, Output, Summary, run_files};
pub use format::Format;
pub use member::{Member, Progress};
#[cfg(feature = "rocksdb")]
pub use rocks_disks::RocksDisks;
