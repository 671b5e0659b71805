//! `fraud-detector`: alerts when a user's running total crosses 10,000.00, and when payments come too fast.
//!
//! Shows a processor with two stores: one row per user, and a window store of the last minute. A crossing gives one alert
//! however many payments follow above the limit; refunds bring the total down, and the next crossing alerts again. State
//! and alerts are one transaction, so a crash neither loses an alert nor sends it twice.
//!
//! Use it where a rule needs more than one row or more than one clock. A rule that is a plain aggregate (sum per window
//! above a limit) is shorter in the DSL: `aggregate`, `filter`.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord},
    topology::{Consumed, Produced, StoreBuilder, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const LIMIT_CENTS: i64 = 1_000_000;
const BURST: i64 = 5;
const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;
/// How long payments are remembered, so that late ones are counted with those around them.
const RETENTION: Duration = Duration::from_secs(600);

pub const ENTRY: Entry = Entry {
    name: "fraud-detector",
    about: "alerts on a user's running total above 10,000 and on five payments in a minute",
    inputs: &[Topic::new("payments", Format::String, Format::Json)],
    outputs: &[
        Topic::new("fraud-alerts", Format::String, Format::Json),
        Topic::new("payments-rejected", Format::String, Format::Json),
    ],
    settings: &[
        ("deserialization.exception.handler", "continue"),
        ("errors.dead.letter.queue.topic.name", "payments-rejected"),
    ],
    build,
};

/// A payment, keyed by its user; a refund has negative cents. `ts` is its event time in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Payment {
    id: String,
    cents: i64,
    ts: i64,
}

/// What is known of a user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Account {
    total_cents: i64,
    /// Event time of the last alert for a burst: a burst gives one alert a minute.
    burst_at: Option<i64>,
}

/// An alert names the payment that set it off.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "alert", rename_all = "kebab-case")]
enum Alert {
    TotalAboveLimit { payment: String, total_cents: i64 },
    Burst { payment: String, payments_in_a_minute: i64 },
}

struct Detector;

impl FixedKeyProcessor<String, Payment, Alert> for Detector {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, Alert>,
        record: FixedKeyRecord<'_, String, Payment>,
    ) -> Result<()> {
        let (Some(user), Some(payment)) = (record.key(), record.value()) else { return Ok(()) };
        let now = record.timestamp();

        // Payments of the same millisecond share a row, which counts them.
        let mut recent = cx.window_store::<String, i64>("recent")?;
        let same = recent.fetch(user, now)?.map_or(0, |row| row.value);
        recent.put(user, Some(&(same + 1)), now, now)?;
        let rows = recent.fetch_range(user, now - MINUTE_MS + 1, now)?;
        let payments_in_a_minute = rows.iter().map(|(_, row)| row.value).sum::<i64>();

        let mut accounts = cx.store::<String, Account>("accounts")?;
        let mut account = accounts.get(user)?.unwrap_or_default();
        let before = account.total_cents;
        account.total_cents = before.saturating_add(payment.cents);
        let total_cents = account.total_cents;
        let burst =
            payments_in_a_minute >= BURST && account.burst_at.is_none_or(|last| (now - last).abs() >= MINUTE_MS);
        if burst {
            account.burst_at = Some(now);
        }
        accounts.put(user, &account)?;

        let payment = payment.id.clone();
        if before <= LIMIT_CENTS && total_cents > LIMIT_CENTS {
            let alert = Alert::TotalAboveLimit { payment: payment.clone(), total_cents };
            cx.forward(record.with_value(Some(&alert)))?;
        }
        if burst {
            cx.forward(record.with_value(Some(&Alert::Burst { payment, payments_in_a_minute })))?;
        }
        Ok(())
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let text = serdes::string;
    builder.add_state_store(StoreBuilder::key_value("accounts", text(), serdes::json::<Account>()));
    builder.add_state_store(StoreBuilder::window("recent", RETENTION, MINUTE, text(), serdes::i64()));
    let payments = Consumed::with(text(), serdes::json::<Payment>())
        .timestamp_extractor(|_, payment, broker, _| payment.map_or(broker, |p: &Payment| p.ts));
    builder
        .stream_with(params.input(0), payments)
        .process_values(|| Detector, &["accounts", "recent"])
        .to_with(params.output(0), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    fn alerts(payments: &[(i64, i64)]) -> Vec<String> {
        let mut driven = Driven::new(&ENTRY);
        let alert = |(cents, ts): &(i64, i64)| {
            let found = driven.pipe(0, json!("u"), json!({"id": "p", "cents": cents, "ts": ts}));
            found.iter().map(|(_, alert)| alert["alert"].as_str().unwrap()).collect::<Vec<_>>().join("+")
        };
        payments.iter().map(alert).collect()
    }

    #[test]
    fn one_alert_for_each_crossing() {
        let day = 86_400_000;
        let payments = [(1_000_000, 0), (1, day), (500, 2 * day), (-501, 3 * day), (1, 4 * day)];
        assert_eq!(alerts(&payments), ["", "total-above-limit", "", "", "total-above-limit"]);
    }

    #[test]
    fn one_alert_a_minute_for_a_burst() {
        let times = [0, 1, 1, 59_999, 60_000, 60_000, 60_001, 119_999, 119_999, 120_000, 120_000, 300_000];
        let found = alerts(&times.map(|ts| (1, ts)));
        assert_eq!(found, ["", "", "", "", "", "burst", "", "", "", "", "burst", ""].map(str::to_owned), "{found:?}");
    }
}
