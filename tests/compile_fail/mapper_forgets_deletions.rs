//! Values may be null. Kafka Streams: NullPointerException in the mapper.

use millstream::topology::StreamsBuilder;

fn main() {
    let words = StreamsBuilder::new().stream::<String, String>("words");
    words.map_values(|word| {
        Some(word.to_uppercase()) //~ E0599
    });
}
