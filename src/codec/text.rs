//! Text, plain bytes and uuids, as Kafka's own serializers write them (D-169).

use super::{Codec, Serde, malformed, show::parsed};
use crate::fault::Result;
use bytes::Bytes;
use uuid::Uuid;

struct Text;

impl Codec<String> for Text {
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(fault) => Err(malformed(format_args!("not UTF-8: {fault}"))),
        }
    }

    fn show(&self, bytes: &[u8]) -> Option<Result<serde_json::Value>> {
        let text: Result<String> = self.decode(bytes);
        Some(text.map(Into::into))
    }

    fn parse(&self, text: &str) -> Option<Result<String>> {
        Some(Ok(text.to_owned()))
    }
}

/// UTF-8 text: Java's `String` (D-169). Bytes that are not UTF-8 are refused, where Java's deserializer would put
/// U+FFFD in their place and so give different keys the same text.
///
/// ```
/// use millstream::codec::serdes;
/// assert_eq!(&serdes::string().to_bytes(&"JFK".into()).unwrap()[..], b"JFK");
/// assert!(serdes::string().decode(b"\xff").is_err());
/// ```
pub fn string() -> Serde<String> {
    Serde::new(Text)
}

impl Codec<Uuid> for Text {
    fn encode(&self, value: &Uuid, out: &mut Vec<u8>) -> Result<()> {
        let mut text = Uuid::encode_buffer();
        out.extend_from_slice(value.hyphenated().encode_lower(&mut text).as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Uuid> {
        Uuid::try_parse_ascii(bytes).map_err(|fault| malformed(format_args!("not a uuid: {fault}")))
    }

    fn show(&self, bytes: &[u8]) -> Option<Result<serde_json::Value>> {
        let id: Result<Uuid> = self.decode(bytes);
        Some(id.map(|id| id.hyphenated().to_string().into()))
    }

    fn parse(&self, text: &str) -> Option<Result<Uuid>> {
        parsed(text)
    }
}

/// A uuid as its text of 36 characters: Java's `UUID` serializer (D-169).
///
/// ```
/// use millstream::codec::serdes;
/// let bytes = serdes::uuid().to_bytes(&uuid::Uuid::nil()).unwrap();
/// assert_eq!(&bytes[..], b"00000000-0000-0000-0000-000000000000");
/// ```
pub fn uuid() -> Serde<Uuid> {
    Serde::new(Text)
}

struct Plain;

impl Codec<Bytes> for Plain {
    fn encode(&self, value: &Bytes, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Bytes> {
        Ok(Bytes::copy_from_slice(bytes))
    }
}

/// Bytes as they are: Java's `Bytes` (D-169).
pub fn bytes() -> Serde<Bytes> {
    Serde::new(Plain)
}

impl Codec<Vec<u8>> for Plain {
    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }
}

/// Bytes as they are: Java's `ByteArray` (D-169).
pub fn byte_vec() -> Serde<Vec<u8>> {
    Serde::new(Plain)
}

#[cfg(test)]
mod tests {
    use crate::codec::serdes;

    #[test]
    fn text_bytes_and_uuids_come_back_d169() {
        let id = uuid::Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        assert_eq!(serdes::uuid().decode(&serdes::uuid().to_bytes(&id).unwrap()).unwrap(), id);
        assert_eq!(serdes::string().decode("æ".as_bytes()).unwrap(), "æ");
        assert_eq!(serdes::byte_vec().decode(b"\0\xff").unwrap(), b"\0\xff");
        assert_eq!(serdes::bytes().decode(b"").unwrap(), "");
    }

    #[test]
    fn a_broken_uuid_is_refused() {
        assert!(serdes::uuid().decode(b"00000000").is_err());
    }
}
