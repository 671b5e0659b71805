//! Answers that are no rows.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// When to ask again, in seconds.
const RETRY_AFTER_S: u8 = 1;

/// A status and why.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    body: Value,
    location: Option<String>,
}

impl Refused {
    /// A status and a sentence.
    pub fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, body: json!({ "error": why.into() }), location: None }
    }

    /// The request makes no sense.
    pub fn bad(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// The store is known, and has no such row.
    pub fn no_key() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such key")
    }

    /// There is no such store.
    pub fn no_store(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("no such store: `{name}`; /stores names them all"))
    }

    /// Nobody can answer for the time being; ask again.
    pub fn moving(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// The process does not know its topics yet.
    pub fn starting() -> Self {
        Self::moving("the worker is starting")
    }

    /// Another replica owns the partition.
    pub fn misdirected(owner: &str, partition: i32, path: &str) -> Self {
        let error = format!("another replica owns partition {partition}");
        let body = json!({ "error": error, "owner": owner, "partition": partition });
        Self { status: StatusCode::MISDIRECTED_REQUEST, body, location: Some(format!("http://{owner}{path}")) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, u16::from(RETRY_AFTER_S).into());
        }
        if let Some(location) = self.location.and_then(|l| HeaderValue::from_str(&l).ok()) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}
