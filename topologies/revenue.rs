//! `revenue`: orders joined with the products table, revenue per category and hour.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::TimeWindows,
    topology::{Consumed, Grouped, Joined, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_MS: i64 = 3_600_000;
/// Orders up to this late still count.
const GRACE: Duration = Duration::from_secs(1_800);

pub const ENTRY: Entry = Entry {
    name: "revenue",
    about: "orders joined with products: hourly revenue per category, in cents",
    inputs: &[Topic::new("orders", Format::String, Format::Json), Topic::new("products", Format::String, Format::Json)],
    outputs: &[Topic::new("revenue", Format::Windowed { size_ms: HOUR_MS }, Format::Long)],
    settings: &[],
    build,
};

/// An order; `ts` is its event time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    product: String,
    quantity: i64,
    ts: i64,
}

/// A product, keyed by its id; `since` is the event time of this version in milliseconds. An order meets the version
/// that is known when it is processed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Product {
    category: String,
    price_cents: i64,
    #[serde(default)]
    since: i64,
}

/// An order with what the products table knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sale {
    category: String,
    cents: i64,
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (order, product, sale) = (serdes::json::<Order>(), serdes::json::<Product>(), serdes::json::<Sale>());
    let products = builder.table_with(
        params.input(1),
        Consumed::with(serdes::string(), product)
            .timestamp_extractor(|_, product, broker, _| product.map_or(broker, |p: &Product| p.since)),
        Materialized::as_store("products"),
    );
    let orders = Consumed::with(serdes::string(), order.clone())
        .timestamp_extractor(|_, order, broker, _| order.map_or(broker, |o: &Order| o.ts));
    builder
        .stream_with(params.input(0), orders)
        .select_key(|_, order| order.map(|o: &Order| o.product.clone()))
        .join_with(
            &products,
            |_, order: &Order, product: &Product| {
                let cents = order.quantity.saturating_mul(product.price_cents);
                Some(Sale { category: product.category.clone(), cents })
            },
            Joined::with(serdes::string(), order).name("by-product"),
        )
        .group_by_with(
            |_, sale| sale.map(|s: &Sale| s.category.clone()),
            Grouped::with(serdes::string(), sale).name("by-category"),
        )
        .windowed_by(TimeWindows::of_size_and_grace(HOUR, GRACE))
        .aggregate_with(
            || 0,
            |_, sale, cents: i64| Some(cents.saturating_add(sale.map_or(0, |s: &Sale| s.cents))),
            Materialized::as_store("revenue").with_key_serde(serdes::string()).with_value_serde(serdes::i64()),
        )
        .to_stream()
        .to_with(params.output(0), Produced::with(serdes::windowed(serdes::string(), HOUR_MS), serdes::i64()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Driven, last, run};
    use serde_json::json;

    const PRODUCTS: &str = r#"
{"key":"pen","value":{"category":"office","price_cents":150}}
{"key":"ink","value":{"category":"office","price_cents":700}}
{"key":"tea","value":{"category":"food","price_cents":400}}
"#;

    fn order(product: &str, quantity: i64, minute: i64) -> String {
        format!("{{\"product\":\"{product}\",\"quantity\":{quantity},\"ts\":{}}}\n", minute * 60_000)
    }

    #[test]
    fn sums_per_category_and_hour_with_late_orders() {
        let orders = [
            order("pen", 2, 1),
            order("tea", 1, 2),
            order("ink", 1, 59),
            order("tea", 3, 61),
            order("pen", 10, 40), // late, within grace
            order("gum", 1, 62),  // no such product
            order("ink", 1, 95),  // closes the first hour for its category
            order("ink", 100, 5), // too late
        ]
        .concat();
        let revenue = last(&run(&ENTRY, &[&orders, PRODUCTS]));
        let hour =
            |category: &str, start: i64| json!({"key": category, "start": start, "end": start + HOUR_MS}).to_string();
        assert_eq!(revenue[&hour("office", 0)], json!(2 * 150 + 700 + 10 * 150));
        assert_eq!(revenue[&hour("food", 0)], json!(400));
        assert_eq!(revenue[&hour("food", HOUR_MS)], json!(1200));
        assert_eq!(revenue[&hour("office", HOUR_MS)], json!(700));
        assert_eq!(revenue.len(), 4);
    }

    #[test]
    fn an_order_gets_the_price_of_its_moment() {
        let mut driven = Driven::new(&ENTRY);
        let tea = |cents: i64| json!({"category": "food", "price_cents": cents});
        let order = json!({"product": "tea", "quantity": 1, "ts": 60_000});
        assert_eq!(driven.pipe(0, json!(null), order.clone()), []);
        driven.pipe(1, json!("tea"), tea(400));
        let window = json!({"key": "food", "start": 0, "end": HOUR_MS});
        assert_eq!(driven.pipe(0, json!(null), order.clone()), [(window.clone(), json!(400))]);
        driven.pipe(1, json!("tea"), tea(500));
        assert_eq!(driven.pipe(0, json!(null), order.clone()), [(window, json!(900))]);
        driven.pipe(1, json!("tea"), json!(null));
        assert_eq!(driven.pipe(0, json!(null), order), []);
    }
}
