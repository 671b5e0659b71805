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

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn change(bytes: usize) -> Told {
        let value = Some(vec![b'x'; bytes].into());
        let change = Change { key: "k".into(), window: None, value, timestamp: 1 };
        Told::Changes(TaskId { sub_topology: 0, partition: 0 }, Arc::new(vec![change]))
    }

    fn both_ends() -> (Ear, Feed) {
        let (give, take) = channel(QUEUE_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        let stores = Arc::new(crate::http::tests::full_stores());
        let ear = Ear { give, bytes: Arc::clone(&bytes) };
        (ear, Feed { stores, name: "s".into(), raw: false, take, bytes, batch: None, ended: false })
    }

    /// Names of the events that come without waiting.
    fn events(feed: &mut Feed) -> Vec<&'static str> {
        let mut found = Vec::new();
        while let Poll::Ready(Some(Ok(event))) = Pin::new(&mut *feed).poll_next(&mut Context::from_waker(Waker::noop()))
        {
            let text = format!("{event:?}");
            let names = ["change", "cut", "partitions"];
            found.extend(names.into_iter().find(|name| text.contains(&format!("event: {name}"))));
        }
        found
    }

    #[test]
    fn a_reader_that_is_too_slow_gets_what_waits_and_is_told_that_it_is_cut_off() {
        let (ear, mut feed) = both_ends();
        assert!(ear.hear(Told::Partitions(vec![0])));
        assert_eq!((1..QUEUE_MAX).filter(|_| ear.hear(change(1))).count(), QUEUE_MAX - 1);
        assert!(!ear.hear(change(1)), "the queue is full");
        drop(ear);
        let found = events(&mut feed);
        assert_eq!((found.len(), found[0], found[1], found[QUEUE_MAX]), (QUEUE_MAX + 1, "partitions", "change", "cut"));
        assert_eq!(events(&mut feed), [""; 0], "nothing after it");
    }

    #[test]
    fn bytes_that_wait_are_limited_and_those_that_were_read_wait_no_more() {
        let (ear, mut feed) = both_ends();
        let half = QUEUE_BYTES_MAX / 2 - 1_000;
        for _ in 0..3 {
            assert!(ear.hear(change(half)));
            assert_eq!(events(&mut feed), ["change"]);
        }
        assert!(ear.hear(change(half)) && ear.hear(change(half)) && !ear.hear(change(half)));
        assert!(ear.hear(Told::Cut));
        assert_eq!(events(&mut feed), ["change", "change", "cut"]);
    }
}
