//! `/stores`: queries of the state, committed rows only (Q-1, Q-5).
//!
//! ```text
//! GET /stores                                     names, kinds, and the partitions that are here
//! GET /stores/{name}/keys/{key}                   the row of a key, ?as_of= where versions are kept
//! GET /stores/{name}/keys/{key}?from=&to=         windows, sessions or versions of a key, by time
//! GET /stores/{name}?from=&to=                    rows between two keys, or windows between two times; all without
//! GET /stores/{name}/changes                      what commits change from now on, as server-sent events
//! ```
//!
//! Of all: `limit=` and `after=` for pages, `partition=`, `stale=ok`, `raw=base64`. Answers: 404 no such store or key, 421
//! another replica owns it (`Location` says where), 503 with `Retry-After` while it moves or is restored.

mod changes;
mod find;
mod owners;
mod params;
mod refusal;
mod rows;

use crate::{
    runtime::Queries,
    state::{GlobalStore, Limits, Moments, StoreKind},
    topology::{ResolvedSub, StorePlan, Topology},
    worker::{Latency, Standing},
};
use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use find::{Place, Wanted};
use owners::Owners;
use params::Params;
use refusal::Refused;
use serde_json::{Map, Value, json};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The type of values as they are.
const OCTETS: &str = "application/octet-stream";
/// Time of a value that is answered as it is.
const TIMESTAMP: &str = "millstream-timestamp";

/// Who may ask for rows, and how long an answer may take.
pub struct Access {
    /// Where questions wait for stream threads.
    pub queries: Queries,
    /// The topology, for the looks of rows.
    pub topology: Arc<Topology>,
    /// What a client must show; without it only loopback is served.
    pub token: Option<String>,
    /// `query.timeout.ms`.
    pub timeout: Duration,
    /// `application.server`: where others reach this process; by default where it listens.
    pub server: Option<String>,
}

#[cfg(test)]
mod tests;

/// What the pages know.
pub(super) struct Stores {
    access: Access,
    /// True when only this machine can ask.
    loopback: bool,
    owners: Owners,
    durations: Mutex<Latency>,
}

impl Stores {
    /// `server` is where others reach this process.
    pub fn new(access: Access, loopback: bool, server: String) -> Self {
        let owners = Owners::new(access.queries.clone(), server);
        Self { access, loopback, owners, durations: Mutex::default() }
    }

    /// The desk.
    pub fn queries(&self) -> &Queries {
        &self.access.queries
    }

    /// How long answers took, from the request.
    pub fn durations(&self) -> Latency {
        self.durations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn took(&self, since: Instant) {
        let micros = i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.durations.lock().unwrap_or_else(PoisonError::into_inner).observe(micros, 1);
    }
}

type Site = State<Arc<Stores>>;

/// The routes.
pub(super) fn router(stores: Arc<Stores>) -> Router {
    Router::new()
        .route("/stores", get(list))
        .route("/stores/{name}", get(range))
        .route("/stores/{name}/keys/{key}", get(key))
        .route("/stores/{name}/changes", get(changes::changes))
        .layer(from_fn_with_state(Arc::clone(&stores), guard))
        .with_state(stores)
}

/// Lets in who shows the token, or who is on this machine where there is none.
async fn guard(State(stores): Site, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    match &stores.access.token {
        Some(token) if !shown.and_then(|s| s.strip_prefix("Bearer ")).is_some_and(|s| same(s, token)) => {
            let refused = Refused::new(StatusCode::UNAUTHORIZED, "show the token: `Authorization: Bearer TOKEN`");
            ([(header::WWW_AUTHENTICATE, "Bearer")], refused).into_response()
        }
        None if !stores.loopback => {
            Refused::new(StatusCode::FORBIDDEN, "queries from other machines need a token: set query.token")
                .into_response()
        }
        _ => next.run(request).await,
    }
}

/// Compares in the same time wherever the first difference is.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Every store.
async fn list(State(stores): Site) -> Result<Json<Value>, Refused> {
    let resolved = stores.access.queries.resolved().ok_or_else(Refused::starting)?;
    let own = resolved.sub_topologies.iter().flat_map(|sub| sub.stores.iter().map(move |plan| (sub, plan)));
    let mut all: Vec<Value> = own.map(|(sub, plan)| stores.describe(sub, plan)).collect();
    all.extend(resolved.globals.iter().map(|table| {
        let store = &table.store;
        json!({ "name": &**store.name(), "kind": "global", "complete": store.is_restored(), "rows": store.count() })
    }));
    Ok(Json(json!({ "application": &*resolved.application_id, "stores": all })))
}

impl Stores {
    fn describe(&self, sub: &ResolvedSub, plan: &StorePlan) -> Value {
        let mut here = Map::new();
        for partition in 0..sub.partitions {
            let state = match self.access.queries.standing(find::task(sub, partition)) {
                Some((_, Standing::Complete)) => "complete",
                Some((_, Standing::Restoring)) => "restoring",
                Some((_, Standing::Suspended)) => "suspended",
                None => continue,
            };
            here.insert(partition.to_string(), state.into());
        }
        let mut store = json!({ "name": &*plan.spec.name, "partitions": sub.partitions, "here": here });
        let (kind, times) = match plan.spec.kind {
            StoreKind::KeyValue => ("key-value", vec![]),
            StoreKind::Lru { entries_max } => {
                ("lru", vec![("entries_max", i64::try_from(entries_max).unwrap_or(i64::MAX))])
            }
            StoreKind::Buffer => ("buffer", vec![]),
            StoreKind::Versioned { history_ms } => ("versioned", vec![("history_ms", history_ms)]),
            StoreKind::Window { size_ms, retention_ms } => {
                ("window", vec![("size_ms", size_ms), ("retention_ms", retention_ms)])
            }
            StoreKind::Segmented(kind) => match kind.moments {
                Moments::Window { size_ms } => {
                    ("window", vec![("size_ms", size_ms), ("retention_ms", kind.retention_ms)])
                }
                Moments::Session => ("session", vec![("retention_ms", kind.retention_ms)]),
                Moments::Join => ("join", vec![("retention_ms", kind.retention_ms)]),
            },
        };
        store["kind"] = kind.into();
        for (name, value) in times {
            store[name] = value.into();
        }
        store
    }
}

/// The row of a key, or its windows.
async fn key(
    State(stores): Site,
    Path((name, key)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let began = Instant::now();
    let params = Params::of(&uri)?;
    let place = stores.place(&name)?;
    let face = stores.access.topology.face(&name);
    let key = params.key(face, &key)?;
    let answer = match place {
        Place::Global(store) => {
            of_global(store)?;
            let found = store.page(Some(&key), Some(&key), None, Limits::default()).entries.pop();
            found.map(|entry| (None, entry)).ok_or_else(Refused::no_key)
        }
        Place::Store(sub, plan) => {
            let partition = params.partition_of(sub, face, &key)?;
            let ask = params.ask_key(plan.spec.kind, key)?;
            let wanted = Wanted { sub, plan, partition, stale: params.stale, path: &uri };
            let single = matches!(ask, crate::state::Ask::Row { .. });
            let mut page = stores.ask(&wanted, ask, params.cursor_in(partition)?, params.limits()).await?;
            if !single {
                stores.took(began);
                let rows: Vec<_> = page.entries.into_iter().map(|entry| (Some(partition), entry)).collect();
                let next = page.next.map(|row| params::cursor(partition, &row));
                return Ok(Json(rows::page(face, params.raw, rows, next)).into_response());
            }
            page.entries.pop().map(|entry| (Some(partition), entry)).ok_or_else(Refused::no_key)
        }
    };
    stores.took(began);
    let (partition, entry) = answer?;
    let octets = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == OCTETS.as_bytes());
    if octets {
        let timestamp = entry.timestamp.to_string();
        return Ok(([(header::CONTENT_TYPE.as_str(), OCTETS), (TIMESTAMP, &timestamp)], entry.value).into_response());
    }
    Ok(Json(rows::row(face, params.raw, partition, &entry)).into_response())
}

fn of_global(store: &GlobalStore) -> Result<(), Refused> {
    if store.is_restored() { Ok(()) } else { Err(Refused::moving("the global table is being restored")) }
}

/// Rows of all keys, partition by partition.
async fn range(State(stores): Site, Path(name): Path<String>, uri: Uri) -> Result<Response, Refused> {
    let began = Instant::now();
    let params = Params::of(&uri)?;
    let face = stores.access.topology.face(&name);
    let (sub, plan) = match stores.place(&name)? {
        Place::Store(sub, plan) => (sub, plan),
        Place::Global(store) => {
            of_global(store)?;
            let (from, to) = params.keys(face)?;
            let after = params.cursor_in(0)?;
            let page = store.page(from.as_deref(), to.as_deref(), after.as_deref(), params.limits());
            stores.took(began);
            let rows = page.entries.into_iter().map(|entry| (None, entry)).collect();
            let next = page.next.map(|row| params::cursor(0, &row));
            return Ok(Json(rows::page(face, params.raw, rows, next)).into_response());
        }
    };
    let ask = params.ask_range(plan.spec.kind, face)?;
    let first = params.first_partition()?;
    let partitions = match params.partition {
        Some(partition) => vec![partition],
        None => (0..sub.partitions).filter(|p| stores.is_here(sub, *p, params.stale)).collect(),
    };
    let (mut rows, mut next) = (Vec::new(), None);
    for partition in partitions.iter().copied().filter(|p| *p >= first) {
        let limits = Limits { rows_max: params.limits().rows_max - rows.len(), ..params.limits() };
        let wanted = Wanted { sub, plan, partition, stale: params.stale, path: &uri };
        let page = stores.ask(&wanted, ask.clone(), params.cursor_in(partition)?, limits).await?;
        rows.extend(page.entries.into_iter().map(|entry| (Some(partition), entry)));
        if let Some(row) = page.next {
            next = Some(params::cursor(partition, &row));
            break;
        }
        let last = partitions.last() == Some(&partition);
        if rows.len() >= params.limits().rows_max && !last {
            next = Some(params::cursor(partition + 1, &[]));
            break;
        }
    }
    stores.took(began);
    let mut answer = rows::page(face, params.raw, rows, next);
    if params.partition.is_none() {
        let missing = (0..sub.partitions).filter(|p| !partitions.contains(p));
        answer["elsewhere"] = stores.elsewhere(sub, missing.collect()).await;
    }
    Ok(Json(answer).into_response())
}
