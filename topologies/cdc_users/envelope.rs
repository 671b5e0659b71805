//! Debezium's envelopes, as far as they are read.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The key or value of a change: by itself, or beside its schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Told<T> {
    WithSchema { payload: T },
    Plain(T),
}

impl<T> Told<T> {
    pub(super) fn get(&self) -> &T {
        match self {
            Self::WithSchema { payload } | Self::Plain(payload) => payload,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) id: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope {
    pub(super) op: Op,
    pub(super) after: Option<User>,
    pub(super) source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Op {
    #[serde(rename = "c")]
    Create,
    #[serde(rename = "u")]
    Update,
    #[serde(rename = "d")]
    Delete,
    #[serde(rename = "r")]
    Read,
}

/// Where the change stands in the database's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Source {
    pub(super) lsn: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) email: String,
    /// Columns that this program knows nothing of.
    #[serde(flatten)]
    pub(super) others: Map<String, Value>,
}
