//! `versioned-events`: two versions of an event in one topic, and a topology that knows one.
//!
//! Shows upcasting at the edge. Version 1 has an amount as text in euros, version 2 has cents and a currency; the serde of
//! the source turns both into one type, so no operator asks for a version. What is of no known version, or has an amount
//! that is none, goes to the dead-letter topic: a producer that is ahead of its readers loses nothing. Events are written
//! in version 2 only, so the old one dies out with the retention of the topic.
//!
//! Use it while producers are changed one by one. A field that is added with a default needs no version; a change that old
//! events have no answer for needs another topic.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    topology::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

pub const ENTRY: Entry = Entry {
    name: "versioned-events",
    about: "payments of version 1 and 2 side by side, upcast as they are read, and summed per account",
    inputs: &[Topic::new("payments", Format::String, Format::Json)],
    outputs: &[
        Topic::new("payments-v2", Format::String, Format::Json),
        Topic::new("paid-per-account", Format::String, Format::Long),
        Topic::new("payments-rejected", Format::String, Format::Json),
    ],
    settings: &[
        ("deserialization.exception.handler", "continue"),
        ("errors.dead.letter.queue.topic.name", "payments-rejected"),
    ],
    build,
};

/// A payment as it lies in the topic, keyed by its account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "schema")]
enum Stored {
    #[serde(rename = "payment.v1")]
    V1 { amount: String },
    #[serde(rename = "payment.v2")]
    V2 { cents: i64, currency: String },
}

/// A payment as the program knows it: that of the newest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
struct Payment {
    cents: i64,
    currency: String,
}

impl TryFrom<Stored> for Payment {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        match stored {
            Stored::V1 { amount } => {
                let cents = cents(&amount).ok_or_else(|| format!("`{amount}` is no amount in euros"))?;
                Ok(Self { cents, currency: "EUR".into() })
            }
            Stored::V2 { cents, currency } => Ok(Self { cents, currency }),
        }
    }
}

impl From<Payment> for Stored {
    fn from(Payment { cents, currency }: Payment) -> Self {
        Self::V2 { cents, currency }
    }
}

/// The cents of `12.50`, without a float on the way: `12.5` and `12` are amounts too, `12.505` is none.
fn cents(amount: &str) -> Option<i64> {
    let (sign, digits) = amount.strip_prefix('-').map_or((1, amount), |rest| (-1, rest));
    let (euros, rest) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(euros) || !is_number(rest) || rest.len() > 2 {
        return None;
    }
    let rest: i64 = format!("{rest:0<2}").parse().ok()?;
    euros.parse::<i64>().ok()?.checked_mul(100)?.checked_add(rest)?.checked_mul(sign)
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (text, payment) = (serdes::string, serdes::json::<Payment>());
    let payments = builder.stream_with(params.input(0), Consumed::with(text(), payment.clone()));
    payments.to_with(params.output(0), Produced::with(text(), payment.clone()));
    payments
        .filter(|_, payment| payment.is_some_and(|p| p.currency == "EUR"))
        .group_by_key_with(Grouped::with(text(), payment))
        .aggregate_with(
            || 0,
            |_, payment, sum: i64| Some(sum.saturating_add(payment.map_or(0, |p: &Payment| p.cents))),
            Materialized::as_store("paid").with_key_serde(text()).with_value_serde(serdes::i64()),
        )
        .to_stream()
        .to_with(params.output(1), Produced::with(text(), serdes::i64()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn both_versions_count_and_are_written_as_the_second() {
        let mut driven = Driven::new(&ENTRY);
        let payments = [
            json!({"schema": "payment.v1", "amount": "12.50"}),
            json!({"schema": "payment.v2", "cents": 50, "currency": "EUR"}),
            json!({"schema": "payment.v3", "millis": 1}),
            json!({"schema": "payment.v1", "amount": "a lot"}),
        ];
        let written: Vec<_> = payments.into_iter().flat_map(|p| driven.pipe(0, json!("a"), p)).collect();
        let v2 = |cents| (json!("a"), json!({"schema": "payment.v2", "cents": cents, "currency": "EUR"}));
        assert_eq!(written, [v2(1250), v2(50)]);
        assert_eq!(driven.read(1).last(), Some(&(json!("a"), json!(1300))));
        assert_eq!(driven.read(2).len(), 2);
    }

    #[test]
    fn amounts_are_exact() {
        let amounts = ["12.50", "12.5", "12", "-0.07", "0.29", "12.505", "", ".", "1.", "1e3", "99999999999999999999"];
        let expected = [Some(1250), Some(1250), Some(1200), Some(-7), Some(29), None, None, None, None, None, None];
        assert_eq!(amounts.map(cents), expected);
    }
}
