//! The serde of a type that has an obvious one.

use super::{Serde, serdes};
use std::any::Any;

/// The serde of a type for which Kafka has a serializer of its own: text, numbers, `bool`, bytes, uuid (D-169).
/// `None` for every other type; the topology then has to name one.
///
/// ```
/// use millstream::codec::default_serde;
/// assert!(default_serde::<String>().is_some());
/// assert!(default_serde::<(i64, i64)>().is_none());
/// ```
pub fn default_serde<T: 'static>() -> Option<Serde<T>> {
    fn cast<T: 'static>(serde: &dyn Any) -> Option<Serde<T>> {
        serde.downcast_ref().cloned()
    }
    cast(&serdes::string())
        .or_else(|| cast(&serdes::i64()))
        .or_else(|| cast(&serdes::i32()))
        .or_else(|| cast(&serdes::i16()))
        .or_else(|| cast(&serdes::f64()))
        .or_else(|| cast(&serdes::f32()))
        .or_else(|| cast(&serdes::bool()))
        .or_else(|| cast(&serdes::uuid()))
        .or_else(|| cast(&serdes::bytes()))
        .or_else(|| cast(&serdes::byte_vec()))
}
