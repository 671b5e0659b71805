//! `outbox`: events from a table of PostgreSQL to a topic, each once, in order per aggregate. A program of its own:
//! `outbox-relay DATABASE TOPIC bootstrap.servers=… [KEY=VALUE]…`; start as many as you like, and kill them when you like.
//! It shows how a service changes its data and tells of it: in one transaction of the database it changes rows and inserts
//! the event (aggregate, payload). The relay writes it to the topic (key: aggregate, header `id`), and deletes it.
//!
//! Each once, for `read_committed` readers: the Kafka transaction with a batch notes the batch's ids as metadata of an
//! offset. A batch is deleted before the next is written, so only the last can be in table and topic: who takes over deletes
//! what is noted. A greatest id would not do: rows become visible in the order of commits, and lower ones would be lost.
//! Order: one relay at a time works at a shard of the aggregates; `SKIP LOCKED` on the events themselves would let relays
//! overtake each other. The lock saves work only: a shard's transactional id fences every former owner, also one whose
//! lock the database took away. Transactions with events of one aggregate must lock that, or their ids have no order.
//!
//! Use it where a database is the truth. Where events can be it, see `orders-cqrs`; where change data capture runs anyway,
//! `cdc-users`. Not covered: a database that loses commits or gives ids again (a restored backup: take another topic), and
//! no relay for `offsets.retention.minutes` after a kill. A row that the broker refuses holds up its shard, with an error.

#![expect(clippy::disallowed_methods, reason = "a process by itself: clocks and waiting are its own")]

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use std::{collections::BTreeMap, convert::Infallible, thread, time::Duration, time::Instant};
use tokio_postgres::{Client, NoTls, Row};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
/// Who may write the events of a shard until another takes it over, and the group that has the note.
type Writer = (BaseProducer, BaseConsumer);

/// A shard is `hashtext(aggregate) & 7`; `relay` is who worked at it last.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS outbox (id bigint GENERATED ALWAYS AS IDENTITY, aggregate text NOT NULL,
        payload text NOT NULL, shard integer GENERATED ALWAYS AS (hashtext(aggregate) & 7) STORED, PRIMARY KEY (shard, id));
    CREATE TABLE IF NOT EXISTS outbox_shards (shard integer PRIMARY KEY, relay text);
    INSERT INTO outbox_shards SELECT generate_series(0, 7) ON CONFLICT DO NOTHING";
const WAITING: &str = "SELECT shard FROM outbox_shards s WHERE EXISTS (SELECT FROM outbox o WHERE o.shard = s.shard)";
const LOCK: &str = "SELECT relay FROM outbox_shards WHERE shard = $1 FOR UPDATE SKIP LOCKED";
const BATCH: &str = "SELECT id, aggregate, payload FROM outbox WHERE shard = $1 ORDER BY id LIMIT 200";
const DELETE: &str = "DELETE FROM outbox WHERE shard = $1 AND id = ANY($2)";

/// How long a busy shard is kept from other relays.
const HOLD: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// Takes a shard over: from here on no former owner commits. Returns the ids of the last batch that was written, too.
fn take_over(settings: &ClientConfig, topic: &str, shard: i32) -> Result<(Writer, Vec<i64>)> {
    let (name, mut settings) = (format!("outbox-{topic}-{shard}"), settings.clone());
    let group: BaseConsumer = settings.set("group.id", &name).set("isolation.level", "read_committed").create()?;
    settings.set("transactional.id", &name).set("partitioner", "murmur2_random");
    let producer: BaseProducer = settings.create()?;
    producer.init_transactions(TIMEOUT)?;
    let mut note = TopicPartitionList::new();
    note.add_partition(topic, 0);
    let noted = group.committed_offsets(note, TIMEOUT)?;
    noted.elements()[0].error()?;
    let note = noted.elements()[0].metadata().to_owned();
    let ids = note.split(',').filter(|id| !id.is_empty()).map(str::parse).collect::<std::result::Result<_, _>>()?;
    Ok(((producer, group), ids))
}

/// Writes a batch and notes its ids: at most 200 of 19 digits, for brokers take 4,096 bytes.
fn write((producer, group): &Writer, topic: &str, rows: &[Row]) -> Result<Vec<i64>> {
    producer.begin_transaction()?;
    let ids: Vec<i64> = rows.iter().map(|row| row.get("id")).collect();
    for (row, id) in rows.iter().zip(&ids) {
        let headers = OwnedHeaders::new().insert(Header { key: "id", value: Some(&id.to_string()) });
        let record = BaseRecord::to(topic).key(row.get::<_, &str>("aggregate")).headers(headers);
        producer.send(record.payload(row.get::<_, &str>("payload"))).map_err(|(error, _)| error)?;
    }
    let mut note = TopicPartitionList::new();
    note.add_partition_offset(topic, 0, Offset::Offset(ids[ids.len() - 1]))?;
    note.elements()[0].set_metadata(ids.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
    let group = group.group_metadata().ok_or("the client knows no group")?;
    producer.send_offsets_to_transaction(&note, &group, TIMEOUT)?;
    producer.flush(TIMEOUT)?;
    producer.commit_transaction(TIMEOUT)?;
    Ok(ids)
}

struct Relay<'a> {
    settings: &'a ClientConfig,
    topic: &'a str,
    name: String,
    /// Holds the lock of a shard, while batches come and go on the other connection.
    locks: Client,
    table: Client,
    writers: BTreeMap<i32, Writer>,
}

impl Relay<'_> {
    /// Writes what waits in a shard, unless another relay is at it.
    async fn drain(&mut self, shard: i32) -> Result<()> {
        let lock = self.locks.transaction().await?;
        let Some(held) = lock.query_opt(LOCK, &[&shard]).await? else { return Ok(()) };
        let mine = held.get::<_, Option<&str>>("relay") == Some(&self.name);
        if !mine || !self.writers.contains_key(&shard) {
            lock.execute("UPDATE outbox_shards SET relay = $2 WHERE shard = $1", &[&shard, &self.name]).await?;
            let (writer, written) = take_over(self.settings, self.topic, shard)?;
            self.table.execute(DELETE, &[&shard, &written]).await?;
            self.writers.insert(shard, writer);
        }
        let (writer, end) = (&self.writers[&shard], Instant::now() + HOLD);
        while Instant::now() < end {
            let rows = self.table.query(BATCH, &[&shard]).await?;
            if rows.is_empty() {
                break;
            }
            let written = write(writer, self.topic, &rows)?;
            self.table.execute(DELETE, &[&shard, &written]).await?;
        }
        Ok(lock.commit().await?)
    }
}

async fn connect(database: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
    tokio::spawn(async move { drop(connection.await) }); // its failure shows at the client
    // Who stands still loses its lock.
    client.batch_execute("SET idle_in_transaction_session_timeout = '10s'").await?;
    Ok(client)
}

/// Relays until the database is gone. What fails at a shard is told and done again from what table and note say.
async fn relay(database: &str, topic: &str, settings: &ClientConfig) -> Result<Infallible> {
    let (locks, table) = (connect(database).await?, connect(database).await?);
    table.batch_execute(SCHEMA).await?;
    let name = table.query_one("SELECT gen_random_uuid()::text", &[]).await?.get(0);
    let mut relay = Relay { settings, topic, name, locks, table, writers: BTreeMap::new() };
    loop {
        for shard in relay.table.query(WAITING, &[]).await?.iter().map(|row| row.get(0)) {
            if let Err(error) = relay.drain(shard).await {
                eprintln!("outbox-relay: shard {shard}: {error}");
                relay.writers.remove(&shard);
            }
        }
        if relay.locks.is_closed() {
            return Err("the database closed the connection".into());
        }
        thread::sleep(PAUSE);
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, topic, pairs @ ..] = &arguments[..] else {
        return Err("write `outbox-relay DATABASE TOPIC bootstrap.servers=HOST:PORT [KEY=VALUE]…`".into());
    };
    let pair = |text: &String| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let settings = pairs.iter().map(pair).collect::<Option<ClientConfig>>().ok_or("a setting without `=`")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    loop {
        let Err(error) = runtime.block_on(relay(database, topic, &settings));
        eprintln!("outbox-relay: {error}; it connects anew");
        thread::sleep(PAUSE);
    }
}
