//! `invoices`: orders with their customers, and what was paid for them in any currency.
//!
//! ```text
//! rates (global) ----+
//! payments ---- in euros ---- sessions per order ---- until closed ---- sum per order ----+
//!                   |                                      |                              |
//!                 ledger                               receipts                           |
//! orders ---- by foreign key ---- with their customer ---------------------------- left join ---- invoices
//! customers ------+
//! ```

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::SessionWindows,
    record::Windowed,
    topology::{
        BufferConfig, Consumed, Grouped, Materialized, Produced, StreamsBuilder, Suppressed, TableJoined, Topology,
    },
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Payments of one order that are no further apart are instalments: they share a receipt.
const GAP: Duration = Duration::from_secs(600);
/// Payments up to this late still change a receipt.
const GRACE: Duration = Duration::from_secs(300);
const MILLION: i64 = 1_000_000;

pub const ENTRY: Entry = Entry {
    name: "invoices",
    about: "orders with their customers, and what was paid for them in any currency",
    inputs: &[
        Topic::new("orders", Format::String, Format::Json),
        Topic::new("customers", Format::String, Format::Json),
        Topic::new("payments", Format::String, Format::Json),
        Topic::new("rates", Format::String, Format::Json),
    ],
    outputs: &[
        Topic::new("invoices", Format::String, Format::Json),
        Topic::new("receipts", Format::String, Format::Json),
        Topic::new("ledger", Format::String, Format::Json),
    ],
    settings: &[],
    build,
};

/// An order, keyed by its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    customer: String,
    cents: i64,
}

/// A customer, keyed by its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Customer {
    name: String,
    city: String,
}

/// A payment, keyed by the id of its order; `ts` is its event time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Payment {
    currency: String,
    cents: i64,
    ts: i64,
}

/// What one unit of a currency, the key, is worth in millionths of a euro.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rate {
    micros: i64,
}

/// A payment in euros.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Booking {
    cents: i64,
    currency: String,
}

/// Sum and number of payments.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Paid {
    cents: i64,
    payments: i64,
}

impl Paid {
    fn plus(self, cents: i64, payments: i64) -> Self {
        Self { cents: self.cents.saturating_add(cents), payments: self.payments + payments }
    }
}

/// The payments of an order that belong together, once no more can come. `from` and `to` are event times.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Receipt {
    cents: i64,
    payments: i64,
    from: i64,
    to: i64,
}

/// An order with its customer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sale {
    name: String,
    city: String,
    cents: i64,
}

/// What a customer owes for an order. Only closed receipts count as paid.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Invoice {
    name: String,
    city: String,
    cents: i64,
    paid_cents: i64,
    payments: i64,
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    let (booking, receipt) = (serdes::json::<Booking>(), serdes::json::<Receipt>());

    let orders = builder.table_with(
        params.input(0),
        Consumed::with(text(), serdes::json::<Order>()),
        Materialized::as_store("orders"),
    );
    let customers = builder.table_with(
        params.input(1),
        Consumed::with(text(), serdes::json::<Customer>()),
        Materialized::as_store("customers"),
    );
    let rates = builder.global_table_with(
        params.input(3),
        Consumed::with(text(), serdes::json::<Rate>()),
        Materialized::as_store("rates"),
    );
    let payments = Consumed::with(text(), serdes::json::<Payment>())
        .timestamp_extractor(|_, payment, broker, _| payment.map_or(broker, |p: &Payment| p.ts));

    // Rates are taken as they are when the payment is processed; one in a currency without a rate is left out.
    let euros = builder.stream_with(params.input(2), payments).join_global(
        &rates,
        |_, payment| Some(payment.currency.clone()),
        |_, payment, rate| {
            let cents = i128::from(payment.cents) * i128::from(rate.micros) / i128::from(MILLION);
            Some(Booking { cents: i64::try_from(cents).ok()?, currency: payment.currency.clone() })
        },
    );
    euros.to_with(params.output(2), Produced::with(text(), booking.clone()));

    let receipts = euros
        .group_by_key_with(Grouped::with(text(), booking))
        .windowed_by(SessionWindows::of_inactivity_gap_and_grace(GAP, GRACE))
        .aggregate_with(
            Paid::default,
            |_, booking, paid: Paid| Some(paid.plus(booking.map_or(0, |b: &Booking| b.cents), 1)),
            |_, a, b| a.plus(b.cents, b.payments),
            // Each update goes on at once, so that what closes a receipt are payments, and not the time of a commit.
            Materialized::as_store("sessions")
                .with_key_serde(text())
                .with_value_serde(serdes::json())
                .with_caching_disabled(),
        )
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("open-receipts"))
        .to_stream()
        .map(|session: Option<&Windowed<String>>, paid: Option<&Paid>| {
            let receipt = session.zip(paid).map(|(session, paid)| Receipt {
                cents: paid.cents,
                payments: paid.payments,
                from: session.start,
                to: session.end,
            });
            (session.map(|s| s.key.clone()), receipt)
        });
    receipts.to_with(params.output(1), Produced::with(text(), receipt.clone()));
    let paid = receipts.group_by_key_with(Grouped::with(text(), receipt).name("by-order")).aggregate_with(
        Paid::default,
        |_, receipt, paid: Paid| receipt.map(|r: &Receipt| paid.plus(r.cents, r.payments)),
        Materialized::as_store("paid").with_key_serde(text()).with_value_serde(serdes::json()),
    );

    orders
        .foreign_key_join_with(
            &customers,
            |_, order| Some(order.customer.clone()),
            |order, customer| {
                Some(Sale { name: customer.name.clone(), city: customer.city.clone(), cents: order.cents })
            },
            TableJoined::with_name("customers-of-orders"),
            Materialized::as_store("sales").with_key_serde(text()).with_value_serde(serdes::json()),
        )
        .left_join(&paid, |sale, paid| {
            let (paid_cents, payments) = paid.map_or((0, 0), |p| (p.cents, p.payments));
            let (name, city) = (sale.name.clone(), sale.city.clone());
            Some(Invoice { name, city, cents: sale.cents, paid_cents, payments })
        })
        .to_stream()
        .to_with(params.output(0), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::{Value, json};

    const MINUTE: i64 = 60_000;
    const ORDERS: usize = 0;
    const CUSTOMERS: usize = 1;
    const PAYMENTS: usize = 2;
    const RATES: usize = 3;

    fn scene() -> Driven {
        let mut driven = Driven::new(&ENTRY);
        driven.pipe(RATES, json!("EUR"), json!({"micros": 1_000_000}));
        driven.pipe(RATES, json!("USD"), json!({"micros": 900_000}));
        driven
    }

    fn pay(driven: &mut Driven, order: &str, cents: i64, currency: &str, minute: i64) -> Vec<(Value, Value)> {
        let payment = json!({"currency": currency, "cents": cents, "ts": minute * MINUTE});
        driven.pipe(PAYMENTS, json!(order), payment)
    }

    fn invoice(order: &str, name: &str, cents: i64, paid: (i64, i64)) -> (Value, Value) {
        let (paid_cents, payments) = paid;
        let value =
            json!({"name": name, "city": "Rome", "cents": cents, "paid_cents": paid_cents, "payments": payments});
        (json!(order), value)
    }

    #[test]
    fn an_invoice_follows_its_order_and_its_customer() {
        let mut driven = scene();
        let customer = |name: &str| json!({"name": name, "city": "Rome"});
        assert_eq!(driven.pipe(ORDERS, json!("o1"), json!({"customer": "c1", "cents": 900})), []);
        assert_eq!(driven.pipe(CUSTOMERS, json!("c1"), customer("Ann")), [invoice("o1", "Ann", 900, (0, 0))]);
        driven.pipe(CUSTOMERS, json!("c2"), customer("Bob"));
        let moved = driven.pipe(ORDERS, json!("o1"), json!({"customer": "c2", "cents": 900}));
        assert_eq!(moved.last(), Some(&invoice("o1", "Bob", 900, (0, 0))));
        assert_eq!(driven.pipe(CUSTOMERS, json!("c1"), customer("Anna")), []);
        assert_eq!(driven.pipe(CUSTOMERS, json!("c2"), json!(null)), [(json!("o1"), json!(null))]);
    }

    #[test]
    fn payments_count_once_their_receipt_is_closed() {
        let mut driven = scene();
        driven.pipe(CUSTOMERS, json!("c1"), json!({"name": "Ann", "city": "Rome"}));
        driven.pipe(ORDERS, json!("o1"), json!({"customer": "c1", "cents": 900}));
        assert_eq!(pay(&mut driven, "o1", 100, "EUR", 0), []);
        assert_eq!(pay(&mut driven, "o1", 100, "GBP", 1), [], "a currency without a rate");
        assert_eq!(pay(&mut driven, "o1", 200, "USD", 14), []);
        // Late, and it joins two sessions to one.
        assert_eq!(pay(&mut driven, "o1", 50, "EUR", 7), []);
        assert_eq!(pay(&mut driven, "o2", 1, "EUR", 28), []);
        assert_eq!(pay(&mut driven, "o2", 1, "EUR", 30), [invoice("o1", "Ann", 900, (330, 3))]);
        assert_eq!(pay(&mut driven, "o1", 70, "EUR", 2), [], "too late");
        let receipts = driven.driver.read_raw("receipts").unwrap();
        let receipt: Value = serde_json::from_slice(receipts[0].value.as_ref().unwrap()).unwrap();
        assert_eq!(receipt, json!({"cents": 330, "payments": 3, "from": 0, "to": 14 * MINUTE}));
        assert_eq!((receipts.len(), driven.driver.read_raw("ledger").unwrap().len()), (1, 6));
    }
}
