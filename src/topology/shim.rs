//! Serdes of the built-in types.

use crate::{
    codec::{Codec, Serde, malformed},
    fault::Result,
    record::Windowed,
};
use std::any::Any;

struct Text;
impl Codec<String> for Text {
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<String> {
        String::from_utf8(bytes.to_vec()).map_err(malformed)
    }
}
struct Long;
impl Codec<i64> for Long {
    fn encode(&self, value: &i64, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<i64> {
        bytes.try_into().map(i64::from_be_bytes).map_err(malformed)
    }
}
struct Win<K>(Serde<K>, i64);
impl<K: 'static> Codec<Windowed<K>> for Win<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<()> {
        self.0.encode(&value.key, out)?;
        out.extend_from_slice(&value.start.to_be_bytes());
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<Windowed<K>> {
        let at = bytes.len().checked_sub(8).ok_or_else(|| malformed("too short"))?;
        let start = i64::from_be_bytes(bytes[at..].try_into().expect("eight bytes"));
        Ok(Windowed::new(self.0.decode(&bytes[..at])?, start, start + self.1))
    }
    fn partition_key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[..bytes.len().saturating_sub(8)]
    }
}
pub fn default_serde<T: 'static>() -> Option<Serde<T>> {
    let text: Box<dyn Any> = Box::new(Serde::new(Text));
    let long: Box<dyn Any> = Box::new(Serde::new(Long));
    text.downcast::<Serde<T>>().or_else(|_| long.downcast::<Serde<T>>()).ok().map(|s| *s)
}
pub fn time_windowed<K: 'static>(key: Serde<K>, size_ms: i64) -> Serde<Windowed<K>> {
    Serde::new(Win(key, size_ms))
}
