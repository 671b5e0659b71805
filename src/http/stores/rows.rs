//! Rows as JSON.

use crate::{
    codec::{Face, Show},
    record::Timestamp,
    state::Entry,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Bytes in the words of their codec; as base64 where it has none, or where they are no value of it.
fn shown(show: Option<&dyn Show>, bytes: &[u8]) -> Value {
    match show.and_then(|show| show.show(bytes)) {
        Some(Ok(value)) => value,
        _ => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// A key, value and times.
pub fn fields(
    face: Option<&Face>,
    raw: bool,
    key: &[u8],
    window: Option<(Timestamp, Timestamp)>,
    value: Option<&[u8]>,
    timestamp: Timestamp,
) -> Value {
    let (key, value) = if raw {
        (STANDARD.encode(key).into(), value.map_or(Value::Null, |value| STANDARD.encode(value).into()))
    } else {
        let value = value.map(|value| shown(face.map(|face| &*face.value), value));
        (shown(face.map(|face| &*face.key), key), value.unwrap_or_default())
    };
    let mut row = json!({ "key": key, "value": value, "timestamp": timestamp });
    if let Some((start, end)) = window {
        row["start"] = start.into();
        row["end"] = end.into();
    }
    row
}

/// A row. A global table has no partitions.
pub fn row(face: Option<&Face>, raw: bool, partition: Option<i32>, entry: &Entry) -> Value {
    let mut row = fields(face, raw, &entry.key, entry.window, Some(&entry.value), entry.timestamp);
    if let Some(end) = entry.valid_to {
        row["valid_to"] = end.into();
    }
    if let Some(partition) = partition {
        row["partition"] = partition.into();
    }
    row
}

/// A page of rows; `next` is the cursor of the one after it.
pub fn page(face: Option<&Face>, raw: bool, rows: Vec<(Option<i32>, Entry)>, next: Option<String>) -> Value {
    let rows: Vec<Value> = rows.iter().map(|(partition, entry)| row(face, raw, *partition, entry)).collect();
    json!({ "rows": rows, "next": next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::serdes;

    #[test]
    fn rows_are_shown_by_their_codec_or_as_bytes() {
        let entry = Entry {
            key: "k".into(),
            window: Some((5, 15)),
            value: vec![0, 0, 0, 0, 0, 0, 0, 7].into(),
            timestamp: 6,
            valid_to: Some(9),
        };
        let face = Face::new(serdes::string(), serdes::i64());
        let expected =
            json!({"key": "k", "value": 7, "timestamp": 6, "start": 5, "end": 15, "valid_to": 9, "partition": 2});
        assert_eq!(row(Some(&face), false, Some(2), &entry), expected);
        let raw = row(Some(&face), true, None, &entry);
        assert_eq!((&raw["key"], &raw["value"]), (&json!("aw=="), &json!("AAAAAAAAAAc=")));
        let unknown = row(None, false, None, &entry);
        assert_eq!(unknown["key"], json!({"base64": "aw=="}));
        let foreign = Entry { value: "x".into(), ..entry };
        assert_eq!(row(Some(&face), false, None, &foreign)["value"], json!({"base64": "eA=="}));
    }
}
