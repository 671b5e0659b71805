//! What the Kafka clients and internal topics get.

use super::Config;
use crate::fault::{Fault, Result};
use std::collections::BTreeMap;

/// A kind of Kafka client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Reads input.
    Consumer,
    /// Reads changelogs.
    Restore,
    /// Writes.
    Producer,
    /// Makes and looks up topics.
    Admin,
}

impl Client {
    /// Prefixes of its keys, the stronger one last.
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Consumer => &["consumer.", "main.consumer."],
            Self::Restore => &["consumer.", "restore.consumer."],
            Self::Producer => &["producer."],
            Self::Admin => &["admin."],
        }
    }
}

/// Client keys that the worker sets itself, because exactly-once rests on them.
const OWNED: &[&str] = &[
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "isolation.level",
    "partition.assignment.strategy",
    "transactional.id",
];

impl Config {
    /// The keys of one kind of client: `bootstrap.servers`, security, and what its prefixes say, without the prefix.
    /// What the driver needs for itself it sets over these.
    pub fn client(&self, client: Client) -> BTreeMap<String, String> {
        let mut keys = BTreeMap::new();
        for (name, value) in self.set() {
            if name == "bootstrap.servers"
                || name == "security.protocol"
                || name.starts_with("ssl.")
                || name.starts_with("sasl.")
            {
                keys.insert(name.to_owned(), value.to_owned());
            }
        }
        for prefix in client.prefixes() {
            keys.extend(self.under(prefix));
        }
        keys
    }

    /// Configuration of internal topics from the `topic.` keys.
    pub fn topic(&self) -> BTreeMap<String, String> {
        self.under("topic.").collect()
    }

    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
        self.set().filter_map(move |(n, v)| Some((n.strip_prefix(prefix)?.to_owned(), v.to_owned())))
    }
}

/// Refuses a client key that the worker sets itself.
pub(super) fn allowed(name: &str) -> Result<()> {
    let clients = [Client::Consumer, Client::Restore, Client::Producer, Client::Admin];
    let key = clients.iter().flat_map(|c| c.prefixes()).find_map(|p| name.strip_prefix(p));
    match key {
        Some(key) if OWNED.contains(&key) => {
            Err(Fault::stop(format!("setting `{name}` can't be changed")).hint("the worker sets it itself; remove it"))
        }
        _ => Ok(()),
    }
}
