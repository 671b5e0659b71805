//! A left join has no right row where the table has none. Kafka Streams: NullPointerException in the joiner.

use millstream::topology::StreamsBuilder;

fn main() {
    let builder = StreamsBuilder::new();
    let (calls, names) = (builder.stream::<String, String>("calls"), builder.table::<String, String>("names"));
    let joined = calls.left_join(&names, |call, name| {
        Some(format!("{call} {}", name.to_uppercase())) //~ E0599
    });
    joined.to("out");
}
