//! A sink whose topic is not there for some records. Kafka Streams: StreamsException when such a record comes.

use millstream::topology::StreamsBuilder;

fn main() {
    let words = StreamsBuilder::new().stream::<String, String>("words");
    words.to_topic_of(|_, word: Option<&String>| {
        word.cloned() //~ E0308
    });
}
