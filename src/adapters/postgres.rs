//! Rows in a table of PostgreSQL: one upsert with a guard for each batch.

use super::CALL_TIMEOUT;
use crate::{
    fault::{Fault, Result},
    sink::{Batch, Sink, SinkSupplier},
};
use std::{fmt, future::Future, time::Duration};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, Error, NoTls, error::SqlState};

/// Keeps an offset, or where a row comes from, beside the columns of the value.
const SOURCE: &str = "millstream_source";
const OFFSET: &str = "millstream_offset";
const DELETED: &str = "millstream_deleted";

/// A table of PostgreSQL as a sink. It takes values that are JSON objects: each column gets the member of its name,
/// converted by PostgreSQL, or null. Keys are text.
///
/// Beside the key and the columns the table has `millstream_source` and `millstream_offset`, the guard, and
/// `millstream_deleted`: a deleted row stays with nulls in its columns, so that none that is older comes back. Readers
/// ask for `WHERE NOT millstream_deleted`. A batch is one statement, and so all of it is there or nothing. The table is
/// created where it is missing; an existing one is used as it is.
///
/// Columns and types go into statements as they are given here: never take them from input. The connection is not encrypted.
///
/// ```
/// use millstream::{adapters::PostgresTable, codec::serdes, topology::{Produced, StreamsBuilder}};
/// let builder = StreamsBuilder::new();
/// let users = builder.stream::<String, String>("users").map_values(|name| Some(serde_json::json!({"name": name?})));
/// let table = PostgresTable::new("host=localhost user=postgres", "users").column("name", "text");
/// users.to_sink("users-table", table, Produced::with(serdes::string(), serdes::json()));
/// # builder.build().unwrap();
/// ```
#[derive(Clone)]
pub struct PostgresTable {
    connection: String,
    table: String,
    key: String,
    columns: Vec<(String, String)>,
}

/// Without the connection, which may hold a password.
impl fmt::Debug for PostgresTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, key, columns, .. } = self;
        f.debug_struct("PostgresTable").field("table", table).field("key", key).field("columns", columns).finish()
    }
}

impl PostgresTable {
    /// A table `table` with the key column `key` and no other yet. `connection` is libpq's: `host=… user=…`, or a URL
    /// `postgresql://…`.
    pub fn new(connection: impl Into<String>, table: impl Into<String>) -> Self {
        Self { connection: connection.into(), table: table.into(), key: "key".into(), columns: Vec::new() }
    }

    /// Another name of the key column.
    #[must_use]
    pub fn key(self, name: impl Into<String>) -> Self {
        Self { key: name.into(), ..self }
    }

    /// A column for the value's member of that name, with its type in PostgreSQL.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, kind: impl Into<String>) -> Self {
        self.columns.push((name.into(), kind.into()));
        self
    }

    fn create(&self) -> String {
        let columns: String = self.columns.iter().map(|(name, kind)| format!("{} {kind}, ", quoted(name))).collect();
        format!(
            "CREATE TABLE IF NOT EXISTS {} ({} text PRIMARY KEY, {columns}{SOURCE} text NOT NULL, \
             {OFFSET} bigint NOT NULL, {DELETED} boolean NOT NULL)",
            quoted(&self.table),
            quoted(&self.key)
        )
    }

    /// Keys, values, sources and offsets are four arrays. A row whose offset is below the one that is there stays out.
    fn upsert(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| quoted(name)).collect();
        let list = |prefix: &str| names.iter().map(|name| format!("{prefix}{name}, ")).collect::<String>();
        let typed = self.columns.iter().map(|(name, kind)| format!("{} {kind}", quoted(name)));
        let members = match names.is_empty() {
            true => String::new(),
            false => format!(
                "CROSS JOIN LATERAL jsonb_to_record(coalesce(r.value::jsonb, '{{}}')) AS v({}) ",
                typed.collect::<Vec<_>>().join(", ")
            ),
        };
        let set: String = names.iter().map(|name| format!("{name} = excluded.{name}, ")).collect();
        format!(
            "INSERT INTO {} AS t ({}, {}{SOURCE}, {OFFSET}, {DELETED}) \
             SELECT r.key, {}r.source, r.at, r.value IS NULL \
             FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS r(key, value, source, at) {members}\
             ON CONFLICT ({}) DO UPDATE SET {set}{SOURCE} = excluded.{SOURCE}, {OFFSET} = excluded.{OFFSET}, \
             {DELETED} = excluded.{DELETED} \
             WHERE t.{SOURCE} <> excluded.{SOURCE} OR t.{OFFSET} <= excluded.{OFFSET}",
            quoted(&self.table),
            quoted(&self.key),
            list(""),
            list("v."),
            quoted(&self.key)
        )
    }
}

impl SinkSupplier for PostgresTable {
    fn open(&self) -> Result<Box<dyn Sink>> {
        let mut config: Config = self.connection.parse().map_err(|e: Error| {
            // Without the string itself, which may hold a password.
            Fault::stop(format!("what should connect to PostgreSQL can't be read: {}", told(&e)))
                .hint("give libpq's form, `host=… user=… dbname=…`, or a URL `postgresql://…`")
        })?;
        config.connect_timeout(CALL_TIMEOUT).application_name("millstream");
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Fault::stop(format!("no runtime for PostgreSQL: {e}")))?;
        let client = within(&runtime, async {
            let (client, connection) = config.connect(NoTls).await?;
            // Its failure shows at the client.
            tokio::spawn(async move { drop(connection.await) });
            client.batch_execute(&self.create()).await?;
            Ok(client)
        })?;
        Ok(Box::new(Table { client, upsert: self.upsert(), runtime }))
    }
}

/// An open connection. The runtime goes last.
struct Table {
    client: Client,
    upsert: String,
    runtime: Runtime,
}

impl Sink for Table {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let text = |bytes: &bytes::Bytes| {
            let found = String::from_utf8(bytes.to_vec());
            found.map_err(|_| {
                Fault::stop("a key or value is not text").hint("PostgreSQL takes text keys and JSON values")
            })
        };
        let keys = batch.rows.iter().map(|row| text(&row.key)).collect::<Result<Vec<_>>>()?;
        let values = batch.rows.iter().map(|row| row.value.as_ref().map(text).transpose());
        let values = values.collect::<Result<Vec<_>>>()?;
        let sources: Vec<String> = batch.rows.iter().map(crate::sink::SinkRow::source).collect();
        let offsets: Vec<i64> = batch.rows.iter().map(|row| row.version.offset).collect();
        within(&self.runtime, self.client.execute(&self.upsert, &[&keys, &values, &sources, &offsets])).map(drop)
    }
}

/// Runs a call to its end, but not for ever.
fn within<T>(runtime: &Runtime, call: impl Future<Output = Result<T, Error>>) -> Result<T> {
    let limited = async { tokio::time::timeout(CALL_TIMEOUT, call).await };
    match runtime.block_on(limited) {
        Ok(done) => done.map_err(|error| judged(&error)),
        Err(_) => Err(Fault::retry(format!("PostgreSQL does not answer within {} s", seconds(CALL_TIMEOUT)))),
    }
}

fn seconds(time: Duration) -> u64 {
    time.as_secs()
}

/// What may pass is tried again: a lost connection, a deadlock, a server that starts or is full, and two that create the
/// same table.
fn judged(error: &Error) -> Fault {
    let what = format!("PostgreSQL: {}", told(error));
    let Some(code) = error.code() else { return Fault::retry(what) };
    let passing = ["08", "40", "53", "55", "57"].iter().any(|class| code.code().starts_with(class));
    if passing || *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::DUPLICATE_TABLE {
        return Fault::retry(what);
    }
    Fault::stop(what).hint("compare the table, its columns and its rights with what the sink writes")
}

/// The server's own words.
fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(told) => format!("{} ({})", told.message(), told.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_a_table() {
        let table = PostgresTable::new("", "my table").key("id").column("text", "text").column("ts", "bigint");
        assert_eq!(
            table.create(),
            "CREATE TABLE IF NOT EXISTS \"my table\" (\"id\" text PRIMARY KEY, \"text\" text, \"ts\" bigint, \
             millstream_source text NOT NULL, millstream_offset bigint NOT NULL, millstream_deleted boolean NOT NULL)"
        );
        let upsert = table.upsert();
        assert!(upsert.contains("AS v(\"text\" text, \"ts\" bigint) ON CONFLICT (\"id\")"), "{upsert}");
        assert!(upsert.ends_with("OR t.millstream_offset <= excluded.millstream_offset"), "{upsert}");
        assert!(!PostgresTable::new("", "t").upsert().contains("jsonb_to_record"));
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn a_server_that_is_not_there_is_asked_again_and_a_wrong_address_is_not() {
        let open = |connection: &str| PostgresTable::new(connection, "t").open().err().unwrap();
        assert_eq!(open("host=127.0.0.1 port=1 user=x").remedy, crate::fault::Remedy::Retry);
        let fault = open("hos=127.0.0.1 password=secret");
        assert!(fault.remedy == crate::fault::Remedy::Stop && fault.to_string().contains("host="), "{fault}");
        assert!(!fault.to_string().contains("secret"), "{fault}");
    }
}
