//! `etl`: a stream of changed rows, cleaned and typed; rows that can't be are told with all that is wrong with them.
//!
//! Shows transformation as one pure function from raw to typed row that collects every complaint, since who mends a row
//! wants to see them all. Rejected rows go to the dead-letter topic as they came. A deletion stays one. Money is cents, dates are
//! checked, and nothing is guessed: a value that can't be read is a complaint, not a default.
//!
//! Use it between a source that holds everything as text and readers that want types. It has no state, so it scales by
//! partitions alone. Loading is the reader's, or a connector's.

use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::serdes,
    fault::Result,
    topology::{Consumed, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};

pub const ENTRY: Entry = Entry {
    name: "etl",
    about: "changed rows cleaned and typed; rejected rows with all that is wrong with them",
    inputs: &[Topic::new("customers-raw", Format::String, Format::Json)],
    outputs: &[
        Topic::new("customers-clean", Format::String, Format::Json),
        Topic::new("customers-rejected", Format::String, Format::Json),
    ],
    settings: &[],
    build,
};

/// A row as the source has it, keyed by its id: everything is text, and may be missing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Raw {
    name: Option<String>,
    email: Option<String>,
    balance: Option<String>,
    born: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Customer {
    name: String,
    email: String,
    balance_cents: i64,
    born: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rejected {
    complaints: Vec<String>,
    row: Raw,
}

/// Text without blanks around it and with single ones inside; `None` when nothing is left.
fn text(raw: Option<&String>) -> Option<String> {
    let text = raw?.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

fn email(raw: Option<&String>) -> Result<String, String> {
    let email = text(raw).ok_or("no email")?.to_lowercase();
    let sound = email.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !host.contains('@') && !host.starts_with('.') && !host.ends_with('.')
    });
    if sound && !email.contains(' ') { Ok(email) } else { Err(format!("`{email}` is no email")) }
}

/// Cents of `1.234,50` or `1234.50`: the last point or comma is the decimal one before two digits, and parts thousands
/// before three.
fn cents(raw: Option<&String>) -> Result<i64, String> {
    let amount = text(raw).ok_or("no balance")?;
    let bad = || format!("`{amount}` is no amount");
    let (sign, digits) = amount.strip_prefix('-').map_or((1, &amount[..]), |rest| (-1, rest));
    let (whole, rest) = match digits.rfind(['.', ',']) {
        Some(at) if digits.len() - at == 3 => (&digits[..at], &digits[at + 1..]),
        _ => (digits, "00"),
    };
    let groups: Vec<_> = whole.split(['.', ',']).collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let grouped = groups.len() == 1 || groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
    if !groups.iter().all(|group| is_number(group)) || !is_number(rest) || !grouped {
        return Err(bad());
    }
    let whole = groups.concat();
    format!("{whole}{rest}").parse::<i64>().map(|cents| sign * cents).map_err(|_| bad())
}

/// A day as `1990-02-28`, if there was such a day.
fn day(raw: Option<&String>) -> Result<Option<String>, String> {
    let Some(day) = text(raw) else { return Ok(None) };
    let bad = || format!("`{day}` is no day");
    let parts: Vec<u32> = day.split('-').map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
    let [year, month, of_month] = parts[..] else { return Err(bad()) };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(bad()),
    };
    if !(1..=days).contains(&of_month) || !(1900..=2100).contains(&year) {
        return Err(bad());
    }
    Ok(Some(format!("{year:04}-{month:02}-{of_month:02}")))
}

fn clean(row: &Raw) -> Result<Customer, Rejected> {
    let name = text(row.name.as_ref()).ok_or_else(|| "no name".to_owned());
    match (name, email(row.email.as_ref()), cents(row.balance.as_ref()), day(row.born.as_ref())) {
        (Ok(name), Ok(email), Ok(balance_cents), Ok(born)) => Ok(Customer { name, email, balance_cents, born }),
        (name, email, balance, born) => {
            let complaints = [name.err(), email.err(), balance.err(), born.err()].into_iter().flatten().collect();
            Err(Rejected { complaints, row: row.clone() })
        }
    }
}

fn build(params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let rows = builder.stream_with(params.input(0), Consumed::with(serdes::string(), serdes::json::<Raw>()));
    let cleaned = rows.map_values(|row| row.map(clean));
    cleaned
        .filter(|_, row| !matches!(row, Some(Err(_))))
        .map_values(|row| row.and_then(|row| row.clone().ok()))
        .to_with(params.output(0), Produced::with(serdes::string(), serdes::json()));
    cleaned
        .flat_map_values(|row| row.and_then(|row| row.clone().err()))
        .to_with(params.output(1), Produced::with(serdes::string(), serdes::json()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Driven;
    use serde_json::json;

    #[test]
    fn rows_are_cleaned_or_rejected_with_every_complaint() {
        let mut driven = Driven::new(&ENTRY);
        let row = json!({"name": " Ann  Lee ", "email": "ANN@x.org", "balance": "1.234,50", "born": "1992-2-29"});
        let clean = json!({"name": "Ann Lee", "email": "ann@x.org", "balance_cents": 123_450, "born": "1992-02-29"});
        assert_eq!(driven.pipe(0, json!("1"), row), [(json!("1"), clean)]);
        let row = json!({"name": " ", "email": "ann", "balance": "a lot", "born": "1990-02-30"});
        assert_eq!(driven.pipe(0, json!("2"), row), []);
        let complaints = json!(["no name", "`ann` is no email", "`a lot` is no amount", "`1990-02-30` is no day"]);
        assert_eq!(driven.read(1)[0].1["complaints"], complaints);
        assert_eq!(driven.pipe(0, json!("1"), json!(null)), [(json!("1"), json!(null))], "a deletion");
    }

    #[test]
    fn amounts_and_days() {
        let amounts = ["1,234.50", "1234", "-7,05", "1.234", "1.2", "", "12€"].map(|t| cents(Some(&t.to_owned())).ok());
        assert_eq!(amounts, [Some(123_450), Some(123_400), Some(-705), Some(123_400), None, None, None]);
        let days = ["2000-02-29", "1900-02-29", "2023-13-01", "2023-04-31", "1-2", "x"];
        assert_eq!(days.map(|t| day(Some(&t.to_owned())).is_ok()), [true, false, false, false, false, false]);
    }
}
