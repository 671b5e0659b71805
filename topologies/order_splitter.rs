//! `order-splitter`: one order becomes an event for each of its items and a summary.
//!
//! Shows a fan-out in one transaction: all events of an order are there or none. Items carry their number and how many
//! there are, so that a reader knows when it has them all, and keep the order's key, so that they stay in order. An order
//! that can't be split goes to the dead-letter topic with the reason in its headers.
//!
//! Use it where readers want parts (stock wants items, billing wants sums). When all readers want the whole order, leave
//! it whole: what was split has to be put together again, see `order-aggregator`.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::{Fault, Result},
    operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord},
    topology::{Consumed, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

pub const ENTRY: Entry = Entry {
    name: "order-splitter",
    about: "one order becomes an event per item and a summary event",
    inputs: &[Topic::new("orders", Format::String, Format::Json)],
    outputs: &[
        Topic::new("order-items", Format::String, Format::Json),
        Topic::new("order-summaries", Format::String, Format::Json),
        Topic::new("orders-rejected", Format::String, Format::Json),
    ],
    settings: &[
        ("deserialization.exception.handler", "continue"),
        ("processing.exception.handler", "continue"),
        ("errors.dead.letter.queue.topic.name", "orders-rejected"),
    ],
    build,
};

/// An order, keyed by its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    customer: String,
    items: Vec<Item>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Item {
    sku: String,
    quantity: i64,
    cents_each: i64,
}

/// One item of an order, number `item` of `of` counted from 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ItemOrdered {
    item: usize,
    of: usize,
    sku: String,
    quantity: i64,
    cents: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Summary {
    customer: String,
    items: usize,
    quantity: i64,
    cents: i64,
}

/// Lets sound orders through.
struct Check;

impl FixedKeyProcessor<String, Order, Order> for Check {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, Order>,
        record: FixedKeyRecord<'_, String, Order>,
    ) -> Result<()> {
        let order = record.value().ok_or_else(|| Fault::skip("an order that is null"))?;
        if order.items.is_empty() {
            return Err(Fault::skip("an order without items"));
        }
        if let Some(item) = order.items.iter().find(|item| item.quantity < 1 || item.cents_each < 0) {
            return Err(Fault::skip(format!("{} of item {} for {}", item.quantity, item.sku, item.cents_each)));
        }
        cx.forward(record)
    }
}

fn cents(item: &Item) -> i64 {
    item.quantity.saturating_mul(item.cents_each)
}

fn items(order: &Order) -> Vec<ItemOrdered> {
    let of = order.items.len();
    let items = order.items.iter().enumerate();
    items
        .map(|(at, i)| ItemOrdered { item: at + 1, of, sku: i.sku.clone(), quantity: i.quantity, cents: cents(i) })
        .collect()
}

fn summary(order: &Order) -> Summary {
    Summary {
        customer: order.customer.clone(),
        items: order.items.len(),
        quantity: order.items.iter().map(|item| item.quantity).sum(),
        cents: order.items.iter().fold(0, |sum, item| sum.saturating_add(cents(item))),
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    let orders = builder
        .stream_with(params.input(0), Consumed::with(text(), serdes::json::<Order>()))
        .process_values(|| Check, &[]);
    orders
        .flat_map_values(|order| order.map_or_else(Vec::new, items))
        .to_with(params.output(0), Produced::with(text(), serdes::json()));
    orders.map_values(|order| order.map(summary)).to_with(params.output(1), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn an_order_gives_its_items_and_a_summary() {
        let mut driven = Driven::new(&ENTRY);
        let item = |sku: &str, quantity: i64| json!({"sku": sku, "quantity": quantity, "cents_each": 150});
        let order = json!({"customer": "ann", "items": [item("pen", 2), item("ink", 1)]});
        let items = driven.pipe(0, json!("o1"), order);
        let of = |item: i64, sku: &str, quantity: i64| {
            let value = json!({"item": item, "of": 2, "sku": sku, "quantity": quantity, "cents": 150 * quantity});
            (json!("o1"), value)
        };
        assert_eq!(items, [of(1, "pen", 2), of(2, "ink", 1)]);
        let summary = json!({"customer": "ann", "items": 2, "quantity": 3, "cents": 450});
        assert_eq!(driven.read(1), [(json!("o1"), summary)]);
    }

    #[test]
    fn what_is_no_order_is_kept_with_the_reason() {
        let mut driven = Driven::new(&ENTRY);
        let free = json!({"sku": "pen", "quantity": 0, "cents_each": 1});
        let orders = [json!({"customer": "ann", "items": []}), json!({"customer": "ann", "items": [free]}), json!(7)];
        for order in orders {
            assert_eq!(driven.pipe(0, json!("o1"), order), []);
        }
        let reasons = driven.read_header(2, "__streams.errors.message");
        assert_eq!(reasons[..2], ["an order without items", "0 of item pen for 1"]);
        assert_eq!(reasons.len(), 3);
    }
}
