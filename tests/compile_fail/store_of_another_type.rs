//! A count is a number. Kafka Streams: ClassCastException in the serde of a store that is only named.

use millstream::{
    codec::serdes,
    topology::{Materialized, StreamsBuilder},
};

fn main() {
    let grouped = StreamsBuilder::new().stream::<String, String>("words").group_by_key();
    let store = Materialized::<String, String>::as_store("counts").with_value_serde(serdes::string());
    grouped.count_with(
        store, //~ E0308
    );
}
