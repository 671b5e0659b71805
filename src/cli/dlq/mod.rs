//! `millstream dlq`: what lies in a dead-letter topic, and the way back.

mod letter;
mod time;

use super::{Failure, failed, show, usage};
use crate::{
    cli::Format,
    config::Config,
    fault::{Fault, Result},
    record::OutRecord,
    runtime::Ending,
};
use clap::{Args, Subcommand, ValueEnum};
use letter::{Filter, Letter};
use std::{
    collections::BTreeMap,
    io::Write,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// The topic, and who remembers what was put back.
#[derive(Debug, Args)]
pub struct Place {
    /// The dead-letter topic; by default that of errors.dead.letter.queue.topic.name.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Consumer group that remembers what was put back.
    #[arg(long, value_name = "NAME", default_value = "millstream-dlq")]
    group: String,
}

/// Which records.
#[derive(Debug, Args)]
pub struct Which {
    #[command(flatten)]
    place: Place,
    /// Only records of this event time or later: 2026-11-21, 2026-11-21T16:30:00Z, milliseconds since 1970, or how long ago (90s, 15m, 2h, 7d).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only records with this text in error, topic or key; or error=TEXT, topic=NAME, key=TEXT. May be given many times: all must hold.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Prints a line for each: partition and offset, event time, whether it was put back, where it came from, key, error.
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Prints all of one: headers, key and value.
    Show {
        /// Its partition and offset, as `list` prints them.
        #[arg(value_name = "PARTITION:OFFSET")]
        record: String,
        #[command(flatten)]
        place: Place,
        /// What the key is; without it text, or hexadecimal digits where it is none.
        #[arg(long, value_name = "FORMAT")]
        key: Option<Shown>,
        /// What the value is.
        #[arg(long, value_name = "FORMAT")]
        value: Option<Shown>,
    },
    /// Puts records back into the topics that they came from, each once, however often this is run or killed.
    Replay {
        #[command(flatten)]
        which: Which,
        /// Only prints what would be put back.
        #[arg(long)]
        dry_run: bool,
        /// Records in one transaction, at most.
        #[arg(long, value_name = "COUNT", default_value_t = 500)]
        transaction_records: usize,
    },
}

/// A format of keys and values.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shown {
    /// UTF-8 text.
    String,
    /// JSON.
    Json,
    /// A whole number, 8 bytes big endian.
    Long,
    /// A floating-point number, 8 bytes big endian.
    Double,
}

impl From<Shown> for Format {
    fn from(shown: Shown) -> Self {
        match shown {
            Shown::String => Self::String,
            Shown::Json => Self::Json,
            Shown::Long => Self::Long,
            Shown::Double => Self::Double,
        }
    }
}

/// A dead-letter topic.
trait Letters {
    /// How many partitions each topic has.
    fn counts(&self) -> BTreeMap<Arc<str>, i32>;

    /// Shows every record.
    fn read(&mut self, visit: &mut dyn FnMut(&Letter) -> Result<()>) -> Result<()>;

    /// Puts back what `choose` makes of the records that were not put back yet, each once. Returns how many.
    fn replay(
        &mut self,
        records_max: usize,
        choose: &mut dyn FnMut(&Letter) -> Result<Option<OutRecord>>,
    ) -> Result<u64>;
}

#[cfg(feature = "kafka")]
impl Letters for crate::kafka::DeadLetters {
    fn counts(&self) -> BTreeMap<Arc<str>, i32> {
        Self::counts(self).clone()
    }

    fn read(&mut self, visit: &mut dyn FnMut(&Letter) -> Result<()>) -> Result<()> {
        Self::read(self, &mut |dead| visit(&of_kafka(dead)))
    }

    fn replay(
        &mut self,
        records_max: usize,
        choose: &mut dyn FnMut(&Letter) -> Result<Option<OutRecord>>,
    ) -> Result<u64> {
        Self::replay(self, records_max, &mut |dead| choose(&of_kafka(dead)))
    }
}

#[cfg(feature = "kafka")]
fn of_kafka(dead: &crate::kafka::DeadLetter) -> Letter {
    Letter { partition: dead.partition, record: dead.record.clone(), replayed: dead.replayed }
}

#[cfg(feature = "kafka")]
fn open(config: &Config, topic: &str, group: &str) -> Result<Box<dyn Letters>, Failure> {
    Ok(Box::new(crate::kafka::DeadLetters::open(config, topic, group).map_err(failed)?))
}

#[cfg(not(feature = "kafka"))]
fn open(_: &Config, _: &str, _: &str) -> Result<Box<dyn Letters>, Failure> {
    Err(usage(Fault::stop("this build has no Kafka driver").hint("build with it: cargo build --release")))
}

#[expect(clippy::disallowed_methods, reason = "people say how long ago")]
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

fn topic_of(place: &Place, config: &Config) -> Result<String, Failure> {
    let set = config.text("errors.dead.letter.queue.topic.name");
    place.topic.as_deref().or(set).map(str::to_owned).ok_or_else(|| {
        usage(
            Fault::stop("which dead-letter topic?")
                .hint("say --topic NAME, or set errors.dead.letter.queue.topic.name"),
        )
    })
}

/// Carries an action out.
pub fn run(config: &Config, action: Action, out: &mut dyn Write) -> Result<Ending, Failure> {
    match action {
        Action::List { which } => {
            let (topic, filter) = chosen(config, &which)?;
            let mut letters = open(config, &topic, &which.place.group)?;
            list(&mut *letters, &filter, out).map_err(failed)
        }
        Action::Show { record, place, key, value } => {
            let topic = topic_of(&place, config)?;
            let at = parse_place(&record).map_err(usage)?;
            let mut letters = open(config, &topic, &place.group)?;
            let formats = (key.map(Format::from), value.map(Format::from));
            show_one(&mut *letters, &topic, at, formats, out).map_err(failed)
        }
        Action::Replay { which, dry_run, transaction_records } => {
            let (topic, filter) = chosen(config, &which)?;
            if transaction_records == 0 {
                return Err(usage(Fault::stop(
                    "--transaction-records 0: a transaction of no record puts nothing back",
                )));
            }
            let mut letters = open(config, &topic, &which.place.group)?;
            let records_max = (!dry_run).then_some(transaction_records);
            replay(&mut *letters, &topic, &filter, records_max, out).map_err(failed)
        }
    }
}

fn chosen(config: &Config, which: &Which) -> Result<(String, Filter), Failure> {
    let filter = Filter::new(which.since.as_deref(), &which.filter, now()).map_err(usage)?;
    Ok((topic_of(&which.place, config)?, filter))
}

fn parse_place(text: &str) -> Result<(i32, i64)> {
    let parts = text.split_once(':').and_then(|(p, o)| Some((p.parse::<i32>().ok()?, o.parse::<i64>().ok()?)));
    parts.filter(|(partition, offset)| *partition >= 0 && *offset >= 0).ok_or_else(|| {
        Fault::stop(format!("`{text}` is no place of a record"))
            .hint("write PARTITION:OFFSET, as `list` prints it: 0:17")
    })
}

fn list(letters: &mut dyn Letters, filter: &Filter, out: &mut dyn Write) -> Result<Ending> {
    let (mut found, mut back) = (0_u64, 0_u64);
    letters.read(&mut |letter| {
        if filter.takes(letter) {
            found += 1;
            back += u64::from(letter.replayed);
            show::text(&letter.line(), out)?;
        }
        Ok(())
    })?;
    show::text(&format!("{found} dead letters, {back} of them put back"), out)
}

fn show_one(
    letters: &mut dyn Letters,
    topic: &str,
    at: (i32, i64),
    (key, value): (Option<Format>, Option<Format>),
    out: &mut dyn Write,
) -> Result<Ending> {
    let mut found = None;
    letters.read(&mut |letter| {
        if (letter.partition, letter.record.offset) == at {
            found = Some(letter.text(key, value));
        }
        Ok(())
    })?;
    match found {
        Some(text) => show::text(&text, out),
        None => Err(Fault::stop(format!("there is no record {}:{}", at.0, at.1))
            .at(format!("topic {topic}"))
            .hint("`millstream dlq list` names them all; old ones are deleted by the topic's retention")),
    }
}

/// Puts back, or without `records_max` only says so. A record that can't go back is named, and makes the end a failure.
fn replay(
    letters: &mut dyn Letters,
    topic: &str,
    filter: &Filter,
    records_max: Option<usize>,
    out: &mut dyn Write,
) -> Result<Ending> {
    let (counts, mut stay) = (letters.counts(), 0_u64);
    let mut choose = |letter: &Letter| {
        if letter.replayed || !filter.takes(letter) {
            return Ok(None);
        }
        match letter.back(topic, |topic| counts.get(topic).copied()) {
            Ok(record) => {
                if records_max.is_none() {
                    show::text(
                        &format!("{}  would go back to {} {}", letter.place(), record.topic, record.partition),
                        out,
                    )?;
                }
                Ok(Some(record))
            }
            Err(why) => {
                stay += 1;
                show::text(&format!("{}  can't go back: {why}", letter.place()), out)?;
                Ok(None)
            }
        }
    };
    let summary = match records_max {
        Some(records_max) => format!("{} put back", letters.replay(records_max, &mut choose)?),
        None => {
            let mut count = 0_u64;
            letters.read(&mut |letter| {
                count += u64::from(choose(letter)?.is_some());
                Ok(())
            })?;
            format!("{count} would be put back")
        }
    };
    show::text(&summary, out)?;
    match stay {
        0 => Ok(Ending::Done),
        stay => Err(Fault::stop(format!("{stay} records can't be put back"))
            .at(format!("topic {topic}"))
            .hint("create the topics that they came from, or leave them out with --filter")),
    }
}

#[cfg(test)]
mod tests;
