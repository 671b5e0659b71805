//! `order-choreography`: stock, payment, shipment and order service lead an order to its end by reacting to each other.
//!
//! ```text
//! orders -> stock -> stock-events -> payment -> payment-events -> shipping -> shipment-events
//!             ^                        ^  |                                        |   |
//!             |                        +--|------------- failed: refund -----------+   |
//!             +---- declined or refunded: release                                      |
//! order-status <- order service <- out of stock or released: cancelled; shipped: completed
//! ```
//!
//! Shows a saga without a leader. Each service is one rule: what it did last for this order, and what it hears, give what
//! it does; it tells that as an event which carries the order. What goes wrong runs back the same way, in reverse. As a
//! service remembers what it did, an event that comes again does nothing.
//!
//! Use it for short chains that seldom change. Nobody sees the whole: for time-outs, and to answer where an order stands,
//! use `order-saga`. In life the services are four programs, with a topology and rows of their own that expire with the
//! orders; here they share one, so that it can be run and tested.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord},
    topology::{Consumed, KStream, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

pub const ENTRY: Entry = Entry {
    name: "order-choreography",
    about: "an order reserved, charged and shipped, or undone in reverse, by services that only react to events",
    inputs: &[
        Topic::new("orders", Format::String, Format::Json),
        Topic::new("stock-events", Format::String, Format::Json),
        Topic::new("payment-events", Format::String, Format::Json),
        Topic::new("shipment-events", Format::String, Format::Json),
    ],
    outputs: &[
        Topic::new("stock-events", Format::String, Format::Json),
        Topic::new("payment-events", Format::String, Format::Json),
        Topic::new("shipment-events", Format::String, Format::Json),
        Topic::new("order-status", Format::String, Format::Json),
    ],
    settings: &[],
    build,
};

/// An order, keyed by its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    customer: String,
    quantity: i64,
    cents: i64,
    country: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Placed,
    Reserved,
    OutOfStock,
    Paid,
    Declined,
    Shipped,
    ShipmentFailed,
    Refunded,
    Released,
    Completed,
    Cancelled,
}

/// What happened to an order, which it carries, so that nobody has to ask for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Event {
    event: What,
    order: Order,
}

/// A rule: what a service did last for the order, what it hears, and what it does then.
type Rule = fn(Option<What>, &Event) -> Option<What>;

fn stock(last: Option<What>, heard: &Event) -> Option<What> {
    match (last, heard.event) {
        (None, What::Placed) => Some(if heard.order.quantity <= 10 { What::Reserved } else { What::OutOfStock }),
        (Some(What::Reserved), What::Declined | What::Refunded) => Some(What::Released),
        _ => None,
    }
}

fn payment(last: Option<What>, heard: &Event) -> Option<What> {
    match (last, heard.event) {
        (None, What::Reserved) => Some(if heard.order.cents <= 100_000 { What::Paid } else { What::Declined }),
        (Some(What::Paid), What::ShipmentFailed) => Some(What::Refunded),
        _ => None,
    }
}

fn shipping(last: Option<What>, heard: &Event) -> Option<What> {
    match (last, heard.event) {
        (None, What::Paid) if heard.order.country == "IT" => Some(What::Shipped),
        (None, What::Paid) => Some(What::ShipmentFailed),
        _ => None,
    }
}

fn orders(last: Option<What>, heard: &Event) -> Option<What> {
    match (last, heard.event) {
        (None, What::Shipped) => Some(What::Completed),
        (None, What::OutOfStock | What::Released) => Some(What::Cancelled),
        _ => None,
    }
}

/// A service: its rule, and the store of what it did last for each order.
struct Service {
    done: &'static str,
    rule: Rule,
}

impl FixedKeyProcessor<String, Event, Event> for Service {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, Event>,
        record: FixedKeyRecord<'_, String, Event>,
    ) -> Result<()> {
        let (Some(id), Some(heard)) = (record.key(), record.value()) else { return Ok(()) };
        let mut done = cx.store::<String, What>(self.done)?;
        let Some(event) = (self.rule)(done.get(id)?, heard) else { return Ok(()) };
        done.put(id, &event)?;
        cx.forward(record.with_value(Some(&Event { event, order: heard.order.clone() })))
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    let stream = |index| builder.stream_with(params.input(index), Consumed::with(text(), serdes::json::<Event>()));
    let placed = builder
        .stream_with(params.input(0), Consumed::with(text(), serdes::json::<Order>()))
        .map_values(|order| order.map(|order| Event { event: What::Placed, order: order.clone() }));
    let (stock_events, payment_events, shipment_events) = (stream(1), stream(2), stream(3));
    let service = |hears: &KStream<String, Event>, done: &'static str, rule: Rule, tells: usize| {
        builder.add_state_store(StoreBuilder::key_value(done, text(), serdes::json::<What>()));
        let says = hears.process_values(move || Service { done, rule }, &[done]);
        says.to_with(params.output(tells), Produced::with(text(), serdes::json()));
    };
    service(&placed.merge(&payment_events), "stock-done", stock, 0);
    service(&stock_events.merge(&shipment_events), "payments-done", payment, 1);
    service(&payment_events, "shipments-done", shipping, 2);
    service(&stock_events.merge(&shipment_events), "orders-done", orders, 3);
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::{Value, json};

    fn order(quantity: i64, cents: i64, country: &str) -> Value {
        json!({"customer": "ann", "quantity": quantity, "cents": cents, "country": country})
    }

    /// Stock, payment and shipment events, and the end of an order.
    fn events(driven: &mut Driven) -> [String; 4] {
        [0, 1, 2, 3].map(|output| {
            let events = driven.read(output);
            events.iter().filter_map(|(_, e)| e["event"].as_str()).collect::<Vec<_>>().join(" ")
        })
    }

    const CASES: [(i64, i64, &str, [&str; 4]); 4] = [
        (1, 900, "IT", ["reserved", "paid", "shipped", "completed"]),
        (11, 900, "IT", ["out-of-stock", "", "", "cancelled"]),
        (1, 100_001, "IT", ["reserved released", "declined", "", "cancelled"]),
        (1, 900, "XX", ["reserved released", "paid refunded", "shipment-failed", "cancelled"]),
    ];

    #[test]
    fn a_failure_at_every_step_is_undone_in_reverse() {
        for (quantity, cents, country, expected) in CASES {
            let mut driven = Driven::new(&ENTRY);
            driven.pipe_at(0, json!("o1"), order(quantity, cents, country), 0);
            assert_eq!(events(&mut driven), expected);
            driven.driver.crash().unwrap();
            driven.pipe_at(0, json!("o1"), order(quantity, cents, country), 1);
            assert_eq!(events(&mut driven), [""; 4], "the order comes again");
        }
    }

    #[test]
    fn an_event_that_comes_again_does_nothing() {
        let mut driven = Driven::new(&ENTRY);
        driven.pipe_at(0, json!("o1"), order(1, 900, "XX"), 0);
        events(&mut driven);
        for (input, event) in [(1, "reserved"), (2, "paid"), (3, "shipment-failed"), (2, "refunded"), (1, "released")] {
            let event = json!({"event": event, "order": order(1, 900, "XX")});
            driven.driver.crash().unwrap();
            driven.pipe_at(input, json!("o1"), event, 1);
            let told: usize = events(&mut driven).iter().map(|e| e.split_whitespace().count()).sum();
            assert_eq!(told, 1, "only what was piped in");
        }
    }
}
