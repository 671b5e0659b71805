//! Keys and values as JSON: how files of lines become records, and records lines.

use crate::fault::{Fault, Result};
use bytes::Bytes;
use serde_json::{Value, json};

/// The bytes of keys or values of a topic, as far as reading and printing files of lines needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// UTF-8 text.
    String,
    /// A JSON value.
    Json,
    /// A whole number, 8 bytes big endian.
    Long,
    /// A floating-point number, 8 bytes big endian.
    Double,
    /// Bytes of any kind; text in files.
    Bytes,
    /// Text in a window: the text, then the window's start.
    Windowed {
        /// Window size in milliseconds.
        size_ms: i64,
    },
}

impl Format {
    /// The bytes of a JSON value; `null` has none.
    ///
    /// # Errors
    /// When the value doesn't fit the format.
    pub fn encode(self, value: &Value) -> Result<Option<Bytes>> {
        let bad = || Fault::stop(format!("{value} is no {}", self.name()));
        Ok(Some(match (self, value) {
            (_, Value::Null) => return Ok(None),
            (Self::Json, value) => value.to_string().into(),
            (Self::String | Self::Bytes, Value::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
            (Self::String | Self::Bytes, other) => other.to_string().into(),
            (Self::Long, value) => Bytes::copy_from_slice(&value.as_i64().ok_or_else(bad)?.to_be_bytes()),
            (Self::Double, value) => Bytes::copy_from_slice(&value.as_f64().ok_or_else(bad)?.to_be_bytes()),
            (Self::Windowed { .. }, value) => {
                let key = value.get("key").and_then(Value::as_str).ok_or_else(bad)?;
                let start = value.get("start").and_then(Value::as_i64).ok_or_else(bad)?;
                [key.as_bytes(), &start.to_be_bytes()].concat().into()
            }
        }))
    }

    /// The JSON value of bytes. What doesn't fit the format becomes text, so that nothing is hidden.
    pub fn decode(self, bytes: Option<&Bytes>) -> Value {
        let Some(bytes) = bytes else { return Value::Null };
        let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
        let eight = || <[u8; 8]>::try_from(bytes.as_ref()).ok();
        match self {
            Self::String | Self::Bytes => text(),
            Self::Json => serde_json::from_slice(bytes).unwrap_or_else(|_| text()),
            Self::Long => eight().map_or_else(text, |b| i64::from_be_bytes(b).into()),
            Self::Double => eight().map_or_else(text, |b| f64::from_be_bytes(b).into()),
            Self::Windowed { size_ms } => match bytes.split_last_chunk::<8>() {
                Some((key, start)) => {
                    let start = i64::from_be_bytes(*start);
                    json!({"key": String::from_utf8_lossy(key), "start": start, "end": start.saturating_add(size_ms)})
                }
                None => text(),
            },
        }
    }

    /// The part of an encoded key that chooses its partition.
    pub fn partition_key(self, bytes: &[u8]) -> &[u8] {
        match self {
            Self::Windowed { .. } => &bytes[..bytes.len().saturating_sub(8)],
            _ => bytes,
        }
    }

    /// The format in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Json => "JSON",
            Self::Long => "whole number",
            Self::Double => "number",
            Self::Bytes => "bytes",
            Self::Windowed { .. } => "windowed text",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let window = json!({"key": "a", "start": 60_000, "end": 120_000});
        for (format, value) in [
            (Format::String, json!("text")),
            (Format::Json, json!({"a": [1, null]})),
            (Format::Long, json!(-7)),
            (Format::Double, json!(1.5)),
            (Format::Windowed { size_ms: 60_000 }, window),
            (Format::String, Value::Null),
        ] {
            assert_eq!(format.decode(format.encode(&value).unwrap().as_ref()), value);
        }
        assert!(Format::Long.encode(&json!("x")).is_err());
        assert_eq!(Format::Long.decode(Some(&Bytes::from_static(b"abc"))), json!("abc"));
    }
}
