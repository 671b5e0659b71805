//! Joins of streams, of foreign keys, and with a global table.

use super::{Chance, Play, both, key, keyed, maybe, ms};
use crate::{
    operator::JoinWindows,
    topology::{Consumed, Materialized, StreamsBuilder, TableJoined},
};

pub(super) const STREAMS: Play = Play {
    name: "stream-stream joins",
    inputs: &["left", "right"],
    before: 0,
    build: streams,
    optimizations: &[],
    record: keyed,
    restamped: &[],
    mixed: &[],
    linger_ms: 0,
};

fn streams(builder: &StreamsBuilder) {
    let left = builder.stream::<String, String>("left");
    let right = builder.stream::<String, String>("right");
    let near = JoinWindows::of_time_difference_and_grace(ms(60), ms(40));
    left.join_stream(&right, both, near).to("inner-out");
    left.left_join_stream(&right, |a, b| maybe(Some(a), b), near).to("left-out");
    left.outer_join_stream(&right, maybe, near).to("outer-out");
}

pub(super) const FOREIGN_KEYS: Play = Play {
    name: "foreign-key joins",
    inputs: &["orders", "customers"],
    before: 0,
    build: foreign_keys,
    optimizations: &[],
    record: order_or_customer,
    restamped: &[],
    mixed: &["inner-out", "left-out"],
    linger_ms: 0,
};

const CUSTOMERS: i64 = 5;

fn customer(order: &str) -> String {
    format!("c{}", order.parse::<i64>().map_or(0, |number| number % CUSTOMERS))
}

/// An order names its customer by its number.
fn order_or_customer(chance: &mut Chance, topic: usize, number: i64) -> (String, Option<String>) {
    let key = if topic == 0 { key(chance) } else { customer(&chance.below(100).to_string()) };
    (key, (!chance.one_in(5)).then(|| number.to_string()))
}

fn foreign_keys(builder: &StreamsBuilder) {
    // Without caches: one leaves out a row that came and went, although an order that was looked up meanwhile found it
    // (P-64; in Kafka Streams too).
    let uncached = |name: &str| Materialized::as_store(name).with_caching_disabled();
    let orders = builder.table_with::<String, String>("orders", Consumed::default(), uncached("orders"));
    let customers = builder.table_with::<String, String>("customers", Consumed::default(), uncached("customers"));
    // What is joined last is the same in every order only where each change is answered.
    let (converging, named) =
        (TableJoined::default().always_answered(), |_: &String, order: &String| Some(customer(order)));
    let inner = orders.foreign_key_join_with(&customers, named, both, converging, Materialized::default());
    inner.to_stream().to("inner-out");
    let left = |order: &String, customer: Option<&String>| maybe(Some(order), customer);
    orders.foreign_key_left_join(&customers, |order| Some(customer(order)), left).to_stream().to("left-out");
}

pub(super) const GLOBAL: Play = Play {
    name: "global table",
    inputs: &["names", "in"],
    before: 1,
    build: global,
    optimizations: &[],
    record: keyed,
    restamped: &[],
    mixed: &[],
    linger_ms: 0,
};

fn global(builder: &StreamsBuilder) {
    let names = builder.global_table::<String, String>("names");
    let input = builder.stream::<String, String>("in");
    input.join_global(&names, |key, _| key.cloned(), |_, a, b| both(a, b)).to("inner-out");
    let other = |_: Option<&String>, value: &String| Some(format!("k{}", value.len()));
    let joined = input.left_join_global(&names, other, |_, a, b| maybe(Some(a), b));
    joined.group_by_key().count().to_stream().to("count-out");
}
