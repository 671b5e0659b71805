//! What operators can be told beyond their closures, in Kafka Streams' words.

/// The fields `key`, `value` and `name` that most options have: each can be set from the start or later. `$what` is what
/// the name names.
macro_rules! serdes_and_name {
    ($options:ident, $what:literal) => {
        impl<K, V> $options<K, V> {
            /// With these serdes.
            pub fn with(key: crate::codec::Serde<K>, value: crate::codec::Serde<V>) -> Self {
                Self { key: Some(key), value: Some(value), ..Self::default() }
            }

            #[doc = concat!("With the default serdes of the types and a name for ", $what, ".")]
            pub fn with_name(name: impl Into<String>) -> Self {
                Self { name: Some(name.into()), ..Self::default() }
            }

            /// Sets the serde of keys.
            #[must_use]
            pub fn key_serde(self, key: crate::codec::Serde<K>) -> Self {
                Self { key: Some(key), ..self }
            }

            /// Sets the serde of values.
            #[must_use]
            pub fn value_serde(self, value: crate::codec::Serde<V>) -> Self {
                Self { value: Some(value), ..self }
            }

            #[doc = concat!("Names ", $what, ".")]
            #[must_use]
            pub fn name(self, name: impl Into<String>) -> Self {
                Self { name: Some(name.into()), ..self }
            }
        }
    };
}

mod consumed;
mod grouped;
mod joined;
mod materialized;
mod produced;
mod repartitioned;
mod retry;
mod stream_joined;
mod suppressed;
mod table_joined;

pub use consumed::Consumed;
pub use grouped::Grouped;
pub use joined::Joined;
pub use materialized::Materialized;
pub use produced::Produced;
pub use repartitioned::Repartitioned;
pub use retry::Retry;
pub use stream_joined::StreamJoined;
pub(crate) use suppressed::Until;
pub use suppressed::{BufferConfig, Eager, Strict, Suppressed};
pub use table_joined::TableJoined;
