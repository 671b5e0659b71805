//! `enrichment`: clicks with the user's plan and the name of the place they came from.
//!
//! Shows the two kinds of lookup. Users are many and change often: a table, partitioned like the clicks by user. Places
//! are few and asked for by another key: a global table, whole in each process, so that clicks need no repartition. Both
//! joins are left joins: a click of somebody unknown goes on with what is known.
//!
//! Use it for dimensions that fit a table. A click meets the user as known when it is processed; to meet the row that
//! held at the click's own time, keep the users in a versioned store and join with grace. A global table is read outside
//! of the transaction: for what must be exact, use a table.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    topology::{Consumed, Joined, Materialized, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

pub const ENTRY: Entry = Entry {
    name: "enrichment",
    about: "clicks joined with a table of users and a global table of places",
    inputs: &[
        Topic::new("clicks", Format::String, Format::Json),
        Topic::new("users", Format::String, Format::Json),
        Topic::new("places", Format::String, Format::Json),
    ],
    outputs: &[Topic::new("clicks-enriched", Format::String, Format::Json)],
    settings: &[],
    build,
};

/// A click, keyed by its user.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Click {
    url: String,
    place: String,
}

/// A user, keyed by its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct User {
    name: String,
    plan: String,
}

/// A place, keyed by its code.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    city: String,
    country: String,
}

/// A click with all that is known of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Enriched {
    url: String,
    place: String,
    name: Option<String>,
    plan: Option<String>,
    city: Option<String>,
    country: Option<String>,
}

fn with_user(click: &Click, user: Option<&User>) -> Enriched {
    Enriched {
        url: click.url.clone(),
        place: click.place.clone(),
        name: user.map(|u| u.name.clone()),
        plan: user.map(|u| u.plan.clone()),
        city: None,
        country: None,
    }
}

fn with_place(click: &Enriched, place: Option<&Place>) -> Enriched {
    let (city, country) = place.map(|p| (p.city.clone(), p.country.clone())).unzip();
    Enriched { city, country, ..click.clone() }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (text, click) = (serdes::string, serdes::json::<Click>());
    let users = builder.table_with(
        params.input(1),
        Consumed::with(text(), serdes::json::<User>()),
        Materialized::as_store("users"),
    );
    let places = builder.global_table_with(
        params.input(2),
        Consumed::with(text(), serdes::json::<Place>()),
        Materialized::as_store("places"),
    );
    builder
        .stream_with(params.input(0), Consumed::with(text(), click.clone()))
        .left_join_with(&users, |_, click, user| Some(with_user(click, user)), Joined::with(text(), click))
        .left_join_global(
            &places,
            |_, click| Some(click.place.clone()),
            |_, click, place| Some(with_place(click, place)),
        )
        .to_with(params.output(0), Produced::with(text(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::{Value, json};

    #[test]
    fn a_click_takes_along_what_is_known() {
        let mut driven = Driven::new(&ENTRY);
        driven.pipe(2, json!("FCO"), json!({"city": "Rome", "country": "IT"}));
        let mut click = |user: Option<Value>, place: &str| {
            if let Some(user) = user {
                driven.pipe(1, json!("u1"), user);
            }
            let found = driven.pipe(0, json!("u1"), json!({"url": "/", "place": place}));
            let [(_, found)] = &found[..] else { panic!("one record, not {found:?}") };
            json!([found["plan"], found["city"]])
        };
        assert_eq!(click(None, "FCO"), json!([null, "Rome"]));
        assert_eq!(click(Some(json!({"name": "Ann", "plan": "free"})), "FCO"), json!(["free", "Rome"]));
        assert_eq!(click(Some(json!({"name": "Ann", "plan": "pro"})), "XXX"), json!(["pro", null]));
        assert_eq!(click(Some(json!(null)), "FCO"), json!([null, "Rome"]), "a deleted user");
    }
}
