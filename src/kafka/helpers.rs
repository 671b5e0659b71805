//! Work that must not hold up the stream thread: disk, changelogs, chores. Each helper is a thread with a list of jobs.

use super::{admin::Admin, clients::Clients, restore::Restorer, stores::Registry};
use crate::{
    fault::{Fault, Result},
    record::TaskId,
    worker::{Effect, Event, OpenStore, OpenedStore, Request},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle, Thread},
};

/// Where answers go: to the stream thread, which is woken.
#[derive(Clone)]
pub(super) struct Answers {
    events: Sender<Event>,
    stream: Arc<Thread>,
}

impl Answers {
    pub fn new(events: Sender<Event>, stream: Arc<Thread>) -> Self {
        Self { events, stream }
    }

    fn give(&self, event: Event) {
        // The stream thread may have ended; then nobody waits for the answer.
        let _ended = self.events.send(event);
        self.stream.unpark();
    }
}

/// What all threads of the process share.
pub(super) struct Shared {
    pub clients: Clients,
    pub admin: Admin,
    pub registry: Registry,
    pub cluster_id: String,
    pub topic_ids: BTreeMap<Arc<str>, String>,
    /// Set once it was said that repartition topics can't be purged.
    pub purge_warned: AtomicBool,
}

/// The helpers of one stream thread.
pub(super) struct Helpers {
    shared: Arc<Shared>,
    answers: Answers,
    disk: Option<Sender<Effect>>,
    log: Option<Sender<Effect>>,
    chores: Option<Sender<Effect>>,
    threads: Vec<JoinHandle<()>>,
    /// Tells the reader of changelogs that nobody waits for it any more.
    ending: Arc<AtomicBool>,
    /// Tasks whose directories this stream thread asked for and has not given back.
    asked: BTreeSet<TaskId>,
}

impl Helpers {
    /// Starts the helpers of stream thread `thread`.
    pub fn start(shared: &Arc<Shared>, thread: usize, answers: &Answers) -> Result<Self> {
        let (disk, disk_jobs) = channel();
        let (log, log_jobs) = channel();
        let (chores, chore_jobs) = channel();
        let mut helpers = Self {
            shared: Arc::clone(shared),
            answers: answers.clone(),
            disk: Some(disk),
            log: Some(log),
            chores: Some(chores),
            threads: Vec::new(),
            ending: Arc::default(),
            asked: BTreeSet::new(),
        };
        let to = answers.clone();
        helpers.spawn(format!("disk-{thread}"), move || persist_all(&disk_jobs, &to))?;
        let (to, clients, ending) = (answers.clone(), shared.clients.clone(), Arc::clone(&helpers.ending));
        let restore = move || restore_all(&log_jobs, &to, Restorer::new(clients, thread, ending));
        helpers.spawn(format!("restore-{thread}"), restore)?;
        let shared = Arc::clone(shared);
        helpers.spawn(format!("chores-{thread}"), move || do_chores(&chore_jobs, &shared))?;
        Ok(helpers)
    }

    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let handle = thread::Builder::new()
            .name(name)
            .spawn(work)
            .map_err(|e| Fault::stop(format!("a thread can't be started: {e}")))?;
        self.threads.push(handle);
        Ok(())
    }

    /// Makes batches durable.
    pub fn disk(&self, job: Effect) {
        pass(self.disk.as_ref(), job);
    }

    /// Reads changelogs.
    pub fn log(&self, job: Effect) {
        pass(self.log.as_ref(), job);
    }

    /// Trims topics.
    pub fn chore(&self, job: Effect) {
        pass(self.chores.as_ref(), job);
    }

    /// Opens the stores of a task. On a thread of its own: it may wait for another stream thread, and nothing that
    /// that one waits for may queue behind it.
    pub fn open(&mut self, request: Request, task: TaskId, stores: Vec<OpenStore>) {
        self.asked.insert(task);
        let (shared, answers) = (Arc::clone(&self.shared), self.answers.clone());
        let open = move || {
            let result = shared.registry.open(task, &stores).and_then(|backends| {
                let opened = |(backend, store): (Arc<dyn crate::state::Backend>, &OpenStore)| {
                    let topic = store.changelog.as_ref().map(|c| &c.topic);
                    Ok(OpenedStore {
                        saved: backend.saved()?,
                        backend,
                        cluster_id: shared.cluster_id.clone(),
                        topic_id: topic.and_then(|t| shared.topic_ids.get(t)).cloned().unwrap_or_default(),
                    })
                };
                let opened: Result<Vec<_>> = backends.into_iter().zip(&stores).map(opened).collect();
                opened.inspect_err(|_| shared.registry.close(task))
            });
            answers.give(Event::Opened { request, result });
        };
        if let Err(error) = thread::Builder::new().name(format!("open-{task}")).spawn(open) {
            let fault = Fault::stop(format!("a thread can't be started: {error}"));
            self.answers.give(Event::Opened { request, result: Err(fault) });
        }
    }

    /// Gives the directory of a task back.
    pub fn close(&mut self, request: Request, task: TaskId) {
        self.asked.remove(&task);
        self.shared.registry.close(task);
        self.answers.give(Event::Closed { request });
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // Without a sender a helper's list ends, and with it the helper.
        (self.disk, self.log, self.chores) = (None, None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a helper thread panicked");
            }
        }
        // Left over when the stream thread failed; other threads of the process shall not wait for it.
        for task in &self.asked {
            self.shared.registry.close(*task);
        }
    }
}

fn pass(to: Option<&Sender<Effect>>, job: Effect) {
    if to.is_none_or(|to| to.send(job).is_err()) {
        tracing::error!("a helper thread is gone");
    }
}

fn persist_all(jobs: &Receiver<Effect>, answers: &Answers) {
    for job in jobs {
        if let Effect::Persist { request, task: _, backend, batch } = job {
            let result = backend.persist(&batch);
            // The worker takes the answer for the end of the persist: the directory may change hands after it.
            drop((backend, batch));
            answers.give(Event::Persisted { request, result });
        }
    }
}

fn restore_all(jobs: &Receiver<Effect>, answers: &Answers, mut restorer: Restorer) {
    let mut waiting = VecDeque::new();
    while let Some(job) = waiting.pop_front().or_else(|| jobs.recv().ok()) {
        waiting.extend(jobs.try_iter());
        // Readers open before the first of them is waited for: the broker answers all of them at once.
        for job in &waiting {
            if let Effect::Restore { changelog, from, .. } = job {
                restorer.prepare(changelog, *from);
            }
        }
        match job {
            Effect::LogRanges { request, partitions } => {
                answers.give(Event::LogRanges { request, result: restorer.ranges(&partitions) });
            }
            Effect::Restore { request, changelog, from, to } => {
                answers.give(Event::Restored { request, result: restorer.piece(&changelog, from, to) });
            }
            Effect::RestoreDone { changelog } => restorer.done(&changelog),
            _ => {}
        }
    }
}

fn do_chores(jobs: &Receiver<Effect>, shared: &Shared) {
    for job in jobs {
        if let Effect::Purge { partition, below } = job
            && let Err(error) = shared.admin.purge(&partition, below)
            && !shared.purge_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, %partition, "a repartition topic can't be purged and will grow; grant DELETE on it");
        }
    }
}
