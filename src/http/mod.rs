//! What a worker shows of itself: `/metrics`, `/health/live`, `/health/ready`, `/topology`, `/tasks`, and of its state:
//! `/stores`.
//!
//! One thread with a small runtime of its own; it reads the board and puts questions on the desk, so a slow client never
//! slows a record.
#![expect(clippy::disallowed_methods, reason = "the server runs on a thread of its own")]

mod metrics;
mod page;
mod process;
mod stores;
mod table;
mod tasks;

pub use stores::Access;
pub use table::{FAMILIES, Family, Kind};

use crate::{
    embedded::wall_clock,
    fault::{Fault, Result},
    runtime::Board,
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    sync::Arc,
    thread,
};
use stores::Stores;

/// Content type of the Prometheus text format.
const METRICS_TYPE: &str = prometheus::TEXT_FORMAT;

struct Site {
    board: Board,
    describe: String,
    stores: Option<Arc<Stores>>,
}

/// Where it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where others reach it, as `host:port`.
    pub server: String,
}

/// Starts to serve at `listen` (`host:port`; port 0 takes any). Returns the address.
///
/// # Errors
/// When the address is none, or taken.
pub fn serve(listen: &str, board: Board, describe: String) -> Result<SocketAddr> {
    Ok(serve_with(listen, board, describe, None)?.address)
}

/// As [`serve`], with `/stores` for whom `access` lets in.
///
/// # Errors
/// As [`serve`].
pub fn serve_with(listen: &str, board: Board, describe: String, access: Option<Access>) -> Result<Served> {
    let failed = |what: &str, e: &dyn std::fmt::Display| {
        Fault::stop(format!("{what}: {e}"))
            .at(format!("http.listen={listen}"))
            .hint("set `http.listen` to another address, or to `off`")
    };
    let addresses: Vec<_> =
        listen.to_socket_addrs().map_err(|e| failed("this is no address to listen at", &e))?.collect();
    let listener = TcpListener::bind(addresses.as_slice()).map_err(|e| failed("can't listen", &e))?;
    listener.set_nonblocking(true).map_err(|e| failed("can't listen", &e))?;
    let address = listener.local_addr().map_err(|e| failed("can't listen", &e))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| failed("can't start the server", &e))?;
    let given = access.as_ref().and_then(|access| access.server.clone());
    let server = given.unwrap_or_else(|| server_at(address));
    let stores = access.map(|access| Arc::new(Stores::new(access, address.ip().is_loopback(), server.clone())));
    let site = Arc::new(Site { board, describe, stores });
    let body = move || {
        runtime.block_on(async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "the HTTP server can't start"),
            };
            if let Err(error) = axum::serve(listener, router(site)).await {
                tracing::error!(%error, "the HTTP server has ended");
            }
        });
    };
    thread::Builder::new().name("http".into()).spawn(body).map_err(|e| failed("can't start a thread", &e))?;
    Ok(Served { address, server })
}

/// What others call an address: the machine's name where it listens at all of its addresses.
fn server_at(address: SocketAddr) -> String {
    if !address.ip().is_unspecified() {
        return address.to_string();
    }
    let name = process::host_name().unwrap_or_else(|| "localhost".to_owned());
    format!("{name}:{}", address.port())
}

fn router(site: Arc<Site>) -> Router {
    let stores = site.stores.as_ref().map(|stores| stores::router(Arc::clone(stores)));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/topology", get(topology))
        .route("/tasks", get(show_tasks))
        .with_state(site)
        .merge(stores.unwrap_or_default())
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    match metrics::text(&site.board, site.stores.as_deref(), wall_clock()) {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn live(State(site): State<Arc<Site>>) -> Response {
    answer(site.board.live(wall_clock()))
}

async fn ready(State(site): State<Arc<Site>>) -> Response {
    answer(site.board.ready())
}

fn answer(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()).into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response(),
    }
}

async fn topology(State(site): State<Arc<Site>>) -> String {
    site.describe.clone()
}

async fn show_tasks(State(site): State<Arc<Site>>) -> Json<serde_json::Value> {
    Json(tasks::json(&site.board.read()))
}

#[cfg(test)]
mod tests;
