//! Record headers.

use bytes::Bytes;

/// The headers of a record: names with optional values, in order, names may repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Option<Bytes>)>);

static NONE: Headers = Headers(Vec::new());

impl Headers {
    /// No headers, without an allocation.
    pub fn none() -> &'static Self {
        &NONE
    }

    /// Empty headers to add to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header at the end.
    pub fn add(&mut self, name: impl Into<String>, value: Option<Bytes>) {
        self.0.push((name.into(), value));
    }

    /// The last value with this name.
    pub fn last(&self, name: &str) -> Option<Option<&Bytes>> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_ref())
    }

    /// Removes all headers with this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Bytes>)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_ref()))
    }

    /// True when there is no header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that names and values take.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.as_ref().map_or(0, Bytes::len)).sum()
    }
}

impl FromIterator<(String, Option<Bytes>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (String, Option<Bytes>)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}
