//! A topic without a name. Kafka Streams: NullPointerException when the topology is built.

use millstream::topology::StreamsBuilder;

fn main() {
    let topic: Option<&str> = None;
    StreamsBuilder::new().stream::<String, String>(topic); //~ E0277
}
