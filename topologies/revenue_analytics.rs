//! `revenue-analytics`: orders, payments and stock of a shop in one report, every ten seconds.
//!
//! Shows three topics in one state: totals, the share of payments that succeed, and the orders of the last minute, which
//! slides. A schedule of stream time writes a report per shop every ten seconds; the last one also lies in the store
//! `reports`, where a query finds the very figures that the topic has. All of it is one transaction, so totals agree with
//! each other in every report, over crashes too.
//!
//! Use it for figures that belong together. As time is that of the events, a replay gives the same reports, and a shop
//! where nothing happens writes none. For a figure by itself an `aggregate` is shorter.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{Processor, ProcessorContext, Punctuation, ScheduleId},
    record::{Record, Timestamp},
    topology::{Consumed, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;
const REPORT_EVERY: Duration = Duration::from_secs(10);

pub const ENTRY: Entry = Entry {
    name: "revenue-analytics",
    about: "orders, payments and stock of a shop in one report every 10 seconds",
    inputs: &[
        Topic::new("shop-orders", Format::String, Format::Json),
        Topic::new("shop-payments", Format::String, Format::Json),
        Topic::new("shop-stock", Format::String, Format::Json),
    ],
    outputs: &[Topic::new("shop-reports", Format::String, Format::Json)],
    settings: &[],
    build,
};

/// An order, keyed by its shop as all three are.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    cents: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Payment {
    cents: i64,
    ok: bool,
}

/// A change of what is in stock: negative when something is taken out.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stock {
    quantity: i64,
}

enum Event {
    Order(Order),
    Payment(Payment),
    Stock(Stock),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Totals {
    orders: i64,
    ordered_cents: i64,
    payments: i64,
    failed_payments: i64,
    revenue_cents: i64,
    in_stock: i64,
}

/// What goes out; the success rate in hundredths of a percent, absent before the first payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    #[serde(flatten)]
    totals: Totals,
    success_rate_bp: Option<i64>,
    orders_last_minute: i64,
}

struct Analyst;

impl Processor<String, Event, String, Report> for Analyst {
    fn init(&mut self, cx: &mut ProcessorContext<'_, String, Report>) -> Result<()> {
        cx.schedule(REPORT_EVERY, Punctuation::StreamTime).map(drop)
    }

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Report>,
        record: Record<'_, String, Event>,
    ) -> Result<()> {
        let (Some(shop), Some(event)) = (record.key, record.value) else { return Ok(()) };
        let mut totals = cx.store::<String, Totals>("totals")?.get(shop)?.unwrap_or_default();
        match event {
            Event::Order(Order { cents }) => {
                totals.orders += 1;
                totals.ordered_cents += cents;
                // Orders of the same millisecond share a row, which counts them.
                let at = record.timestamp;
                let mut recent = cx.window_store::<String, i64>("recent-orders")?;
                let same = recent.fetch(shop, at)?.map_or(0, |row| row.value);
                recent.put(shop, Some(&(same + 1)), at, at)?;
            }
            Event::Payment(Payment { cents, ok: true }) => {
                totals.payments += 1;
                totals.revenue_cents += cents;
            }
            Event::Payment(Payment { ok: false, .. }) => {
                totals.payments += 1;
                totals.failed_payments += 1;
            }
            Event::Stock(Stock { quantity }) => totals.in_stock += quantity,
        }
        cx.store::<String, Totals>("totals")?.put(shop, &totals)
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Report>,
        _: ScheduleId,
        now: Timestamp,
    ) -> Result<()> {
        for (shop, totals) in cx.store::<String, Totals>("totals")?.all()? {
            let rows = cx.window_store::<String, i64>("recent-orders")?.fetch_range(&shop, now - MINUTE_MS + 1, now)?;
            let orders_last_minute = rows.iter().map(|(_, row)| row.value).sum();
            let good = totals.payments - totals.failed_payments;
            let success_rate_bp = (totals.payments > 0).then(|| good * 10_000 / totals.payments.max(1));
            let report = Report { totals, success_rate_bp, orders_last_minute };
            let mut reports = cx.store::<String, Report>("reports")?;
            if reports.get(&shop)?.as_ref() != Some(&report) {
                reports.put(&shop, &report)?;
                cx.forward(Record::new(Some(&shop), Some(&report), now))?;
            }
        }
        Ok(())
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    builder.add_state_store(StoreBuilder::key_value("totals", text(), serdes::json::<Totals>()));
    builder.add_state_store(StoreBuilder::key_value("reports", text(), serdes::json::<Report>()));
    builder.add_state_store(StoreBuilder::window("recent-orders", MINUTE * 10, MINUTE, text(), serdes::i64()));
    let orders = builder.stream_with(params.input(0), Consumed::with(text(), serdes::json::<Order>()));
    let payments = builder.stream_with(params.input(1), Consumed::with(text(), serdes::json::<Payment>()));
    let stock = builder.stream_with(params.input(2), Consumed::with(text(), serdes::json::<Stock>()));
    orders
        .map_values(|order| order.cloned().map(Event::Order))
        .merge(&payments.map_values(|payment| payment.cloned().map(Event::Payment)))
        .merge(&stock.map_values(|stock| stock.cloned().map(Event::Stock)))
        .process(|| Analyst, &["totals", "reports", "recent-orders"])
        .to_with(params.output(0), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn a_report_has_totals_rate_and_the_last_minute() {
        let mut driven = Driven::new(&ENTRY);
        driven.pipe_at(2, json!("rome"), json!({"quantity": 10}), 1_000);
        driven.pipe_at(0, json!("rome"), json!({"cents": 900}), 5_000);
        driven.pipe_at(0, json!("rome"), json!({"cents": 100}), 5_000);
        driven.pipe_at(1, json!("rome"), json!({"cents": 900, "ok": true}), 6_000);
        driven.pipe_at(1, json!("rome"), json!({"cents": 100, "ok": false}), 7_000);
        driven.pipe_at(2, json!("rome"), json!({"quantity": -2}), 8_000);
        driven.read(0);
        driven.pipe_at(0, json!("rome"), json!({"cents": 50}), 40_000);
        let report = json!({
            "orders": 3, "ordered_cents": 1_050, "payments": 2, "failed_payments": 1, "revenue_cents": 900,
            "in_stock": 8, "success_rate_bp": 5_000, "orders_last_minute": 3,
        });
        assert_eq!(driven.read(0), [(json!("rome"), report)]);
        driven.pipe_at(2, json!("rome"), json!({"quantity": 0}), 70_000);
        assert_eq!(driven.read(0)[0].1["orders_last_minute"], json!(1), "two have left the minute");
    }
}
