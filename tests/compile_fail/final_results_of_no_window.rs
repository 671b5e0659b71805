//! Only windows close. Kafka Streams: TopologyException ("no windowed operation upstream"), or a ClassCastException.

use millstream::topology::{BufferConfig, StreamsBuilder, Suppressed};

fn main() {
    let counts = StreamsBuilder::new().stream::<String, String>("words").group_by_key().count();
    counts.suppress(
        Suppressed::until_window_closes(BufferConfig::unbounded()), //~ E0308
    );
}
