//! A dead letter: where it came from, why, how it looks, and what it becomes when it is put back.

use super::time;
use crate::{
    cli::Format,
    codec::partition_for,
    fault::{Fault, Result},
    record::{OutRecord, RawRecord, Target, Timestamp},
};
use bytes::Bytes;
use std::fmt::Write as _;

/// What a header of KIP-1034 begins with.
const ERRORS: &str = "__streams.errors.";
/// What a header of retries begins with.
const RETRY: &str = "millstream.retry.";
/// Says of a record that was put back which dead letter it was.
pub(super) const REPLAYED: &str = "millstream.replayed";
/// Characters of a key or a message that a line of a list shows.
const SHOWN_MAX: usize = 120;

/// A record of a dead-letter topic.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub partition: i32,
    pub record: RawRecord,
    /// True when it was put back before.
    pub replayed: bool,
}

/// What to look at.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// Only records of this time or later.
    pub since: Option<Timestamp>,
    /// All must hold: in which field, or in any of them, this text occurs.
    texts: Vec<(Option<Field>, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Error,
    Topic,
    Key,
}

impl Filter {
    /// From `--since` and `--filter`.
    ///
    /// # Errors
    /// When the first is no time, or a filter is empty.
    pub fn new(since: Option<&str>, texts: &[String], now: Timestamp) -> Result<Self> {
        let since = since.map(|given| time::parse(given, now)).transpose()?;
        let parse = |given: &String| {
            let (field, text) = match given.split_once('=') {
                Some(("error", text)) => (Some(Field::Error), text),
                Some(("topic", text)) => (Some(Field::Topic), text),
                Some(("key", text)) => (Some(Field::Key), text),
                _ => (None, given.as_str()),
            };
            if text.is_empty() {
                return Err(Fault::stop("there is nothing to look for").at(format!("--filter {given}")).hint(
                    "write a text that occurs in the error, the topic or the key, or error=TEXT, topic=NAME, key=TEXT",
                ));
            }
            Ok((field, text.to_owned()))
        };
        Ok(Self { since, texts: texts.iter().map(parse).collect::<Result<_>>()? })
    }

    /// True when the letter is meant. A topic is compared whole; errors and keys have the text in them.
    pub fn takes(&self, letter: &Letter) -> bool {
        let topic = letter.error("topic").unwrap_or_default();
        let errors = || ["exception", "message", "stacktrace"].map(|name| letter.error(name).unwrap_or_default());
        let key = || String::from_utf8_lossy(letter.record.key.as_deref().unwrap_or_default()).into_owned();
        let has = |field: Field, text: &str| match field {
            Field::Error => errors().iter().any(|error| error.contains(text)),
            Field::Topic => topic == text,
            Field::Key => key().contains(text),
        };
        self.since.is_none_or(|since| letter.record.timestamp >= since)
            && self.texts.iter().all(|(field, text)| match field {
                Some(field) => has(*field, text),
                None => has(Field::Error, text) || topic.contains(text.as_str()) || has(Field::Key, text),
            })
    }
}

impl Letter {
    fn header(&self, name: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.record.headers.last(name)??).into_owned())
    }

    /// One of KIP-1034's headers.
    fn error(&self, name: &str) -> Option<String> {
        self.header(&format!("{ERRORS}{name}"))
    }

    /// Where it lies: partition and offset.
    pub fn place(&self) -> String {
        format!("{}:{}", self.partition, self.record.offset)
    }

    /// Topic, partition and offset of the record that failed, as far as the headers say so.
    fn source(&self) -> String {
        let part = |name: &str| self.error(name).unwrap_or_else(|| "?".into());
        format!("{} {}:{}", part("topic"), part("partition"), part("offset"))
    }

    /// A line of a list.
    pub fn line(&self) -> String {
        let state = if self.replayed { "put back" } else { "dead" };
        let key = self.record.key.as_ref().map_or_else(|| "null".into(), shown);
        let error = self.error("message").unwrap_or_default();
        let (at, from) = (time::text(self.record.timestamp), self.source());
        format!("{}  {at}  {state}  from {from}  key {}  {}", self.place(), short(&key), short(&error))
    }

    /// All of it, value and key by a format or as they look.
    pub fn text(&self, key: Option<Format>, value: Option<Format>) -> String {
        let mut text = format!("place     {}\n", self.place());
        let state = if self.replayed { "put back" } else { "dead" };
        let _ = writeln!(
            text,
            "time      {}\nstate     {state}\nfrom      {}",
            time::text(self.record.timestamp),
            self.source()
        );
        for (name, value) in self.record.headers.iter() {
            let value = value.map_or_else(|| "null".into(), shown);
            let _ = writeln!(text, "header    {name}: {}", value.replace('\n', "\n          "));
        }
        for (name, bytes, format) in [("key", &self.record.key, key), ("value", &self.record.value, value)] {
            let shown = match (bytes, format) {
                (None, _) => "null".into(),
                (bytes, Some(format)) => format.decode(bytes.as_ref()).to_string(),
                (Some(bytes), None) => shown(bytes),
            };
            let _ = writeln!(text, "{name:<10}{}", shown.replace('\n', "\n          "));
        }
        text
    }

    /// The record that goes back to the topic that it came from: with the headers that it had there and one that says which
    /// dead letter it was, on the partition that it had if there still is one. `Err` says why it can't go back.
    pub fn back(&self, dead_letters: &str, partitions: impl Fn(&str) -> Option<i32>) -> Result<OutRecord, String> {
        let topic = self.error("topic").ok_or("its headers don't say which topic it came from")?;
        let count = partitions(&topic).ok_or_else(|| format!("topic `{topic}` does not exist"))?;
        let RawRecord { timestamp, key, value, headers, .. } = &self.record;
        let before = self.error("partition").and_then(|text| text.parse::<i32>().ok());
        let partition = match before.filter(|partition| (0..count).contains(partition)) {
            Some(partition) => partition,
            None => key.as_ref().map_or(0, |key| partition_for(key, count)),
        };
        let own = |name: &str| name.starts_with(ERRORS) || name.starts_with(RETRY) || name == REPLAYED;
        let kept = headers.iter().filter(|(name, _)| !own(name)).map(|(name, v)| (name.to_owned(), v.cloned()));
        let from = Bytes::from(format!("{dead_letters} {}", self.place()));
        let headers = kept.chain([(REPLAYED.to_owned(), Some(from))]).collect();
        let (key, value, timestamp) = (key.clone(), value.clone(), (*timestamp).max(0));
        Ok(OutRecord { topic: topic.into(), partition, key, value, timestamp, headers, target: Target::Sink })
    }
}

/// Text as it is, other bytes in hexadecimal digits.
fn shown(bytes: &Bytes) -> String {
    let plain = |text: &&str| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    match std::str::from_utf8(bytes).ok().filter(plain) {
        Some(text) => text.to_owned(),
        None => bytes.iter().fold("0x".to_owned(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
    }
}

/// The beginning of a text, on one line.
fn short(text: &str) -> String {
    let line = text.replace(['\n', '\t'], " ");
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(key: &'static [u8]) -> Letter {
        let headers = [
            ("trace", "t1"),
            ("__streams.errors.exception", "panic"),
            ("__streams.errors.message", "boom\nat 7"),
            ("__streams.errors.topic", "orders"),
            ("__streams.errors.partition", "2"),
            ("__streams.errors.offset", "41"),
            ("millstream.retry.attempts", "3"),
            ("millstream.replayed", "dead 0:1"),
        ];
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Some(Bytes::from(*value)))).collect();
        let (key, value) = (Some(Bytes::from_static(key)), Some(Bytes::from_static(&[0, 255])));
        let record = RawRecord { offset: 17, timestamp: 1_795_278_600_250, key, value, headers };
        Letter { partition: 0, record, replayed: false }
    }

    #[test]
    fn a_line_says_what_failed_and_why() {
        let line = letter(b"k7").line();
        assert_eq!(line, "0:17  2026-11-21T16:30:00.250Z  dead  from orders 2:41  key k7  boom at 7");
    }

    #[test]
    fn all_of_it_shows_text_as_text_and_the_rest_in_hexadecimal() {
        let text = Letter { replayed: true, ..letter(b"k7") }.text(None, None);
        for wanted in [
            "state     put back\n",
            "header    trace: t1\n",
            "key       k7\n",
            "value     0x00ff\n",
            "boom\n          at 7\n",
        ] {
            assert!(text.contains(wanted), "{text}");
        }
        let number = letter(&[0, 0, 0, 0, 0, 0, 1, 2]).text(Some(Format::Long), None);
        assert!(number.contains("key       258\n"), "{number}");
    }

    #[test]
    fn a_record_goes_back_as_it_came() {
        let back = letter(b"k7").back("dead", |topic| (topic == "orders").then_some(4)).unwrap();
        assert_eq!((&*back.topic, back.partition, back.timestamp), ("orders", 2, 1_795_278_600_250));
        let headers: Vec<_> = back.headers.iter().map(|(name, value)| (name, value.unwrap().clone())).collect();
        assert_eq!(headers, [("trace", Bytes::from("t1")), (REPLAYED, Bytes::from("dead 0:17"))]);
        let fewer = letter(b"k7").back("dead", |_| Some(2)).unwrap();
        assert_eq!(fewer.partition, partition_for(b"k7", 2), "its partition is gone");
        assert!(letter(b"k7").back("dead", |_| None).unwrap_err().contains("`orders` does not exist"));
    }

    #[test]
    fn filters_look_at_error_topic_key_and_time() {
        let takes = |since: Option<&str>, texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            Filter::new(since, &texts, 0).unwrap().takes(&letter(b"k7"))
        };
        for texts in [&[][..], &["boom"], &["orders"], &["k7"], &["error=panic", "key=k", "topic=orders"]] {
            assert!(takes(None, texts), "{texts:?}");
        }
        for texts in [&["nothing"][..], &["topic=order"], &["error=k7"], &["boom", "key=8"]] {
            assert!(!takes(None, texts), "{texts:?}");
        }
        assert!(takes(Some("2026-11-21"), &[]) && !takes(Some("2026-11-22"), &[]));
        assert!(Filter::new(None, &["key=".to_owned()], 0).unwrap_err().to_string().contains("nothing to look for"));
    }
}
