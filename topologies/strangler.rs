//! `strangler`: customers move from a legacy system to a new one, one by one, while both run.
//!
//! Shows a switch per customer. Who owns a customer may change it: the legacy system's events become the new model while
//! it does, the new system's changes go back to the legacy one after the switch, so that it stays readable, and so that
//! the switch can be turned back. A change by the one that does not own the customer is no change: it goes to a topic
//! of conflicts. What the legacy system only echoes (`origin` is `sync`) is dropped, or it would run in circles.
//!
//! Use it to replace a system in small steps. Turn a switch when the customer is quiet: a change that was under way is a
//! conflict then, and a person looks at it. When the old system can be stopped for an hour, copy the data instead.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    topology::{Consumed, Joined, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

pub const ENTRY: Entry = Entry {
    name: "strangler",
    about: "legacy and new model of customers kept in step, with a switch per customer",
    inputs: &[
        Topic::new("legacy-customers", Format::String, Format::Json),
        Topic::new("customer-changes", Format::String, Format::Json),
        Topic::new("customer-switches", Format::String, Format::Json),
    ],
    outputs: &[
        Topic::new("customers", Format::String, Format::Json),
        Topic::new("legacy-updates", Format::String, Format::Json),
        Topic::new("customer-conflicts", Format::String, Format::Json),
    ],
    settings: &[],
    build,
};

/// A row of the legacy system, keyed by the customer's number, with its names and codes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Legacy {
    nm: String,
    st: String,
    #[serde(default)]
    origin: Option<String>,
}

/// The new model.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Customer {
    name: String,
    active: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Owner {
    Legacy,
    New,
}

/// A change, who made it, and who owns the customer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Change {
    by: Owner,
    owner: Owner,
    customer: Customer,
}

impl From<&Legacy> for Customer {
    fn from(row: &Legacy) -> Self {
        Self { name: row.nm.clone(), active: row.st == "A" }
    }
}

impl From<&Customer> for Legacy {
    fn from(customer: &Customer) -> Self {
        let st = if customer.active { "A" } else { "X" };
        Self { nm: customer.name.clone(), st: st.into(), origin: Some("sync".into()) }
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (text, legacy, customer) = (serdes::string, serdes::json::<Legacy>(), serdes::json::<Customer>());
    let switches = builder.table_with(
        params.input(2),
        Consumed::with(text(), serdes::json::<Owner>()),
        Materialized::as_store("switches"),
    );
    // A customer without a switch is where all of them were.
    let owner = |switch: Option<&Owner>| switch.copied().unwrap_or(Owner::Legacy);
    let from_legacy = builder
        .stream_with(params.input(0), Consumed::with(text(), legacy.clone()))
        .filter(|_, row| row.is_some_and(|row| row.origin.as_deref() != Some("sync")))
        .left_join_with(
            &switches,
            move |_, row, switch| Some(Change { by: Owner::Legacy, owner: owner(switch), customer: row.into() }),
            Joined::with(text(), legacy),
        );
    let from_new = builder.stream_with(params.input(1), Consumed::with(text(), customer.clone())).left_join_with(
        &switches,
        move |_, customer, switch| Some(Change { by: Owner::New, owner: owner(switch), customer: customer.clone() }),
        Joined::with(text(), customer),
    );
    let changes = from_legacy.merge(&from_new);
    let rightful = changes.filter(|_, change| change.is_some_and(|c| c.by == c.owner));
    let conflicts = changes.filter(|_, change| change.is_some_and(|c| c.by != c.owner));
    rightful
        .map_values(|change| change.map(|c| c.customer.clone()))
        .to_with(params.output(0), Produced::with(text(), serdes::json()));
    rightful
        .filter(|_, change| change.is_some_and(|c| c.by == Owner::New))
        .map_values(|change| change.map(|c| Legacy::from(&c.customer)))
        .to_with(params.output(1), Produced::with(text(), serdes::json()));
    conflicts.to_with(params.output(2), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::{Value, json};

    /// What a record brings to customers, legacy updates and conflicts.
    fn told(driven: &mut Driven, input: usize, value: Value) -> [usize; 3] {
        driven.pipe_at(input, json!("c1"), value, 0);
        [0, 1, 2].map(|output| driven.read(output).len())
    }

    #[test]
    fn the_owner_changes_a_customer_and_the_other_conflicts() {
        let mut driven = Driven::new(&ENTRY);
        let (row, customer) = (json!({"nm": "Ann", "st": "A"}), json!({"name": "Ann", "active": true}));
        assert_eq!(told(&mut driven, 0, row.clone()), [1, 0, 0]);
        assert_eq!(told(&mut driven, 1, customer.clone()), [0, 0, 1]);
        told(&mut driven, 2, json!("new"));
        assert_eq!(told(&mut driven, 0, row.clone()), [0, 0, 1]);
        assert_eq!(told(&mut driven, 1, customer.clone()), [1, 1, 0]);
        told(&mut driven, 2, json!("legacy"));
        assert_eq!(told(&mut driven, 0, row), [1, 0, 0], "turned back");
    }

    #[test]
    fn an_echo_of_the_legacy_system_ends_here() {
        let mut driven = Driven::new(&ENTRY);
        told(&mut driven, 2, json!("new"));
        driven.pipe_at(1, json!("c1"), json!({"name": "Ann", "active": false}), 0);
        let update = driven.read(1)[0].1.clone();
        assert_eq!(update, json!({"nm": "Ann", "st": "X", "origin": "sync"}));
        let _ = [0, 1, 2].map(|output| driven.read(output));
        assert_eq!(told(&mut driven, 0, update), [0, 0, 0]);
    }
}
