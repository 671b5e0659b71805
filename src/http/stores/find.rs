//! From a store and a partition to the rows: here, elsewhere, or nowhere for the time being.

use super::{Stores, owners::Whereabouts, refusal::Refused};
use crate::{
    record::TaskId,
    state::{Ask, GlobalStore, Limits, Page},
    topology::{ResolvedSub, StorePlan},
    worker::{Refusal, Standing, Worker},
};
use axum::http::{StatusCode, Uri};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::{sync::oneshot, time::timeout};

/// Looks for the owner before a question is given up: its partition may move from thread to thread.
const TRIES: usize = 3;

/// A store by name.
pub enum Place<'a> {
    /// One of tasks.
    Store(&'a ResolvedSub, &'a StorePlan),
    /// The table that every process has whole.
    Global(&'a Arc<GlobalStore>),
}

/// One partition of a store.
pub struct Wanted<'a> {
    pub sub: &'a ResolvedSub,
    pub plan: &'a StorePlan,
    pub partition: i32,
    pub stale: bool,
    /// What was asked, for the owner.
    pub path: &'a Uri,
}

/// The task that has a partition.
pub fn task(sub: &ResolvedSub, partition: i32) -> TaskId {
    TaskId { sub_topology: sub.id, partition }
}

impl Stores {
    /// Finds a store.
    pub fn place(&self, name: &str) -> Result<Place<'_>, Refused> {
        let resolved = self.access.queries.resolved().ok_or_else(Refused::starting)?;
        let own = resolved.sub_topologies.iter().flat_map(|sub| sub.stores.iter().map(move |plan| (sub, plan)));
        if let Some((sub, plan)) = own.into_iter().find(|(_, plan)| &*plan.spec.name == name) {
            return Ok(Place::Store(sub, plan));
        }
        let global = resolved.globals.iter().find(|table| &**table.store.name() == name);
        global.map(|table| Place::Global(&table.store)).ok_or_else(|| Refused::no_store(name))
    }

    /// True when a question for a partition is one for this process, even if the answer is to wait.
    pub fn is_here(&self, sub: &ResolvedSub, partition: i32, stale: bool) -> bool {
        let standing = self.access.queries.standing(task(sub, partition));
        standing.is_some_and(|(_, standing)| stale || standing != Standing::Suspended)
    }

    /// Puts a question to the stream thread that owns the partition.
    pub async fn ask(
        &self,
        wanted: &Wanted<'_>,
        ask: Ask,
        after: Option<Bytes>,
        limits: Limits,
    ) -> Result<Page, Refused> {
        if !(0..wanted.sub.partitions).contains(&wanted.partition) {
            return Err(Refused::bad(format!("the store has {} partitions", wanted.sub.partitions)));
        }
        let task = task(wanted.sub, wanted.partition);
        for _ in 0..TRIES {
            let thread = match self.access.queries.standing(task) {
                Some((_, Standing::Restoring)) if !wanted.stale => return Err(restoring(None)),
                Some((_, Standing::Suspended)) if !wanted.stale => break,
                Some((thread, _)) => thread,
                None => break,
            };
            let (name, stale) = (Arc::clone(&wanted.plan.spec.name), wanted.stale);
            let (ask, after) = (ask.clone(), after.clone());
            let (give, answer) = oneshot::channel();
            let job = move |worker: &mut Worker| {
                // Who asked may have given up.
                if !give.is_closed() {
                    let page = worker.query(task, &name, stale, |store| store.ask(&ask, after.as_deref(), limits));
                    let _gone = give.send(page);
                }
            };
            if self.access.queries.ask(thread, Box::new(job)).is_err() {
                return Err(Refused::moving("too many queries wait for the stream thread"));
            }
            match timeout(self.access.timeout, answer).await {
                Ok(Ok(Ok(page))) => {
                    let failed =
                        |fault: crate::fault::Fault| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string());
                    return page.map_err(failed);
                }
                Ok(Ok(Err(Refusal::Restoring(remaining)))) => return Err(restoring(Some(remaining))),
                Ok(Ok(Err(Refusal::NotHere))) => {}
                Ok(Err(_)) => return Err(Refused::moving("the stream thread has ended")),
                Err(_) => return Err(Refused::moving("the stream thread does not answer within query.timeout.ms")),
            }
        }
        Err(self.not_here(wanted).await)
    }

    async fn not_here(&self, wanted: &Wanted<'_>) -> Refused {
        let partition = wanted.partition;
        match self.owners.of(wanted.sub, partition).await {
            Whereabouts::Elsewhere(owner) => {
                let path = wanted.path.path_and_query().map_or("/", |path| path.as_str());
                Refused::misdirected(&owner, partition, path)
            }
            Whereabouts::Silent => Refused::new(
                StatusCode::MISDIRECTED_REQUEST,
                format!("another replica owns partition {partition}, and it answers no queries"),
            ),
            Whereabouts::Nowhere => Refused::moving(format!("partition {partition} is on its way to a replica")),
            Whereabouts::Unknown(why) => Refused::moving(why),
        }
    }

    /// Partitions that this process can't answer for, with who can.
    pub async fn elsewhere(&self, sub: &ResolvedSub, partitions: Vec<i32>) -> Value {
        let mut found = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let owner = match self.owners.of(sub, partition).await {
                Whereabouts::Elsewhere(owner) => Some(owner),
                _ => None,
            };
            found.push(json!({ "partition": partition, "owner": owner }));
        }
        found.into()
    }
}

fn restoring(remaining: Option<i64>) -> Refused {
    Refused::moving(match remaining {
        Some(remaining) if remaining > 0 => {
            format!("the store is being restored, {remaining} changelog offsets to come; stale=ok asks all the same")
        }
        _ => "the store is being restored; stale=ok asks all the same".to_owned(),
    })
}
