//! Both sides of a join have keys of one type. Kafka Streams: rows never meet, as their bytes differ, where casts or
//! default serdes hide the types.

use millstream::topology::StreamsBuilder;

fn main() {
    let builder = StreamsBuilder::new();
    let (orders, customers) = (builder.table::<i64, String>("orders"), builder.table::<String, String>("customers"));
    orders.join(
        &customers, //~ E0308
        |order, customer: &String| Some(format!("{order} {customer}")),
    );
}
