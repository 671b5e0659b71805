//! Bytes to values and back: [`Serde`] and the serdes that Kafka Streams has, to the byte.

pub(crate) mod buffer;
mod change;
mod default;
mod murmur2;
mod murmur3;
mod numbers;
mod show;
mod structs;
mod text;
mod windowed;

pub use default::default_serde;
pub use murmur2::{murmur2, partition_for};
pub use murmur3::murmur3;
pub use show::{Face, Show};

/// Ready-made serdes, named after the Rust types they are for.
pub mod serdes {
    pub use crate::codec::{
        change::change,
        numbers::{bool, f32, f64, i16, i32, i64},
        structs::{bincode, json},
        text::{byte_vec, bytes, string, uuid},
        windowed::{session_windowed, windowed},
    };
}

use crate::fault::{Fault, Result};
use std::{fmt, sync::Arc};

/// Both directions of one format. Null never gets here: it has no bytes.
pub trait Codec<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    /// When the format can't express the value.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()>;

    /// Reads a value that takes all of `bytes`.
    ///
    /// # Errors
    /// When the bytes are no such value; the text says what is wrong with them.
    fn decode(&self, bytes: &[u8]) -> Result<T>;

    /// The part of an encoded key that chooses its partition: all of it, but the inner key of a windowed one (D-164).
    fn partition_key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes
    }

    /// The value as JSON, for queries of a store; `None`, the default, shows its bytes.
    ///
    /// # Errors
    /// When the bytes are no such value.
    fn show(&self, _bytes: &[u8]) -> Option<Result<serde_json::Value>> {
        None
    }

    /// Reads a value from text, for the keys of queries; `None`, the default, reads none.
    ///
    /// # Errors
    /// When the text is no such value.
    fn parse(&self, _text: &str) -> Option<Result<T>> {
        None
    }
}

/// A shared [`Codec`].
pub struct Serde<T>(Arc<dyn Codec<T>>);

impl<T> Clone for Serde<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Serde<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serde<{}>", std::any::type_name::<T>())
    }
}

impl<T: 'static> Serde<T> {
    /// Wraps a codec of your own.
    pub fn new(codec: impl Codec<T>) -> Self {
        Self(Arc::new(codec))
    }

    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    /// When the format can't express the value.
    pub fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        self.0.encode(value, out)
    }

    /// The bytes of `value`.
    ///
    /// # Errors
    /// When the format can't express the value.
    pub fn to_bytes(&self, value: &T) -> Result<bytes::Bytes> {
        let mut out = Vec::new();
        self.encode(value, &mut out)?;
        Ok(out.into())
    }

    /// Reads a value that takes all of `bytes`.
    ///
    /// # Errors
    /// When the bytes are no such value.
    pub fn decode(&self, bytes: &[u8]) -> Result<T> {
        self.0.decode(bytes)
    }

    /// The part of an encoded key that chooses its partition (D-164).
    pub fn partition_key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        self.0.partition_key(bytes)
    }
}

/// Bytes that don't fit a format: a [`Fault`] to skip.
pub(crate) fn malformed(what: impl fmt::Display) -> Fault {
    Fault::skip(what.to_string().into_boxed_str())
}
