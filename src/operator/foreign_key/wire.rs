//! What travels on a foreign-key join's topics and lies in its store, in Kafka Streams' formats (D-105, D-106).

use crate::{
    codec::{Codec, Serde, malformed},
    fault::Result,
};
use bytes::Bytes;

/// The hash of a left row's value.
pub(crate) type Hash = [u8; 16];

/// What the right side shall do with a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Forget it.
    DeleteOnly,
    /// Forget it, and answer with null.
    DeleteAndAnswer,
    /// Keep it, and answer, with null if there is no right row.
    AnswerAlways,
    /// Keep it, and answer if there is a right row.
    AnswerIfPresent,
}

impl Instruction {
    const ALL: [Self; 4] = [Self::DeleteOnly, Self::DeleteAndAnswer, Self::AnswerAlways, Self::AnswerIfPresent];
}

/// A left row's wish to hear of a right row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription<K> {
    /// Hash of the left row; `None` when it is deleted.
    pub hash: Option<Hash>,
    pub instruction: Instruction,
    /// Key of the left row.
    pub key: K,
    /// Its partition; absent in what applications before 3.3 wrote.
    pub partition: Option<i32>,
}

/// What a left row hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response<V> {
    /// The hash of the subscription.
    pub hash: Option<Hash>,
    /// The right row.
    pub value: Option<V>,
    /// Where it goes; not written.
    pub partition: Option<i32>,
}

const NO_HASH: u8 = 0x80;
const SUBSCRIPTION_VERSION: u8 = 1;
const RESPONSE_VERSION: u8 = 0;
const HASH_BYTES: usize = 16;
const PARTITION_BYTES: usize = 4;

/// Splits off the hash, unless the version's byte says that there is none.
fn split_hash(version: u8, rest: &[u8]) -> Result<(Option<Hash>, &[u8])> {
    if version & NO_HASH != 0 {
        return Ok((None, rest));
    }
    let (hash, rest) =
        rest.split_first_chunk::<HASH_BYTES>().ok_or_else(|| malformed("a foreign-key join's hash is cut off"))?;
    Ok((Some(*hash), rest))
}

struct Subscriptions<K>(Serde<K>);

impl<K: 'static> Codec<Subscription<K>> for Subscriptions<K> {
    fn encode(&self, value: &Subscription<K>, out: &mut Vec<u8>) -> Result<()> {
        let version = if value.partition.is_some() { SUBSCRIPTION_VERSION } else { 0 };
        out.push(if value.hash.is_some() { version } else { version | NO_HASH });
        out.push(value.instruction as u8);
        out.extend_from_slice(value.hash.as_ref().map_or(&[][..], |hash| hash));
        self.0.encode(&value.key, out)?;
        if let Some(partition) = value.partition {
            out.extend_from_slice(&partition.to_be_bytes());
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Subscription<K>> {
        let short = || malformed(format_args!("a subscription of {} bytes is cut off", bytes.len()));
        let ([version, instruction], rest) = bytes.split_first_chunk::<2>().ok_or_else(short)?;
        let instruction = *Instruction::ALL
            .get(usize::from(*instruction))
            .ok_or_else(|| malformed(format_args!("a subscription's instruction is {instruction}, not 0 to 3")))?;
        let (hash, rest) = split_hash(*version, rest)?;
        let (key, partition) = match version & !NO_HASH {
            0 => (rest, None),
            SUBSCRIPTION_VERSION => {
                let (key, partition) = rest.split_last_chunk::<PARTITION_BYTES>().ok_or_else(short)?;
                (key, Some(i32::from_be_bytes(*partition)))
            }
            other => return Err(malformed(format_args!("a subscription has the unknown version {other}"))),
        };
        Ok(Subscription { hash, instruction, key: self.0.decode(key)?, partition })
    }
}

/// `{no hash: 1 bit, version: 7 bits}{instruction}{hash}{left key}{partition i32}`.
pub(crate) fn subscriptions<K: 'static>(key: Serde<K>) -> Serde<Subscription<K>> {
    Serde::new(Subscriptions(key))
}

struct Responses<V>(Serde<V>);

impl<V: 'static> Codec<Response<V>> for Responses<V> {
    fn encode(&self, value: &Response<V>, out: &mut Vec<u8>) -> Result<()> {
        out.push(if value.hash.is_some() { RESPONSE_VERSION } else { RESPONSE_VERSION | NO_HASH });
        out.extend_from_slice(value.hash.as_ref().map_or(&[][..], |hash| hash));
        match &value.value {
            Some(value) => self.0.encode(value, out),
            None => Ok(()),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<Response<V>> {
        let (version, rest) =
            bytes.split_first().ok_or_else(|| malformed("a foreign-key join's response has no bytes"))?;
        if version & !NO_HASH != RESPONSE_VERSION {
            return Err(malformed(format_args!("a response has the unknown version {}", version & !NO_HASH)));
        }
        let (hash, value) = split_hash(*version, rest)?;
        // As in Kafka Streams, a right row without bytes, such as an empty text, arrives as null.
        let value = if value.is_empty() { None } else { Some(self.0.decode(value)?) };
        Ok(Response { hash, value, partition: None })
    }
}

/// `{no hash: 1 bit, version: 7 bits}{hash}{right value}`.
pub(crate) fn responses<V: 'static>(value: Serde<V>) -> Serde<Response<V>> {
    Serde::new(Responses(value))
}

/// Row id of a subscription: length of the foreign key (i32 big endian), foreign key, left key. Without the left key it
/// is what the ids of all subscriptions to that foreign key begin with.
pub(crate) fn subscription_row(foreign_key: &[u8], key: &[u8]) -> Bytes {
    let mut row = Vec::with_capacity(4 + foreign_key.len() + key.len());
    let length = u32::try_from(foreign_key.len()).expect("a key is smaller than 4 GiB");
    row.extend_from_slice(&length.to_be_bytes());
    row.extend_from_slice(foreign_key);
    row.extend_from_slice(key);
    row.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{murmur3, serdes};

    fn subscription() -> Subscription<String> {
        let instruction = Instruction::AnswerIfPresent;
        Subscription { hash: Some(murmur3(b"c1,x")), instruction, key: "o1".into(), partition: Some(0) }
    }

    #[test]
    fn d106_subscriptions_are_kafka_streams() {
        let serde = subscriptions(serdes::string());
        let bytes = serde.to_bytes(&subscription()).unwrap();
        let wanted = b"\x01\x03\xfc\0\xbd\x32\xff\x91\x07\x93\xba\xc4\x5f\xd3\xb4\xa4\x69\xe4o1\0\0\0\0";
        assert_eq!(&bytes[..], wanted);
        assert_eq!(serde.decode(&bytes).unwrap(), subscription());
        let deleted = Subscription { hash: None, instruction: Instruction::DeleteAndAnswer, ..subscription() };
        let bytes = serde.to_bytes(&deleted).unwrap();
        assert_eq!(&bytes[..], b"\x81\x01o1\0\0\0\0");
        assert_eq!(serde.decode(&bytes).unwrap(), deleted);
        let old = Subscription { partition: None, ..subscription() };
        assert_eq!(serde.decode(&serde.to_bytes(&old).unwrap()).unwrap(), old);
    }

    #[test]
    fn d106_responses_are_kafka_streams() {
        let serde = responses(serdes::string());
        let response = Response { hash: Some(murmur3(b"c1,x")), value: Some("Ann".to_owned()), partition: None };
        let bytes = serde.to_bytes(&Response { partition: Some(7), ..response.clone() }).unwrap();
        assert_eq!(&bytes[..], b"\0\xfc\0\xbd\x32\xff\x91\x07\x93\xba\xc4\x5f\xd3\xb4\xa4\x69\xe4Ann");
        assert_eq!(serde.decode(&bytes).unwrap(), response);
        let empty = serde.to_bytes(&Response { value: Some(String::new()), ..response.clone() }).unwrap();
        assert_eq!(serde.decode(&empty).unwrap(), Response { value: None, ..response });
        assert_eq!(&serde.to_bytes(&Response { hash: None, value: None, partition: None }).unwrap()[..], b"\x80");
    }

    #[test]
    fn broken_bytes_are_refused() {
        for bad in [&b""[..], b"\x01", b"\x01\x03short", b"\x81\x04o1\0\0\0\0", b"\x82\x01o1\0\0\0\0", b"\x81\x01o1"] {
            assert!(subscriptions(serdes::string()).decode(bad).is_err(), "{bad:?}");
        }
        for bad in [&b""[..], b"\0short", b"\x81"] {
            assert!(responses(serdes::string()).decode(bad).is_err(), "{bad:?}");
        }
    }
}
