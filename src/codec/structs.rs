//! Values of your own types, through serde.

use super::{Codec, Serde, malformed};
use crate::fault::{Fault, Result};
use serde::{Serialize, de::DeserializeOwned};

struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        serde_json::to_writer(out, value).map_err(|fault| unfit("JSON", &fault))
    }

    fn decode(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|fault| malformed(format_args!("not the JSON expected: {fault}")))
    }

    fn show(&self, bytes: &[u8]) -> Option<Result<serde_json::Value>> {
        // What was written as JSON is shown as it is, whatever the type has become since.
        Some(serde_json::from_slice(bytes).map_err(|fault| malformed(format_args!("not JSON: {fault}"))))
    }

    fn parse(&self, text: &str) -> Option<Result<T>> {
        Some(from_text(text))
    }
}

/// JSON without spaces, fields in the order of their declaration.
///
/// As a key, a type must always write the same bytes for equal values: no maps in random order.
///
/// ```
/// use millstream::codec::serdes;
/// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
/// struct Delay {
///     sum: i64,
///     flights: u32,
/// }
/// let serde = serdes::json::<Delay>();
/// let bytes = serde.to_bytes(&Delay { sum: -3, flights: 2 }).unwrap();
/// assert_eq!(&bytes[..], br#"{"sum":-3,"flights":2}"#);
/// assert_eq!(serde.decode(&bytes).unwrap(), Delay { sum: -3, flights: 2 });
/// ```
pub fn json<T: Serialize + DeserializeOwned + 'static>() -> Serde<T> {
    Serde::new(Json)
}

struct Bincode;

impl<T: Serialize + DeserializeOwned> Codec<T> for Bincode {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        bincode::serde::encode_into_std_write(value, out, bincode::config::standard())
            .map(drop)
            .map_err(|fault| unfit("bincode", &fault))
    }

    fn decode(&self, bytes: &[u8]) -> Result<T> {
        let (value, read) = bincode::serde::decode_from_slice(bytes, bincode::config::standard())
            .map_err(|fault| malformed(format_args!("not the bincode expected: {fault}")))?;
        match bytes.len() - read {
            0 => Ok(value),
            rest => Err(malformed(format_args!("{rest} bytes are left over after the bincode value"))),
        }
    }

    fn show(&self, bytes: &[u8]) -> Option<Result<serde_json::Value>> {
        let value: Result<T> = self.decode(bytes);
        Some(value.and_then(|value| serde_json::to_value(value).map_err(|fault| unfit("JSON", &fault))))
    }

    fn parse(&self, text: &str) -> Option<Result<T>> {
        Some(from_text(text))
    }
}

/// bincode 2's standard format: small and fast, but it names no fields: a changed type can't read what the former
/// one wrote.
///
/// ```
/// use millstream::codec::serdes;
/// let serde = serdes::bincode::<(i64, u32)>();
/// let bytes = serde.to_bytes(&(-3, 2)).unwrap();
/// assert_eq!(&bytes[..], [5, 2]);
/// assert_eq!(serde.decode(&bytes).unwrap(), (-3, 2));
/// ```
pub fn bincode<T: Serialize + DeserializeOwned + 'static>() -> Serde<T> {
    Serde::new(Bincode)
}

/// A value written as JSON; a text that is no JSON stands for itself.
fn from_text<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .or_else(|fault| serde_json::from_value(text.into()).map_err(|_| fault))
        .map_err(|fault| malformed(format_args!("not the JSON expected: {fault}")))
}

/// A value that its own program can't write is an error of the program, not of a record.
fn unfit(format: &str, fault: &dyn std::fmt::Display) -> Fault {
    Fault::stop(format!("the value does not fit {format}: {fault}")).hint("mend the type, or give it another serde")
}

#[cfg(test)]
mod tests {
    use crate::{codec::serdes, fault::Remedy};

    #[test]
    fn foreign_bytes_are_skipped() {
        assert_eq!(serdes::json::<Vec<i32>>().decode(b"{}").unwrap_err().remedy, Remedy::Skip);
        assert_eq!(serdes::json::<i32>().decode(b"1 2").unwrap_err().remedy, Remedy::Skip);
        assert_eq!(serdes::bincode::<i64>().decode(b"").unwrap_err().remedy, Remedy::Skip);
        assert_eq!(serdes::bincode::<u8>().decode(b"\x01\x02").unwrap_err().remedy, Remedy::Skip);
    }

    #[test]
    fn a_value_that_json_does_not_know_stops() {
        let map = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert_eq!(serdes::json().to_bytes(&map).unwrap_err().remedy, Remedy::Stop);
    }
}
