//! Fixed-width values in big-endian order, as Kafka's own serializers write them (D-169).

use super::{Codec, Serde, malformed, show::parsed};
use crate::fault::Result;

/// The codec of numbers.
struct Number;

macro_rules! number {
    ($($type:ident: $java:literal, $width:literal, $example:literal;)*) => {$(
        impl Codec<$type> for Number {
            fn encode(&self, value: &$type, out: &mut Vec<u8>) -> Result<()> {
                out.extend_from_slice(&value.to_be_bytes());
                Ok(())
            }

            fn decode(&self, bytes: &[u8]) -> Result<$type> {
                match bytes.try_into() {
                    Ok(bytes) => Ok($type::from_be_bytes(bytes)),
                    Err(_) => Err(malformed(format_args!(
                        concat!("an ", stringify!($type), " has ", stringify!($width), " bytes, these are {}"),
                        bytes.len()
                    ))),
                }
            }

            fn show(&self, bytes: &[u8]) -> Option<Result<serde_json::Value>> {
                let number: Result<$type> = self.decode(bytes);
                // JSON has no infinity and no NaN: they are text.
                Some(number.map(|number| match serde_json::json!(number) {
                    serde_json::Value::Null => number.to_string().into(),
                    value => value,
                }))
            }

            fn parse(&self, text: &str) -> Option<Result<$type>> {
                parsed(text)
            }
        }

        #[doc = concat!(
            "`", stringify!($type), "` in ", stringify!($width), " bytes, big endian: Java's `", $java, "` (D-169).\n\n",
            "```\nuse millstream::codec::serdes;\nlet serde = serdes::", stringify!($type), "();\n",
            "let bytes = serde.to_bytes(&", $example, ").unwrap();\nassert_eq!(bytes.len(), ", stringify!($width),
            ");\nassert_eq!(serde.decode(&bytes).unwrap(), ", $example, ");\n```"
        )]
        pub fn $type() -> Serde<$type> {
            Serde::new(Number)
        }
    )*};
}

number! {
    i16: "Short", 2, "-2";
    i32: "Integer", 4, "-2";
    i64: "Long", 8, "-2";
    f32: "Float", 4, "0.5";
    f64: "Double", 8, "0.5";
}

impl Codec<bool> for Number {
    fn encode(&self, value: &bool, out: &mut Vec<u8>) -> Result<()> {
        out.push(u8::from(*value));
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<bool> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(malformed(format_args!("a bool is one byte, 0 or 1, not {bytes:?}"))),
        }
    }

    fn show(&self, bytes: &[u8]) -> Option<Result<serde_json::Value>> {
        let flag: Result<bool> = self.decode(bytes);
        Some(flag.map(Into::into))
    }

    fn parse(&self, text: &str) -> Option<Result<bool>> {
        parsed(text)
    }
}

/// `bool` in one byte, 0 or 1: Java's `Boolean` (D-169).
pub fn bool() -> Serde<bool> {
    Serde::new(Number)
}

#[cfg(test)]
mod tests {
    use crate::codec::serdes;

    #[test]
    fn d169_numbers_are_big_endian() {
        assert_eq!(&serdes::i64().to_bytes(&-2).unwrap()[..], b"\xff\xff\xff\xff\xff\xff\xff\xfe");
        assert_eq!(&serdes::i32().to_bytes(&258).unwrap()[..], b"\0\0\x01\x02");
        assert_eq!(&serdes::i16().to_bytes(&258).unwrap()[..], b"\x01\x02");
        assert_eq!(&serdes::f64().to_bytes(&1.0).unwrap()[..], b"\x3f\xf0\0\0\0\0\0\0");
        assert_eq!(&serdes::f32().to_bytes(&1.0).unwrap()[..], b"\x3f\x80\0\0");
        assert_eq!(&serdes::bool().to_bytes(&true).unwrap()[..], b"\x01");
    }

    #[test]
    fn other_lengths_are_refused() {
        let fault = serdes::i64().decode(b"\0\0\0\x01").unwrap_err();
        assert_eq!(fault.to_string(), "an i64 has 8 bytes, these are 4");
        assert!(serdes::bool().decode(b"\x02").is_err());
        assert!(serdes::bool().decode(b"").is_err());
    }
}
