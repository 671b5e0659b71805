//! What commits change, as server-sent events: `partitions`, `change`, and `cut` when the reader was too slow.

use super::{Site, Stores, find::Place, params::Params, refusal::Refused, rows};
use crate::{
    codec::Face,
    record::TaskId,
    runtime::{Listener, Told},
    state::Change,
};
use axum::{
    extract::{Path, State},
    http::Uri,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_core::Stream;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Commits of tasks that wait for a reader.
const QUEUE_MAX: usize = 256;
/// Bytes of changes that wait for a reader.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Streams the changes of a store.
pub(super) async fn changes(State(stores): Site, Path(name): Path<String>, uri: Uri) -> Result<Response, Refused> {
    let params = Params::of(&uri)?;
    let Place::Store(sub, plan) = stores.place(&name)? else {
        return Err(Refused::bad("a global table has no commits to tell of: read its topic"));
    };
    let (give, take) = channel(QUEUE_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let ear = Ear { give, bytes: Arc::clone(&bytes) };
    let listening = stores.queries().listen(sub.id, Arc::clone(&plan.spec.name), Box::new(ear));
    listening.map_err(|_| Refused::moving("too many listen already"))?;
    let feed = Feed { stores, name, raw: params.raw, take, bytes, batch: None, ended: false };
    Ok(Sse::new(feed).keep_alive(KeepAlive::default()).into_response())
}

fn size(changes: &[Change]) -> usize {
    changes.iter().map(Change::bytes).sum()
}

/// The stream thread's end: it never waits.
struct Ear {
    give: Sender<Told>,
    bytes: Arc<AtomicUsize>,
}

impl Listener for Ear {
    fn hear(&self, told: Told) -> bool {
        if let Told::Changes(_, changes) = &told {
            let size = size(changes);
            if self.bytes.fetch_add(size, Ordering::Relaxed) + size > QUEUE_BYTES_MAX {
                return false;
            }
        }
        self.give.try_send(told).is_ok()
    }
}

/// The reader's end.
struct Feed {
    stores: Arc<Stores>,
    name: String,
    raw: bool,
    take: Receiver<Told>,
    bytes: Arc<AtomicUsize>,
    /// Changes of one commit, and the next of them.
    batch: Option<(TaskId, Arc<Vec<Change>>, usize)>,
    ended: bool,
}

impl Feed {
    fn next_of_batch(&mut self) -> Option<Event> {
        let (task, changes, at) = self.batch.as_mut()?;
        let (task, change) = (*task, changes.get(*at).cloned());
        *at += 1;
        match change {
            Some(change) => Some(event("change", &told(self.face(), self.raw, task, &change))),
            None => {
                if let Some((_, changes, _)) = self.batch.take() {
                    self.bytes.fetch_sub(size(&changes), Ordering::Relaxed);
                }
                None
            }
        }
    }

    fn face(&self) -> Option<&Face> {
        self.stores.access.topology.face(&self.name)
    }
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

fn told(face: Option<&Face>, raw: bool, task: TaskId, change: &Change) -> Value {
    let mut row = rows::fields(face, raw, &change.key, change.window, change.value.as_deref(), change.timestamp);
    row["partition"] = task.partition.into();
    row
}

impl Stream for Feed {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.next_of_batch() {
                return Poll::Ready(Some(Ok(event)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.take.poll_recv(cx)) {
                Some(Told::Changes(task, changes)) => self.batch = Some((task, changes, 0)),
                Some(Told::Partitions(partitions)) => {
                    return Poll::Ready(Some(Ok(event("partitions", &json!(partitions)))));
                }
                Some(Told::Cut) | None => {
                    self.ended = true;
                    let why = json!({ "error": "changes are missing from here on: the reader was too slow" });
                    return Poll::Ready(Some(Ok(event("cut", &why))));
                }
            }
        }
    }
}
