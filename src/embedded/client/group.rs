//! The membership: joining, heartbeats, and what the worker hears of rebalances.

use super::Client;
use crate::{
    fault::Fault,
    log::{Heartbeat, Join, Log, LogError},
    record::{Timestamp, TopicPartition},
    worker::{Event, GroupMetadata, Guarantee, Stable},
};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Membership {
    /// No member.
    Out,
    /// Joined; the rebalance goes on.
    Joining,
    /// In the generation; the committed offsets are still to be read.
    Assigning { generation: i32, partitions: Vec<TopicPartition> },
    /// The worker knows its partitions.
    Assigned { generation: i32 },
    /// The worker heard `Revoked`; the group waits for it.
    Revoking { generation: i32 },
    /// The worker heard `Lost`.
    Lost,
    /// Left for good.
    Gone,
}

impl Client {
    /// Lives the membership: joins, heartbeats, hands out assignments.
    pub fn group(&mut self, log: &mut Log, now: Timestamp) {
        match &self.membership {
            Membership::Gone | Membership::Lost => {}
            Membership::Out => {
                // A transaction left over from a former life would make the committed offsets wait for ever.
                let exactly_once = self.config.guarantee == Guarantee::ExactlyOnceV2;
                if !exactly_once || self.ensure_producer(log, now) {
                    self.join(log, now);
                }
            }
            Membership::Joining => {
                let member = self.member.clone().unwrap_or_default();
                if log.is_fenced(&self.config.group, &member) {
                    self.end_fenced();
                } else if !log.is_member(&self.config.group, &member) {
                    self.forget();
                } else if log.awaits(&self.config.group, &member) {
                    // The next rebalance began before this one's answer came.
                    self.join(log, now);
                } else if let Some(assignment) = log.assignment(&self.config.group, &member) {
                    self.heartbeat_at = now + self.config.heartbeat_interval_ms;
                    let (generation, partitions) = (assignment.generation, assignment.partitions);
                    self.membership = Membership::Assigning { generation, partitions };
                    self.assign(log);
                }
            }
            Membership::Assigning { generation, .. } => match self.heartbeat(log, *generation, now) {
                Ok(Heartbeat::Stable) => self.assign(log),
                Ok(Heartbeat::Rebalance) => self.join(log, now),
                Err(LogError::FencedInstance) => self.end_fenced(),
                Err(_) => self.forget(),
            },
            Membership::Assigned { generation } | Membership::Revoking { generation } => {
                let generation = *generation;
                let assigned = matches!(self.membership, Membership::Assigned { .. });
                match self.heartbeat(log, generation, now) {
                    Ok(Heartbeat::Rebalance) if assigned => {
                        self.membership = Membership::Revoking { generation };
                        self.events.push_back(Event::Revoked);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        self.fenced = error == LogError::FencedInstance;
                        self.membership = Membership::Lost;
                        self.member = None;
                        self.fetches.stop();
                        self.events.push_back(Event::Lost);
                    }
                }
            }
        }
    }

    fn heartbeat(&mut self, log: &mut Log, generation: i32, now: Timestamp) -> Result<Heartbeat, LogError> {
        if now < self.heartbeat_at {
            return Ok(Heartbeat::Stable);
        }
        self.heartbeat_at = now + self.config.heartbeat_interval_ms;
        log.heartbeat(&self.config.group, self.member.as_deref().unwrap_or_default(), generation, now)
    }

    fn join(&mut self, log: &mut Log, now: Timestamp) {
        let join = Join {
            group: &self.config.group,
            member: self.member.as_deref(),
            client_id: &self.config.client_id,
            instance: self.config.instance_id.as_deref(),
            topics: &self.config.topics,
            session_timeout_ms: self.config.session_timeout_ms,
            rebalance_timeout_ms: self.config.rebalance_timeout_ms,
        };
        match log.join(&join, now) {
            Ok(member) => {
                self.member = Some(member);
                self.membership = Membership::Joining;
            }
            Err(LogError::FencedInstance) => self.end_fenced(),
            Err(_) => self.forget(),
        }
    }

    /// Ends at once, as the process does that a fatal error of its client stops: nothing more is written.
    fn end_fenced(&mut self) {
        self.fenced = true;
        self.fetches.stop();
        self.membership = Membership::Gone;
        let id = self.config.instance_id.as_deref().unwrap_or_default();
        self.exited = Some(Some(
            Fault::stop(format!("another member has joined with the group.instance.id `{id}`"))
                .at(format!("group {}", self.config.group))
                .hint("give each process its own group.instance.id"),
        ));
    }

    fn forget(&mut self) {
        self.member = None;
        self.membership = Membership::Out;
    }

    /// Hands out the assignment once its committed offsets are stable.
    fn assign(&mut self, log: &Log) {
        let Membership::Assigning { generation, partitions } = &self.membership else { return };
        let Ok(committed) = log.stable(&self.config.group, partitions) else { return };
        let generation = *generation;
        let stable = partitions.iter().zip(committed).map(|(partition, committed)| stable(partition, committed));
        let counts = self.config.topics.iter().filter_map(|t| Some((Arc::clone(t), log.partitions(t)?)));
        let member = self.member.as_deref().unwrap_or_default().to_owned();
        let group = GroupMetadata { generation, member, instance: self.config.instance_id.clone() };
        let event = Event::Assigned { partitions: stable.collect(), counts: counts.collect(), group };
        self.events.push_back(event);
        self.membership = Membership::Assigned { generation };
        self.generation = generation;
    }

    /// The worker gave its partitions up. Without `Revoked` or `Lost` before it there is nothing to give up.
    pub(super) fn unassign(&mut self, log: &mut Log, now: Timestamp) {
        match self.membership {
            Membership::Revoking { .. } => {
                self.fetches.stop();
                self.join(log, now);
            }
            Membership::Lost if self.fenced => self.end_fenced(),
            Membership::Lost => {
                self.events.retain(|e| !matches!(e, Event::Lost));
                self.forget();
            }
            _ => {}
        }
    }

    /// The worker wants to start over. Without an assignment one is on its way already.
    pub(super) fn rejoin(&mut self) {
        if let Membership::Assigned { generation } = self.membership {
            self.membership = Membership::Revoking { generation };
            self.events.push_back(Event::Revoked);
        }
    }

    pub(super) fn leave(&mut self, log: &mut Log, now: Timestamp) {
        self.fetches.stop();
        if let Some(member) = self.member.take()
            && self.config.instance_id.is_none()
        {
            log.leave(&self.config.group, &member, now);
        }
        self.membership = Membership::Gone;
    }
}

pub(super) fn stable(partition: &TopicPartition, committed: Option<crate::log::Committed>) -> Stable {
    let (offset, metadata) = committed.map_or((None, String::new()), |c| (Some(c.offset), c.metadata));
    Stable { partition: partition.clone(), offset, metadata }
}
