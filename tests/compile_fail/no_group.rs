//! A row of no group. Kafka Streams: NullPointerException where the mapper gives no pair; here the pair has no parts.

use millstream::topology::StreamsBuilder;

fn main() {
    let towns = StreamsBuilder::new().table::<String, String>("towns");
    towns.group_by(|_, town: &String| -> (Option<String>, Option<i64>) {
        if town.is_empty() {
            return None; //~ E0308
        }
        (Some(town.clone()), Some(1))
    });
}
