//! A consumer group of the classic protocol: eager rebalances in two phases, range assignment, generations.

use super::{Committed, Log, LogError, assignor};
use crate::record::{Timestamp, TopicPartition};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A request to join.
#[derive(Debug, Clone)]
pub struct Join<'a> {
    /// The group.
    pub group: &'a str,
    /// The member id of the last join, `None` the first time.
    pub member: Option<&'a str>,
    /// `client.id`: the beginning of a new member id, and so the order of assignment.
    pub client_id: &'a str,
    /// `group.instance.id` of a static member.
    pub instance: Option<&'a str>,
    /// Subscribed topics.
    pub topics: &'a [Arc<str>],
    /// Silence after which the member is thrown out, in milliseconds.
    pub session_timeout_ms: i64,
    /// How long a rebalance waits for this member to give its partitions up, in milliseconds.
    pub rebalance_timeout_ms: i64,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// Nothing new.
    Stable,
    /// The group rebalances: give the partitions up and join again.
    Rebalance,
}

/// What a member owns in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The generation.
    pub generation: i32,
    /// Its partitions, sorted.
    pub partitions: Vec<TopicPartition>,
}

#[derive(Debug)]
pub(super) struct Member {
    topics: Vec<Arc<str>>,
    instance: Option<Arc<str>>,
    session_timeout_ms: i64,
    rebalance_timeout_ms: i64,
    seen: Timestamp,
    joined: bool,
    partitions: Vec<TopicPartition>,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) generation: i32,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Member ids whose place another member with the same instance id has taken.
    pub(super) fenced: BTreeSet<Arc<str>>,
    members_made: u64,
    /// End of the first phase of a rebalance under way.
    deadline: Option<Timestamp>,
    pub(super) committed: BTreeMap<TopicPartition, Committed>,
    pub(super) pending: Vec<(usize, TopicPartition, Committed)>,
}

impl Group {
    /// Member ids in the range assignor's order: static members by instance id, then the others by member id.
    fn in_order(&self) -> Vec<Arc<str>> {
        let mut ids: Vec<_> = self.members.iter().collect();
        ids.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance.clone(), Arc::clone(id)));
        ids.into_iter().map(|(id, _)| Arc::clone(id)).collect()
    }

    /// Removes and fences the member whose instance id a new one brings.
    fn take_place(&mut self, join: &Join<'_>) -> Option<Member> {
        let (None, Some(instance)) = (join.member, join.instance) else { return None };
        let (id, _) = self.members.iter().find(|(_, m)| m.instance.as_deref() == Some(instance))?;
        let id = Arc::clone(id);
        self.fenced.insert(Arc::clone(&id));
        self.members.remove(&id)
    }

    fn prepare(&mut self, now: Timestamp) {
        if self.deadline.is_none() {
            let longest = self.members.values().map(|m| m.rebalance_timeout_ms).max().unwrap_or(0);
            self.deadline = Some(now + longest);
            self.members.values_mut().for_each(|m| m.joined = false);
        }
    }
}

impl Log {
    pub(super) fn group_mut(&mut self, name: &Arc<str>) -> &mut Group {
        if !self.groups.contains_key(name) {
            self.groups.insert(Arc::clone(name), Group::default());
        }
        self.groups.get_mut(name).expect("made above")
    }

    /// Joins a group or, as a member, joins again after giving all partitions up. Returns the member id; the
    /// assignment follows when all members have joined ([`Log::assignment`]). A static member that is new under a known
    /// instance id takes the place of the former one, which is fenced; a group at rest stays so.
    ///
    /// # Errors
    /// [`LogError::UnknownMember`] when the member was thrown out meanwhile, [`LogError::FencedInstance`] when another
    /// one took its place.
    pub fn join(&mut self, join: &Join<'_>, now: Timestamp) -> Result<Arc<str>, LogError> {
        let name: Arc<str> = join.group.into();
        let group = self.group_mut(&name);
        let id: Arc<str> = match join.member {
            Some(id) if group.members.contains_key(id) => id.into(),
            Some(id) if group.fenced.contains(id) => return Err(LogError::FencedInstance),
            Some(_) => return Err(LogError::UnknownMember),
            None => {
                group.members_made += 1;
                format!("{}-{:06}", join.instance.unwrap_or(join.client_id), group.members_made).into()
            }
        };
        let former = group.take_place(join);
        let content = group.deadline.is_none() && former.as_ref().is_some_and(|f| f.topics == join.topics);
        if let (true, Some(former)) = (content, former) {
            group.members.insert(Arc::clone(&id), Member { seen: now, ..former });
            return Ok(id);
        }
        group.prepare(now);
        let member = Member {
            topics: join.topics.to_vec(),
            instance: join.instance.map(Arc::from),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            seen: now,
            joined: true,
            partitions: Vec::new(),
        };
        group.members.insert(Arc::clone(&id), member);
        self.complete(&name, now, false);
        Ok(id)
    }

    /// Says that a member is alive.
    ///
    /// # Errors
    /// [`LogError::UnknownMember`], [`LogError::IllegalGeneration`]: the partitions are lost.
    /// [`LogError::FencedInstance`]: for good.
    pub fn heartbeat(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
        now: Timestamp,
    ) -> Result<Heartbeat, LogError> {
        let group = self.groups.get_mut(group).ok_or(LogError::UnknownMember)?;
        if group.fenced.contains(member) {
            return Err(LogError::FencedInstance);
        }
        let known = group.members.get_mut(member).ok_or(LogError::UnknownMember)?;
        if generation != group.generation {
            return Err(LogError::IllegalGeneration);
        }
        known.seen = now;
        Ok(if group.deadline.is_some() { Heartbeat::Rebalance } else { Heartbeat::Stable })
    }

    /// What a member owns, `None` while the group rebalances or the member is not part of it.
    pub fn assignment(&self, group: &str, member: &str) -> Option<Assignment> {
        let group = self.groups.get(group)?;
        let known = group.members.get(member)?;
        if group.deadline.is_some() {
            return None;
        }
        Some(Assignment { generation: group.generation, partitions: known.partitions.clone() })
    }

    /// True when the group knows the member.
    pub fn is_member(&self, group: &str, member: &str) -> bool {
        self.groups.get(group).is_some_and(|g| g.members.contains_key(member))
    }

    /// True when another member took this one's place by its instance id.
    pub fn is_fenced(&self, group: &str, member: &str) -> bool {
        self.groups.get(group).is_some_and(|g| g.fenced.contains(member))
    }

    /// True while a rebalance waits for this member to join again.
    pub fn awaits(&self, group: &str, member: &str) -> bool {
        let waits = |g: &Group| g.deadline.is_some() && g.members.get(member).is_some_and(|m| !m.joined);
        self.groups.get(group).is_some_and(waits)
    }

    /// The group's generation; it grows with each rebalance.
    pub fn generation(&self, group: &str) -> i32 {
        self.groups.get(group).map_or(0, |g| g.generation)
    }

    /// Member ids in order of assignment.
    pub fn members(&self, group: &str) -> Vec<Arc<str>> {
        self.groups.get(group).map_or_else(Vec::new, Group::in_order)
    }

    /// A member goes; the others rebalance.
    pub fn leave(&mut self, group: &str, member: &str, now: Timestamp) {
        let name: Arc<str> = group.into();
        let group = self.group_mut(&name);
        if group.members.remove(member).is_some() {
            group.prepare(now);
            self.complete(&name, now, false);
        }
    }

    /// Makes the group rebalance, as a change of a topic's partition count does.
    pub fn rebalance(&mut self, group: &str, now: Timestamp) {
        let name: Arc<str> = group.into();
        self.group_mut(&name).prepare(now);
        self.complete(&name, now, false);
    }

    pub(super) fn tick_group(&mut self, name: &Arc<str>, now: Timestamp) {
        let group = self.group_mut(name);
        let before = group.members.len();
        let rebalancing = group.deadline.is_some();
        // A member that waits in a join is not silent.
        group.members.retain(|_, m| (rebalancing && m.joined) || now - m.seen < m.session_timeout_ms);
        if group.members.len() < before {
            group.prepare(now);
        }
        if let Some(deadline) = group.deadline {
            self.complete(name, now, now >= deadline);
        }
    }

    /// Second phase: starts the next generation when all have joined, or without the others when `late`.
    fn complete(&mut self, name: &Arc<str>, now: Timestamp, late: bool) {
        let group = self.group_mut(name);
        if late {
            // A static member keeps its place until its session ends.
            group.members.retain(|_, m| m.joined || m.instance.is_some());
        }
        if group.deadline.is_none() || (!late && group.members.values().any(|m| !m.joined)) {
            return;
        }
        group.deadline = None;
        group.generation += 1;
        let mut topics: Vec<Arc<str>> = group.members.values().flat_map(|m| m.topics.iter().cloned()).collect();
        topics.sort();
        topics.dedup();
        for member in group.members.values_mut() {
            member.partitions.clear();
            if member.joined {
                member.seen = now;
            }
        }
        let order = group.in_order();
        for topic in topics {
            let Some(partitions) = self.partitions(&topic) else { continue };
            let group = self.group_mut(name);
            let subscribed: Vec<_> = order.iter().filter(|id| group.members[*id].topics.contains(&topic)).collect();
            for (index, id) in subscribed.iter().enumerate() {
                let member = group.members.get_mut(*id).expect("its id was just listed");
                member.partitions.extend(assignor::range(&topic, partitions, subscribed.len(), index));
            }
        }
    }
}
