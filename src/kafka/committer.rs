//! Where a stream thread's transactions are committed: on a thread of their own, so that processing goes on meanwhile (I4).
//!
//! The producer goes with the commit and comes back with its outcome. Until then nobody else can send anything.

use super::producer::Producer;
use crate::{
    fault::{Fault, Result},
    worker::{CommitOffset, GroupMetadata, Outcome, Request, Stage},
};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread::{self, JoinHandle, Thread},
};

/// A commit to be made.
pub(super) struct Job {
    pub producer: Producer,
    pub request: Request,
    pub offsets: Vec<CommitOffset>,
    pub group: GroupMetadata,
}

/// How it ended.
pub(super) struct Ended {
    pub producer: Producer,
    pub request: Request,
    pub outcome: Outcome,
    /// Microseconds that each stage took.
    pub took_us: Vec<(Stage, i64)>,
}

/// One commit at a time.
pub(super) struct Committer {
    jobs: Option<Sender<Job>>,
    ended: Receiver<Ended>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the committer of stream thread `number`, which is woken when a commit has ended.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start(number: usize, stream: Arc<Thread>) -> Result<Self> {
        let (jobs, to_do) = channel::<Job>();
        let (tell, ended) = channel();
        let work = move || {
            for Job { mut producer, request, offsets, group } in to_do {
                let mut took_us = Vec::new();
                let outcome = producer.commit(&offsets, &group, &mut took_us);
                // The stream thread may have ended; then nobody waits for the outcome.
                let _gone = tell.send(Ended { producer, request, outcome, took_us });
                stream.unpark();
            }
        };
        let thread = thread::Builder::new()
            .name(format!("commit-{number}"))
            .spawn(work)
            .map_err(|e| Fault::stop(format!("a thread can't be started: {e}")))?;
        Ok(Self { jobs: Some(jobs), ended, thread: Some(thread) })
    }

    /// Hands a commit over.
    ///
    /// # Errors
    /// When the thread is gone: it has panicked, and the producer with it.
    pub fn commit(&self, job: Job) -> Result<()> {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(gone()) }
    }

    /// The commit that has ended, if one has.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub fn ended(&self) -> Result<Option<Ended>> {
        match self.ended.try_recv() {
            Ok(ended) => Ok(Some(ended)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(gone()),
        }
    }
}

fn gone() -> Fault {
    Fault::stop("the thread that commits is gone").hint("it has panicked: report the message above")
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Without a sender the list ends, and with it the thread, after the commit under way.
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that commits panicked");
        }
    }
}
