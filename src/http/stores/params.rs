//! What stands behind the `?`, and the questions that it makes.

use super::refusal::Refused;
use crate::{
    codec::{Face, partition_for},
    record::Timestamp,
    state::{Ask, Limits, StoreKind},
    topology::ResolvedSub,
};
use axum::http::Uri;
use base64::{
    Engine as _,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};
use bytes::Bytes;

/// Rows of a page unless `limit=` says otherwise.
const ROWS: usize = 100;

/// Base64 for paths: URL-safe, with or without padding.
const CODE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The parameters of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Params {
    from: Option<String>,
    to: Option<String>,
    as_of: Option<Timestamp>,
    after: Option<(i32, Bytes)>,
    limit: Option<usize>,
    pub partition: Option<i32>,
    /// Keys and values as base64 of their bytes.
    pub raw: bool,
    /// Takes what is being restored, too.
    pub stale: bool,
}

/// Where a page ended, as `after=` gives it back.
pub fn cursor(partition: i32, row: &[u8]) -> String {
    format!("{partition}.{}", CODE.encode(row))
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Refused> {
    text.parse().map_err(|_| Refused::bad(format!("{name}={text} is no number of the kind expected")))
}

/// `%41+b` as `A b`.
fn decoded(text: &str) -> Result<String, Refused> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err(Refused::bad("a `%` is followed by two hexadecimal digits")),
                }
            }
            byte => byte,
        });
    }
    String::from_utf8(out).map_err(|_| Refused::bad("the parameters are not UTF-8: send bytes with raw=base64"))
}

fn base64(text: &str) -> Result<Bytes, Refused> {
    // The other alphabet is taken, too.
    let text = text.replace('+', "-").replace('/', "_");
    CODE.decode(text).map(Bytes::from).map_err(|e| Refused::bad(format!("not base64: {e}")))
}

impl Params {
    /// Reads them.
    pub fn of(uri: &Uri) -> Result<Self, Refused> {
        let mut params = Self::default();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match name {
                "from" => params.from = Some(value),
                "to" => params.to = Some(value),
                "as_of" => params.as_of = Some(number(name, &value)?),
                "limit" => params.limit = Some(number(name, &value)?),
                "partition" => params.partition = Some(number(name, &value)?),
                "after" => {
                    let (partition, row) = value.split_once('.').ok_or_else(|| Refused::bad("after= is no cursor"))?;
                    params.after = Some((number(name, partition)?, base64(row)?));
                }
                "raw" if value == "base64" => params.raw = true,
                "stale" if value == "ok" => params.stale = true,
                _ => return Err(Refused::bad(format!("`{pair}` is not understood"))),
            }
        }
        Ok(params)
    }

    /// The bytes of a key that was written as text.
    pub fn key(&self, face: Option<&Face>, text: &str) -> Result<Bytes, Refused> {
        if self.raw {
            return base64(text);
        }
        match face.and_then(|face| face.key.parse(text)) {
            Some(parsed) => parsed.map_err(|fault| Refused::bad(fault.to_string())),
            None => Err(Refused::bad("keys of this store can't be read from text: send their bytes with raw=base64")),
        }
    }

    /// The partition that a key is in, unless the request names it.
    pub fn partition_of(&self, sub: &ResolvedSub, face: Option<&Face>, key: &[u8]) -> Result<i32, Refused> {
        let chosen = face.map_or(key, |face| face.key.partition_key(key));
        let partition = self.partition.unwrap_or_else(|| partition_for(chosen, sub.partitions));
        if (0..sub.partitions).contains(&partition) {
            return Ok(partition);
        }
        Err(Refused::bad(format!("partition={partition}: the store has {}", sub.partitions)))
    }

    /// Bounds that are keys.
    pub fn keys(&self, face: Option<&Face>) -> Result<(Option<Bytes>, Option<Bytes>), Refused> {
        let bound = |text: &Option<String>| text.as_ref().map(|text| self.key(face, text)).transpose();
        Ok((bound(&self.from)?, bound(&self.to)?))
    }

    fn times(&self) -> Result<(Timestamp, Timestamp), Refused> {
        let time = |name, text: &Option<String>| text.as_ref().map(|text| number(name, text)).transpose();
        Ok((time("from", &self.from)?.unwrap_or(0), time("to", &self.to)?.unwrap_or(Timestamp::MAX)))
    }

    /// The question for one key.
    pub fn ask_key(&self, kind: StoreKind, key: Bytes) -> Result<Ask, Refused> {
        let plain = matches!(
            kind,
            StoreKind::KeyValue | StoreKind::Lru { .. } | StoreKind::Buffer | StoreKind::Versioned { .. }
        );
        let ask = if plain && self.from.is_none() && self.to.is_none() {
            Ask::Row { key, as_of: self.as_of }
        } else {
            let (from, to) = self.times()?;
            Ask::Times { key: Some(key), from, to }
        };
        self.checked(kind, ask)
    }

    /// The question for all keys.
    pub fn ask_range(&self, kind: StoreKind, face: Option<&Face>) -> Result<Ask, Refused> {
        let ask = match kind {
            StoreKind::Versioned { .. } if self.from.is_some() || self.to.is_some() => {
                return Err(Refused::bad("the keys of a versioned store have no order: ask for all, or for one"));
            }
            StoreKind::KeyValue | StoreKind::Lru { .. } | StoreKind::Buffer | StoreKind::Versioned { .. } => {
                let (from, to) = self.keys(face)?;
                Ask::Keys { from, to, as_of: self.as_of }
            }
            StoreKind::Window { .. } | StoreKind::Segmented(_) => {
                let (from, to) = self.times()?;
                Ask::Times { key: None, from, to }
            }
        };
        self.checked(kind, ask)
    }

    fn checked(&self, kind: StoreKind, ask: Ask) -> Result<Ask, Refused> {
        if self.as_of.is_some() && !matches!(kind, StoreKind::Versioned { .. }) {
            return Err(Refused::bad("as_of= is for stores that keep versions"));
        }
        kind.answers(&ask).map_err(Refused::bad)?;
        Ok(ask)
    }

    /// Limits of a page.
    pub fn limits(&self) -> Limits {
        let limits = Limits::default();
        Limits { rows_max: self.limit.unwrap_or(ROWS).clamp(1, limits.rows_max), ..limits }
    }

    /// The partition that the page begins in.
    pub fn first_partition(&self) -> Result<i32, Refused> {
        Ok(self.after.as_ref().map_or(0, |(partition, _)| *partition))
    }

    /// The row of a partition after which the page begins.
    pub fn cursor_in(&self, partition: i32) -> Result<Option<Bytes>, Refused> {
        let here = self.after.as_ref().filter(|(at, row)| *at == partition && !row.is_empty());
        Ok(here.map(|(_, row)| row.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, state::Segmented};

    fn params(query: &str) -> Result<Params, Refused> {
        Params::of(&format!("/stores/s?{query}").parse().unwrap())
    }

    fn face() -> Face {
        Face::new(serdes::string(), serdes::i64())
    }

    #[test]
    fn parameters_are_decoded_and_unknown_ones_refused() {
        let read = params("from=a%20b%C3%A6+c&to=&partition=3&limit=5&raw=base64&stale=ok&as_of=-1").unwrap();
        assert_eq!((read.from.as_deref(), read.to.as_deref()), (Some("a bæ c"), Some("")));
        assert_eq!((read.partition, read.limits().rows_max, read.as_of), (Some(3), 5, Some(-1)));
        assert!(read.raw && read.stale);
        for bad in ["form=a", "raw=hex", "stale=no", "limit=x", "from=%4", "from=%zz", "from=%ff", "after=x"] {
            assert!(params(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let text = cursor(7, b"row \xff");
        let read = params(&format!("after={text}")).unwrap();
        assert_eq!(read.first_partition().unwrap(), 7);
        assert_eq!(read.cursor_in(7).unwrap().as_deref(), Some(&b"row \xff"[..]));
        assert_eq!(read.cursor_in(8).unwrap(), None);
        let start_of_next = params(&format!("after={}", cursor(8, b""))).unwrap();
        assert_eq!((start_of_next.first_partition().unwrap(), start_of_next.cursor_in(8).unwrap()), (8, None));
    }

    #[test]
    fn keys_are_text_or_bytes() {
        let face = face();
        assert_eq!(params("").unwrap().key(Some(&face), "JFK").unwrap(), "JFK");
        for text in ["//4", "__4", "__4=", "//4="] {
            let key = params("raw=base64").unwrap().key(Some(&face), text);
            assert_eq!(key.unwrap(), Bytes::from_static(b"\xff\xfe"), "{text}");
        }
        assert!(params("").unwrap().key(None, "JFK").is_err());
    }

    #[test]
    fn the_kind_of_a_store_decides_what_from_and_to_are() {
        let window = StoreKind::Window { size_ms: 10, retention_ms: 100 };
        let read = params("from=5&to=7").unwrap();
        let times = |key: Option<&'static str>| Ask::Times { key: key.map(Into::into), from: 5, to: 7 };
        assert_eq!(read.ask_key(window, "k".into()).unwrap(), times(Some("k")));
        assert_eq!(read.ask_range(window, None).unwrap(), times(None));
        let keys = Ask::Keys { from: Some("5".into()), to: Some("7".into()), as_of: None };
        assert_eq!(read.ask_range(StoreKind::KeyValue, Some(&face())).unwrap(), keys);
        assert!(read.ask_key(StoreKind::KeyValue, "k".into()).is_err());
        let versioned = StoreKind::Versioned { history_ms: 10 };
        assert_eq!(read.ask_key(versioned, "k".into()).unwrap(), times(Some("k")));
        assert!(read.ask_range(versioned, Some(&face())).is_err());
        let as_of = params("as_of=9").unwrap();
        assert_eq!(as_of.ask_key(versioned, "k".into()).unwrap(), Ask::Row { key: "k".into(), as_of: Some(9) });
        assert!(as_of.ask_key(window, "k".into()).is_err());
        let join = StoreKind::Segmented(Segmented::new(crate::state::Moments::Join, 10, 10));
        assert!(params("").unwrap().ask_range(join, None).is_err());
    }
}
