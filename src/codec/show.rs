//! Values for people and programs that don't know their format: as JSON, and read from text.

use super::{Serde, malformed};
use crate::fault::Result;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// A serde without its type.
pub trait Show: Send + Sync {
    /// The value as JSON; `None` when its codec has no words for it.
    ///
    /// # Errors
    /// When the bytes are no such value.
    fn show(&self, bytes: &[u8]) -> Option<Result<Value>>;

    /// The bytes of a value that is written as text, as in a path; `None` when its codec reads none.
    ///
    /// # Errors
    /// When the text is no such value.
    fn parse(&self, text: &str) -> Option<Result<Bytes>>;

    /// The part of an encoded key that chooses its partition (D-164).
    fn partition_key<'b>(&self, bytes: &'b [u8]) -> &'b [u8];
}

impl<T: 'static> Show for Serde<T> {
    fn show(&self, bytes: &[u8]) -> Option<Result<Value>> {
        self.0.show(bytes)
    }

    fn parse(&self, text: &str) -> Option<Result<Bytes>> {
        let value = self.0.parse(text)?;
        Some(value.and_then(|value| self.to_bytes(&value)))
    }

    fn partition_key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        Serde::partition_key(self, bytes)
    }
}

/// How the rows of a store look: its serdes without their types.
#[derive(Clone)]
pub struct Face {
    /// Of keys, without window.
    pub key: Arc<dyn Show>,
    /// Of values.
    pub value: Arc<dyn Show>,
}

impl Face {
    /// The face of a store with these serdes.
    pub fn new<K: 'static, V: 'static>(key: Serde<K>, value: Serde<V>) -> Self {
        Self { key: Arc::new(key), value: Arc::new(value) }
    }
}

/// Reads text that Rust's own parser of a type understands.
pub(super) fn parsed<T: std::str::FromStr>(text: &str) -> Option<Result<T>>
where
    T::Err: std::fmt::Display,
{
    Some(text.parse().map_err(|fault| {
        let of = std::any::type_name::<T>();
        malformed(format_args!("`{text}` is no {of}: {fault}"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::{Codec, serdes},
        record::Windowed,
    };
    use serde_json::json;

    fn both<T: 'static>(serde: &Serde<T>, text: &str) -> (Value, Bytes) {
        let bytes = Show::parse(serde, text).unwrap().unwrap();
        (serde.show(&bytes).unwrap().unwrap(), bytes)
    }

    #[test]
    fn keys_are_read_from_text_and_shown_as_json() {
        assert_eq!(both(&serdes::string(), "J \"K"), (json!("J \"K"), "J \"K".into()));
        assert_eq!(both(&serdes::i64(), "-2").0, json!(-2));
        assert_eq!(both(&serdes::i32(), "258"), (json!(258), Bytes::from_static(b"\0\0\x01\x02")));
        assert_eq!(both(&serdes::f64(), "0.5").0, json!(0.5));
        assert_eq!(both(&serdes::bool(), "true").0, json!(true));
        let id = "12345678-9abc-def0-1234-56789abcdef0";
        assert_eq!(both(&serdes::uuid(), id).0, json!(id));
        assert!(Show::parse(&serdes::i64(), "x").unwrap().is_err());
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Pair {
        b: i64,
        a: String,
    }

    #[test]
    fn values_of_own_types_are_shown_by_serde() {
        let pair = || Pair { b: 1, a: "x".into() };
        for serde in [serdes::json::<Pair>(), serdes::bincode::<Pair>()] {
            let bytes = serde.to_bytes(&pair()).unwrap();
            assert_eq!(serde.show(&bytes).unwrap().unwrap(), json!({"b": 1, "a": "x"}));
            assert!(serde.show(b"").unwrap().is_err());
            let text = r#"{"a": "x", "b": 1}"#;
            assert_eq!(Show::parse(&serde, text).unwrap().unwrap(), bytes, "equal keys have equal bytes");
        }
    }

    #[test]
    fn a_windowed_key_shows_its_window() {
        let key = Windowed::new("k".to_owned(), 5, 15);
        for serde in [serdes::windowed(serdes::string(), 10), serdes::session_windowed(serdes::string())] {
            let bytes = serde.to_bytes(&key).unwrap();
            assert_eq!(serde.show(&bytes).unwrap().unwrap(), json!({"key": "k", "start": 5, "end": 15}));
            assert!(Show::parse(&serde, "k").is_none());
            assert_eq!(Show::partition_key(&serde, &bytes), b"k");
        }
    }

    #[test]
    fn a_codec_that_says_nothing_is_not_shown() {
        struct Own;
        impl Codec<u8> for Own {
            fn encode(&self, value: &u8, out: &mut Vec<u8>) -> Result<()> {
                out.push(*value);
                Ok(())
            }

            fn decode(&self, bytes: &[u8]) -> Result<u8> {
                bytes.first().copied().ok_or_else(|| malformed("empty"))
            }
        }
        let serde = Serde::new(Own);
        assert!(serde.show(b"1").is_none() && Show::parse(&serde, "1").is_none());
        assert!(serdes::bytes().show(b"1").is_none());
    }

    #[test]
    fn numbers_that_json_does_not_know_are_text() {
        let serde = serdes::f64();
        assert_eq!(serde.show(&serde.to_bytes(&f64::NAN).unwrap()).unwrap().unwrap(), json!("NaN"));
    }
}
