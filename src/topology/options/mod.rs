//! What operators can be told beyond their closures, in Kafka Streams' words.

mod consumed;
mod grouped;
mod joined;
mod materialized;
mod produced;
mod repartitioned;

pub use consumed::Consumed;
pub use grouped::Grouped;
pub use joined::Joined;
pub use materialized::Materialized;
pub use produced::Produced;
pub use repartitioned::Repartitioned;
