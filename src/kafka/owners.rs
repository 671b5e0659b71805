//! Who owns which partitions, and where its process answers queries: the group's description says both, since the client
//! id of a member ends with the address of its process.

use super::{admin::Admin, clients::Clients};
use crate::{
    config::Config,
    fault::{Fault, Result},
    record::TopicPartition,
    worker::Owner,
};
use rdkafka::groups::{GroupInfo, GroupMemberInfo};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the group of the application. The first call connects.
pub fn owners(config: &Config) -> impl Fn() -> Result<Vec<Owner>> + Send + Sync + 'static {
    let group = config.text("application.id").unwrap_or_default().to_owned();
    let clients = Clients::new(config, &group, config.text("process.id").unwrap_or_default());
    let admin: Mutex<Option<Arc<Admin>>> = Mutex::default();
    move || {
        let admin = {
            let mut admin = admin.lock().unwrap_or_else(PoisonError::into_inner);
            match &*admin {
                Some(admin) => Arc::clone(admin),
                None => Arc::clone(admin.insert(Arc::new(Admin::connect(&clients)?))),
            }
        };
        let list = admin.describe(&group, TIMEOUT).map_err(|e| {
            Fault::retry(format!("the brokers don't say who owns what: {e}")).at(format!("group {group}"))
        })?;
        let own = list.groups().iter().filter(|g| g.name() == group);
        Ok(own.flat_map(GroupInfo::members).map(owner).collect())
    }
}

/// What follows the client id of a member whose process answers queries.
pub(super) fn suffix(server: Option<&str>) -> String {
    server.map_or_else(String::new, |server| format!("@{server}"))
}

fn owner(member: &GroupMemberInfo) -> Owner {
    Owner { endpoint: endpoint(member.client_id()), partitions: assigned(member.assignment().unwrap_or_default()) }
}

fn endpoint(client_id: &str) -> Option<String> {
    let (_, server) = client_id.rsplit_once('@')?;
    server.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).map(|_| server.to_owned())
}

/// The partitions of an assignment in the consumer protocol: version i16, then topics with their partitions. What is cut
/// short is left out.
fn assigned(bytes: &[u8]) -> Vec<TopicPartition> {
    let mut found = Vec::new();
    read(bytes, &mut found);
    found
}

fn read(bytes: &[u8], found: &mut Vec<TopicPartition>) -> Option<()> {
    let (_version, rest) = bytes.split_first_chunk::<2>()?;
    let (topics, mut rest) = rest.split_first_chunk::<4>()?;
    for _ in 0..u32::from_be_bytes(*topics) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (topic, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        let topic: Arc<str> = std::str::from_utf8(topic).ok()?.into();
        let (count, mut after) = after.split_first_chunk::<4>()?;
        for _ in 0..u32::from_be_bytes(*count) {
            let (partition, next) = after.split_first_chunk::<4>()?;
            found.push(TopicPartition::new(Arc::clone(&topic), i32::from_be_bytes(*partition)));
            after = next;
        }
        rest = after;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_ends_with_where_its_process_answers() {
        let id = format!("app-p1-000{}", suffix(Some("host:8080")));
        assert_eq!(endpoint(&id).as_deref(), Some("host:8080"));
        assert_eq!(endpoint("app-p1-000@[::1]:8080").as_deref(), Some("[::1]:8080"));
        for without in [&*suffix(None), "app-p1-000", "me@home", "me@home:x"] {
            assert_eq!(endpoint(without), None, "{without}");
        }
    }

    #[test]
    fn assignments_are_read_as_the_consumer_protocol_writes_them() {
        let bytes = b"\0\x01\0\0\0\x02\0\x02in\0\0\0\x02\0\0\0\0\0\0\0\x03\0\x01b\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff";
        let tp = |topic: &str, partition| TopicPartition::new(topic, partition);
        assert_eq!(assigned(bytes), [tp("in", 0), tp("in", 3), tp("b", 7)]);
        assert_eq!(assigned(&bytes[..20]), [tp("in", 0), tp("in", 3)][..1]);
        assert_eq!(assigned(b""), []);
    }
}
