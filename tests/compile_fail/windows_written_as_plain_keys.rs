//! The key of a windowed table has a window. Kafka Streams: ClassCastException in the default serde when the first result
//! is written.

use millstream::{
    codec::serdes,
    operator::TimeWindows,
    topology::{Produced, StreamsBuilder},
};
use std::time::Duration;

fn main() {
    let grouped = StreamsBuilder::new().stream::<String, String>("words").group_by_key();
    let counts = grouped.windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60))).count();
    let (counts, produced) = (counts.to_stream(), Produced::with(serdes::string(), serdes::i64()));
    counts.to_with("counts", produced); //~ E0308
}
