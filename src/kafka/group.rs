//! The group before the first thread joins it, and after the last one has left.

use super::admin::Admin;
use crate::fault::{Fault, Result};
use rdkafka::{error::RDKafkaErrorCode, groups::GroupInfo};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long one description of the group may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a coordinator that is not ready is asked.
const PATIENCE: Duration = Duration::from_secs(30);

struct Member {
    client_id: String,
    host: String,
    /// What its program speaks: `consumer`, or `stream` for Kafka Streams.
    protocol: String,
}

/// The members of a group. None where the group can't be described: the right may be missing, and joining tells more.
fn members(admin: &Admin, group: &str) -> Vec<Member> {
    use RDKafkaErrorCode as E;
    let start = Instant::now();
    loop {
        let error = match admin.describe(group, TIMEOUT) {
            Ok(list) => {
                let own = list.groups().iter().filter(|g| g.name() == group);
                let members = |g: &GroupInfo| {
                    let member = |m: &rdkafka::groups::GroupMemberInfo| Member {
                        client_id: m.client_id().to_owned(),
                        host: m.client_host().to_owned(),
                        protocol: g.protocol().to_owned(),
                    };
                    g.members().iter().map(member).collect::<Vec<_>>()
                };
                return own.flat_map(members).collect();
            }
            Err(error) => error,
        };
        let passing = matches!(
            error.rdkafka_error_code(),
            Some(E::CoordinatorLoadInProgress | E::CoordinatorNotAvailable | E::NotCoordinator)
        );
        if !passing || start.elapsed() > PATIENCE {
            tracing::debug!(%error, group, "the group can't be described");
            return Vec::new();
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until no member of another program is in the group. Kafka Streams' members speak the protocol `stream`.
///
/// # Errors
/// When they are still there after `limit_ms`.
pub(super) fn await_foreign(admin: &Admin, group: &str, limit_ms: i64, stop: &AtomicBool) -> Result<()> {
    let start = Instant::now();
    let mut said = false;
    loop {
        let foreign: Vec<String> = members(admin, group)
            .iter()
            .filter(|m| m.protocol == "stream")
            .map(|m| format!("{} at {}", m.client_id, m.host))
            .collect();
        if foreign.is_empty() || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !said {
            tracing::warn!(
                group,
                members = foreign.join(", "),
                "members of another program are in the group; waiting until they are gone"
            );
            said = true;
        }
        if i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX) > limit_ms {
            return Err(Fault::stop(format!("members of another program are still in group `{group}`"))
                .at(foreign.join(", "))
                .hint("stop them, or raise group.join.timeout.ms"));
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Waits until no member whose client id begins so is in the group: a farewell may still be on its way, or be lost,
/// and whoever joins next would meet a member that is gone.
pub(super) fn await_left(admin: &Admin, group: &str, client_ids: &str, limit: Duration) {
    let start = Instant::now();
    let mut said = false;
    loop {
        let left: Vec<String> =
            members(admin, group).into_iter().map(|m| m.client_id).filter(|c| c.starts_with(client_ids)).collect();
        if left.is_empty() {
            return;
        }
        if start.elapsed() > limit {
            tracing::warn!(group, members = left.join(", "), "members are still in the group after the farewell");
            return;
        }
        if !said {
            tracing::info!(group, members = left.join(", "), "waiting until the group has taken note of the farewell");
            said = true;
        }
        thread::sleep(Duration::from_millis(100));
    }
}
