//! Typed views over a store, as user processors see it. A view lasts for one piece of work; the rows stay in the store.

mod global;
mod key_value;
mod session;
mod versioned;
mod window;

pub(crate) use global::Written;
pub use global::{GlobalUpdates, ReadOnlyKeyValueStore};
pub use key_value::KeyValueStore;
pub use session::SessionStore;
pub use versioned::{VersionedKeyValueStore, VersionedRecord};
pub use window::WindowStore;

use super::{Row, Store};
use crate::{
    codec::Serde,
    fault::{Fault, Remedy, Result},
    record::Timestamp,
};
use bytes::Bytes;

/// A value and the event time of the update that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueAndTimestamp<V> {
    /// The value.
    pub value: V,
    /// Event time in milliseconds.
    pub timestamp: Timestamp,
}

impl<V> ValueAndTimestamp<V> {
    /// `value` as of `timestamp`.
    pub fn new(value: V, timestamp: Timestamp) -> Self {
        Self { value, timestamp }
    }
}

fn decode_row<V: 'static>(store: &str, serde: &Serde<V>, row: &Row) -> Result<ValueAndTimestamp<V>> {
    let value = serde.decode(&row.value).map_err(|fault| foreign(store, fault))?;
    Ok(ValueAndTimestamp::new(value, row.timestamp))
}

/// What was stored can only fail to decode when another serde wrote it.
fn foreign(store: &str, fault: Fault) -> Fault {
    fault
        .with_remedy(Remedy::Stop)
        .at(format!("store {store}"))
        .hint("the store was written with another serde; reset the application or give the store a new name")
}

fn encode_value<V: 'static>(serde: &Serde<V>, value: Option<&V>) -> Result<Option<Bytes>> {
    value.map(|value| serde.to_bytes(value)).transpose()
}

/// A write to a store that only its topic fills (P-2).
pub(crate) fn refused(store: &str) -> Fault {
    Fault::stop("the store is read-only")
        .at(format!("store {store}"))
        .hint("only records of its topic change it: write to the topic, or use a store of your own")
}

/// Runs a scan and collects what `keep` makes of each row.
fn collect<T>(
    store: &mut Store,
    from: &[u8],
    to: Option<&[u8]>,
    reverse: bool,
    mut keep: impl FnMut(&[u8], &Row) -> Result<Option<T>>,
) -> Result<Vec<T>> {
    use std::ops::ControlFlow::{Break, Continue};
    let (mut out, mut failure) = (Vec::new(), None);
    store.scan(from, to, reverse, &mut |id, row| match keep(id, &row) {
        Ok(kept) => {
            out.extend(kept);
            Continue(())
        }
        Err(fault) => {
            failure = Some(fault);
            Break(())
        }
    })?;
    match failure {
        Some(fault) => Err(fault),
        None => Ok(out),
    }
}

/// The smallest row id above `id`.
fn above(id: &[u8]) -> Vec<u8> {
    let mut above = id.to_vec();
    above.push(0);
    above
}

/// The smallest row id above all that begin with `prefix`; `None` when there is none.
fn above_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut above = prefix[..=last].to_vec();
    above[last] += 1;
    Some(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(above_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(above_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(above_prefix(b"\xff"), None);
        assert_eq!(above_prefix(b""), None);
    }
}
