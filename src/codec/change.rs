//! Changes of tables on their way through a repartition topic (D-126).

use super::{Codec, Serde, malformed};
use crate::{fault::Result, record::Change};

const OLD: u8 = 0;
const NEW: u8 = 1;
const BOTH: u8 = 2;
/// As the three above, with a byte before the flag that tells whether the change is of the latest version.
const WITH_LATEST: u8 = 3;

struct Changed<V>(Serde<V>);

impl<V: 'static> Codec<Change<V>> for Changed<V> {
    fn encode(&self, change: &Change<V>, out: &mut Vec<u8>) -> Result<()> {
        match (&change.new, &change.old) {
            (Some(new), Some(old)) => {
                let new = self.0.to_bytes(new)?;
                write_length(new.len(), out);
                out.extend_from_slice(&new);
                self.0.encode(old, out)?;
                out.push(BOTH);
            }
            (Some(new), None) => {
                self.0.encode(new, out)?;
                out.push(NEW);
            }
            (None, Some(old)) => {
                self.0.encode(old, out)?;
                out.push(OLD);
            }
            (None, None) => return Err(malformed("a change from nothing to nothing has no bytes")),
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Change<V>> {
        let short = || malformed("a change is shorter than its parts");
        let (&flag, mut rest) = bytes.split_last().ok_or_else(short)?;
        let mut is_latest = true;
        if flag >= WITH_LATEST {
            let (latest, before) = rest.split_last().ok_or_else(short)?;
            (is_latest, rest) = (*latest == 1, before);
        }
        let (new, old) = match flag % WITH_LATEST {
            OLD => (None, Some(self.0.decode(rest)?)),
            NEW => (Some(self.0.decode(rest)?), None),
            _ => {
                let (length, rest) = read_length(rest).ok_or_else(short)?;
                let (new, old) = rest.split_at_checked(length).ok_or_else(short)?;
                (Some(self.0.decode(new)?), Some(self.0.decode(old)?))
            }
        };
        if flag >= 2 * WITH_LATEST {
            return Err(malformed(format_args!("a change has no flag {flag}")));
        }
        Ok(Change { new, old, is_latest })
    }
}

/// Kafka's varint of a number that is not negative: zigzag, seven bits a byte, lowest first.
fn write_length(length: usize, out: &mut Vec<u8>) {
    let mut left = (length as u64) << 1;
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        length |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(length >> 1).ok()?, &bytes[at + 1..]));
        }
    }
    None
}

/// A table's change as Kafka Streams writes it to repartition topics: `{old}{0}`, `{new}{1}` or
/// `{varint length of new}{new}{old}{2}` (D-126).
///
/// ```
/// use millstream::{codec::serdes, record::Change};
/// let serde = serdes::change(serdes::string());
/// let bytes = serde.to_bytes(&Change::new(Some("new".into()), Some("old".into()))).unwrap();
/// assert_eq!(&bytes[..], b"\x06newold\x02");
/// ```
pub fn change<V: 'static>(value: Serde<V>) -> Serde<Change<V>> {
    Serde::new(Changed(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::serdes;

    #[test]
    fn d126_what_is_written_is_read() {
        let serde = change(serdes::string());
        let text = |text: &str| Some(text.to_owned());
        for change in [
            Change::new(text("n"), None),
            Change::new(None, text("o")),
            Change::new(text(&"n".repeat(300)), text("o")),
            Change::new(text(""), text("")),
        ] {
            assert_eq!(serde.decode(&serde.to_bytes(&change).unwrap()).unwrap(), change);
        }
        assert!(serde.to_bytes(&Change::new(None, None)).is_err());
    }

    #[test]
    fn d126_the_flags_of_other_releases_are_read() {
        let serde = change(serdes::string());
        let stale = |new: Option<&str>, old: Option<&str>| Change {
            new: new.map(str::to_owned),
            old: old.map(str::to_owned),
            is_latest: false,
        };
        assert_eq!(serde.decode(b"o\0\x03").unwrap(), stale(None, Some("o")));
        assert_eq!(serde.decode(b"n\0\x04").unwrap(), stale(Some("n"), None));
        assert_eq!(serde.decode(b"\x02no\0\x05").unwrap(), stale(Some("n"), Some("o")));
        for bad in [&b""[..], b"x\x06", b"\x08no\x02", b"\x03"] {
            assert!(serde.decode(bad).is_err(), "{bad:?}");
        }
    }
}
