//! Values of the oracle's scenarios: texts, longs and windowed keys in one type.

use crate::build::{field, millis};
use millstream::{
    codec::{Codec, Serde, serdes},
    fault::{Fault, Result},
    record::Windowed,
    topology::{BufferConfig, Suppressed},
};
use serde_json::Value as Json;
use std::time::Duration;

/// A key or a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Val {
    Text(String),
    Long(i64),
    Windowed(Box<Windowed<Val>>),
    /// The null that a merger gives; no serde takes it.
    Nothing,
}

impl Val {
    /// The value unless it is null.
    pub fn present(self) -> Option<Self> {
        (self != Self::Nothing).then_some(self)
    }

    /// str(x) of the format.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Long(n) => n.to_string(),
            Self::Windowed(w) => format!("{}@{}/{}", w.key.text(), w.start, w.end),
            Self::Nothing => unreachable!("a null has no text"),
        }
    }
}

/// The static type of a key or value: it chooses the serde.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Text,
    Long,
    Windowed(Box<Kind>, i64),
    Session(Box<Kind>),
}

impl Kind {
    pub fn named(name: Option<&str>) -> Self {
        if name == Some("long") { Self::Long } else { Self::Text }
    }

    pub fn serde(&self) -> Serde<Val> {
        Serde::new(self.clone())
    }
}

impl Codec<Val> for Kind {
    fn encode(&self, value: &Val, out: &mut Vec<u8>) -> Result<()> {
        match (self, value) {
            (Self::Text, Val::Text(text)) => out.extend_from_slice(text.as_bytes()),
            (Self::Long, Val::Long(n)) => out.extend_from_slice(&n.to_be_bytes()),
            (Self::Windowed(inner, _), Val::Windowed(w)) => {
                inner.encode(&w.key, out)?;
                out.extend_from_slice(&w.start.to_be_bytes());
            }
            (Self::Session(inner), Val::Windowed(w)) => {
                inner.encode(&w.key, out)?;
                out.extend_from_slice(&w.end.to_be_bytes());
                out.extend_from_slice(&w.start.to_be_bytes());
            }
            _ => return Err(Fault::skip(format!("{value:?} is no {self:?}"))),
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Val> {
        let bad = || Fault::skip(format!("these bytes are no {self:?}"));
        match self {
            Self::Text => String::from_utf8(bytes.to_vec()).map(Val::Text).map_err(|_| Fault::skip("malformed UTF-8")),
            Self::Long => bytes
                .try_into()
                .map(|b| Val::Long(i64::from_be_bytes(b)))
                .map_err(|_| Fault::skip("Size of data received by LongDeserializer is not 8")),
            Self::Session(inner) => {
                let at = bytes.len().checked_sub(16).ok_or_else(bad)?;
                let time = |at: usize| bytes[at..at + 8].try_into().map(i64::from_be_bytes).map_err(|_| bad());
                Ok(Val::Windowed(Box::new(Windowed::new(inner.decode(&bytes[..at])?, time(at + 8)?, time(at)?))))
            }
            Self::Windowed(inner, size) => {
                let at = bytes.len().checked_sub(8).ok_or_else(bad)?;
                let start = i64::from_be_bytes(bytes[at..].try_into().map_err(|_| bad())?);
                let end = start.saturating_add(*size);
                Ok(Val::Windowed(Box::new(Windowed::new(inner.decode(&bytes[..at])?, start, end))))
            }
        }
    }
}

/// A Rust type that scenarios use for keys or values.
pub trait Cell: Clone + 'static {
    /// The value behind it.
    fn val(&self) -> Val;

    /// The serde of a kind, where the DSL doesn't know one already.
    fn serde(kind: &Kind) -> Option<Serde<Self>>;

    /// How long changes of a table with this key are held back; `None` for what the types refuse: final results of a
    /// table without windows.
    fn suppressed(node: &Json) -> Option<Suppressed<Self>> {
        millis(node, "limit_ms").map(|limit| suppressed_until(node, limit))
    }
}

impl Cell for Val {
    fn val(&self) -> Val {
        self.clone()
    }

    fn serde(kind: &Kind) -> Option<Serde<Self>> {
        Some(kind.serde())
    }
}

impl Cell for i64 {
    fn val(&self) -> Val {
        Val::Long(*self)
    }

    fn serde(_: &Kind) -> Option<Serde<Self>> {
        None
    }
}

fn suppressed_until<K>(node: &Json, limit: Duration) -> Suppressed<K> {
    let number = |name: &str| node.get(name).and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
    let logged = node.get("logging") != Some(&Json::Bool(false));
    let eager = match (number("max_records"), number("max_bytes")) {
        (None, None) => {
            let buffer = BufferConfig::unbounded();
            return Suppressed::until_time_limit(limit, if logged { buffer } else { buffer.with_logging_disabled() });
        }
        (Some(records), None) => BufferConfig::max_records(records),
        (None, Some(bytes)) => BufferConfig::max_bytes(bytes),
        (Some(records), Some(bytes)) => BufferConfig::max_records(records).with_max_bytes(bytes),
    };
    let eager = if logged { eager } else { eager.with_logging_disabled() };
    if field(node, "when_full") == Some("shutdown") {
        Suppressed::until_time_limit(limit, eager.shut_down_when_full())
    } else {
        Suppressed::until_time_limit(limit, eager)
    }
}

impl Cell for Windowed<Val> {
    fn suppressed(node: &Json) -> Option<Suppressed<Self>> {
        if let Some(limit) = millis(node, "limit_ms") {
            return Some(suppressed_until(node, limit));
        }
        let number = |name: &str| node.get(name).and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
        let mut buffer = match (number("max_records"), number("max_bytes")) {
            (None, None) => BufferConfig::unbounded(),
            (Some(records), _) => BufferConfig::max_records(records).shut_down_when_full(),
            (None, Some(bytes)) => BufferConfig::max_bytes(bytes).shut_down_when_full(),
        };
        if node.get("logging") == Some(&Json::Bool(false)) {
            buffer = buffer.with_logging_disabled();
        }
        Some(Suppressed::until_window_closes(buffer))
    }

    fn val(&self) -> Val {
        Val::Windowed(Box::new(self.clone()))
    }

    fn serde(kind: &Kind) -> Option<Serde<Self>> {
        match kind {
            Kind::Windowed(key, size_ms) => Some(serdes::windowed(key.serde(), *size_ms)),
            Kind::Session(key) => Some(serdes::session_windowed(key.serde())),
            _ => None,
        }
    }
}
