//! The values in the changelogs of Kafka Streams' time-ordered buffers: a record that waits, with its context.

use super::malformed;
use crate::{
    fault::Result,
    record::{Headers, SourceContext, Timestamp},
};
use bytes::Bytes;

/// Length that stands for null.
const NULL: i32 = -1;
/// Length of an old value that stands for "the same as the prior one".
const SAME: i32 = -2;

/// A record that waits in a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buffered {
    /// Event time of the record.
    pub timestamp: Timestamp,
    /// Where its input came from; `None` after punctuation.
    pub source: Option<SourceContext>,
    pub headers: Headers,
    /// The row as it was when it was last let go.
    pub prior: Option<Bytes>,
    /// The row before this change.
    pub old: Option<Bytes>,
    /// The row now, or the value of a stream's record.
    pub new: Option<Bytes>,
    /// The time that it waits by.
    pub time: Timestamp,
}

impl Buffered {
    /// `{timestamp i64}{offset i64}{topic}{partition i32}{headers}{prior}{old}{new}{time i64}`, each text and value after its
    /// length (i32).
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        let source = self.source.as_ref();
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&source.map_or(-1, |s| s.offset).to_be_bytes());
        put(&mut out, Some(source.map_or(b"", |s| s.topic.as_bytes())));
        out.extend_from_slice(&source.map_or(-1, |s| s.partition).to_be_bytes());
        let count = i32::try_from(self.headers.iter().count()).expect("fewer headers than fit in a record");
        out.extend_from_slice(&count.to_be_bytes());
        for (name, value) in self.headers.iter() {
            put(&mut out, Some(name.as_bytes()));
            put(&mut out, value.map(|v| &v[..]));
        }
        put(&mut out, self.prior.as_deref());
        match &self.old {
            Some(old) if self.prior.as_ref() == Some(old) => out.extend_from_slice(&SAME.to_be_bytes()),
            old => put(&mut out, old.as_deref()),
        }
        put(&mut out, self.new.as_deref());
        out.extend_from_slice(&self.time.to_be_bytes());
        out.into()
    }

    /// Reads what [`Buffered::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no such value.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut rest = Reader { bytes, at: 0 };
        let short = || malformed("a buffered record is shorter than its parts");
        rest.read().ok_or_else(short)
    }

    /// Kafka Streams' estimate of the memory that it takes under `key`, in bytes (D-147).
    pub fn size(&self, key: &[u8]) -> usize {
        let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let old = if self.old == self.prior { 0 } else { length(&self.old) };
        let topic = self.source.as_ref().map_or(0, |s| s.topic.encode_utf16().count());
        let headers = self.headers.iter().map(|(n, v)| n.encode_utf16().count() + v.map_or(0, Bytes::len));
        8 + key.len() + length(&self.prior) + old + length(&self.new) + 8 + 8 + topic + 4 + headers.sum::<usize>()
    }
}

fn put(out: &mut Vec<u8>, value: Option<&[u8]>) {
    let length = value.map_or(NULL, |v| i32::try_from(v.len()).expect("a value is shorter than 2 GiB"));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value.unwrap_or_default());
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(Bytes::copy_from_slice(taken))
    }

    fn long(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?[..].try_into().ok()?))
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?[..].try_into().ok()?))
    }

    /// A value after its length; `prior` stands in for one that is the same.
    fn value(&mut self, prior: Option<&Bytes>) -> Option<Option<Bytes>> {
        match self.int()? {
            NULL => Some(None),
            SAME => Some(prior.cloned()),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.value(None)??.to_vec()).ok()
    }

    fn read(&mut self) -> Option<Buffered> {
        let (timestamp, offset, topic, partition) = (self.long()?, self.long()?, self.text()?, self.int()?);
        let count = self.int()?;
        let headers = (0..count).map(|_| Some((self.text()?, self.value(None)?))).collect::<Option<Headers>>()?;
        let prior = self.value(None)?;
        let old = self.value(prior.as_ref())?;
        let (new, time) = (self.value(None)?, self.long()?);
        let source = (partition >= 0).then(|| SourceContext { topic: topic.into(), partition, offset });
        Some(Buffered { timestamp, source, headers, prior, old, new, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffered() -> Buffered {
        Buffered {
            timestamp: 3,
            source: Some(SourceContext { topic: "in".into(), partition: 0, offset: 1 }),
            headers: [("h".to_owned(), Some(Bytes::from("2"))), ("n".to_owned(), None)].into_iter().collect(),
            prior: Some("p".into()),
            old: Some("p".into()),
            new: Some("new".into()),
            time: 10,
        }
    }

    #[test]
    fn d148_what_is_written_is_read() {
        let same = buffered();
        let differs = Buffered { prior: None, old: Some("o".into()), new: None, ..buffered() };
        let punctuated = Buffered { source: None, headers: Headers::new(), ..buffered() };
        for value in [same, differs, punctuated] {
            assert_eq!(Buffered::decode(&value.encode()).unwrap(), value);
        }
        assert!(Buffered::decode(&buffered().encode().slice(..40)).is_err());
    }

    #[test]
    fn d147_an_old_value_that_equals_the_prior_one_takes_no_memory() {
        // 8 (time) + 1 (key) + 1 (prior) + 3 (new) + 16 (context) + 2 (topic) + 4 + 3 (headers)
        assert_eq!(buffered().size(b"k"), 38);
        assert_eq!(Buffered { old: Some("oo".into()), ..buffered() }.size(b"k"), 40);
    }
}
