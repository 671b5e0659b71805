//! Who owns the partitions that are not here. The group's description is the registry.

use crate::{runtime::Queries, topology::ResolvedSub, worker::Owner};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Mutex, task::spawn_blocking};

/// How long an answer of the group stands.
const FRESH: Duration = Duration::from_secs(1);

/// Where a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// With the replica at this address.
    Elsewhere(String),
    /// With a member that answers no queries.
    Silent,
    /// With nobody yet, or with this process, which is about to take it up.
    Nowhere,
    /// The group can't be asked, and why.
    Unknown(String),
}

/// What the group said last.
pub struct Owners {
    queries: Queries,
    own: String,
    /// One question to the brokers at a time; the others wait for its answer.
    known: Mutex<Option<(Instant, Arc<Vec<Owner>>)>>,
}

impl Owners {
    /// `own` is the address of this process.
    pub fn new(queries: Queries, own: String) -> Self {
        Self { queries, own, known: Mutex::default() }
    }

    /// Where a partition is.
    pub async fn of(&self, sub: &ResolvedSub, partition: i32) -> Whereabouts {
        match self.known().await {
            Ok(owners) => find(&owners, sub, partition, &self.own),
            Err(why) => Whereabouts::Unknown(why),
        }
    }

    async fn known(&self) -> Result<Arc<Vec<Owner>>, String> {
        let Some(look_up) = self.queries.look_up().cloned() else {
            return Ok(Arc::default());
        };
        let mut known = self.known.lock().await;
        if let Some((at, owners)) = &*known
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(owners));
        }
        let looked = spawn_blocking(move || look_up()).await.map_err(|e| format!("the group can't be asked: {e}"))?;
        let owners = Arc::new(looked.map_err(|fault| fault.to_string())?);
        *known = Some((Instant::now(), Arc::clone(&owners)));
        Ok(owners)
    }
}

fn find(owners: &[Owner], sub: &ResolvedSub, partition: i32, own: &str) -> Whereabouts {
    let Some(topic) = sub.sources.first() else { return Whereabouts::Nowhere };
    let owns = |owner: &&Owner| owner.partitions.iter().any(|p| p.topic == *topic && p.partition == partition);
    match owners.iter().find(owns) {
        Some(Owner { endpoint: Some(endpoint), .. }) if endpoint == own => Whereabouts::Nowhere,
        Some(Owner { endpoint: Some(endpoint), .. }) => Whereabouts::Elsewhere(endpoint.clone()),
        Some(_) => Whereabouts::Silent,
        None => Whereabouts::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TopicPartition;

    #[test]
    fn the_member_with_the_source_partition_owns_the_store() {
        let sub = ResolvedSub { id: 0, partitions: 4, sources: vec!["in".into()], stores: Vec::new() };
        let owner = |endpoint: Option<&str>, partition| Owner {
            endpoint: endpoint.map(str::to_owned),
            partitions: vec![TopicPartition::new("other", 9), TopicPartition::new("in", partition)],
        };
        let owners = [owner(Some("a:1"), 0), owner(Some("b:2"), 1), owner(None, 2)];
        let found = |partition| find(&owners, &sub, partition, "a:1");
        assert_eq!(found(0), Whereabouts::Nowhere, "it is our own, and not here yet");
        assert_eq!(found(1), Whereabouts::Elsewhere("b:2".into()));
        assert_eq!(found(2), Whereabouts::Silent);
        assert_eq!(found(3), Whereabouts::Nowhere);
    }
}
