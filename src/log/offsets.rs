//! Committed offsets of a group, and those that wait for their transaction.

use super::{Log, LogError, group::Group};
use crate::record::{Offset, TopicPartition};
use std::sync::Arc;

/// A committed offset with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: Offset,
    /// The text committed with it.
    pub metadata: String,
}

/// Who commits. A negative generation with an empty member passes unchecked, as on a real broker; without a transaction
/// only while the group has no members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Generation of the assignment.
    pub generation: i32,
    /// Member id.
    pub member: String,
}

impl Group {
    pub(super) fn check(&self, identity: &Identity) -> Result<(), LogError> {
        if identity.generation < 0 && identity.member.is_empty() {
            return Ok(());
        }
        if self.fenced.contains(identity.member.as_str()) {
            return Err(LogError::FencedInstance);
        }
        if !self.members.contains_key(identity.member.as_str()) {
            return Err(LogError::UnknownMember);
        }
        if identity.generation != self.generation {
            return Err(LogError::IllegalGeneration);
        }
        Ok(())
    }

    /// Offsets that become visible with the producer's transaction.
    pub(super) fn hold(&mut self, producer: usize, offsets: Vec<(TopicPartition, Committed)>) {
        self.pending.extend(offsets.into_iter().map(|(p, c)| (producer, p, c)));
    }

    /// The producer's transaction is decided.
    pub(super) fn release(&mut self, producer: usize, commit: bool) {
        let pending = std::mem::take(&mut self.pending);
        for (id, partition, committed) in pending {
            if id != producer {
                self.pending.push((id, partition, committed));
            } else if commit {
                self.committed.insert(partition, committed);
            }
        }
    }
}

impl Log {
    /// Commits offsets outside of any transaction; the group checks generation and member first.
    ///
    /// # Errors
    /// [`LogError::IllegalGeneration`], [`LogError::UnknownMember`], [`LogError::FencedInstance`].
    pub fn commit_offsets(
        &mut self,
        group: &str,
        identity: &Identity,
        offsets: Vec<(TopicPartition, Committed)>,
    ) -> Result<(), LogError> {
        let group = self.group_mut(&Arc::from(group));
        if identity.generation < 0 && !group.members.is_empty() {
            return Err(LogError::UnknownMember);
        }
        group.check(identity)?;
        group.committed.extend(offsets);
        Ok(())
    }

    /// Committed offsets with `require_stable`, in the order asked for; `None` where nothing is committed.
    ///
    /// # Errors
    /// [`LogError::Unstable`] while an undecided transaction holds an offset of one of the partitions: ask again.
    pub fn stable(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>, LogError> {
        let Some(group) = self.groups.get(group) else { return Ok(vec![None; partitions.len()]) };
        if group.pending.iter().any(|(_, p, _)| partitions.contains(p)) {
            return Err(LogError::Unstable);
        }
        Ok(partitions.iter().map(|p| group.committed.get(p).cloned()).collect())
    }

    /// The committed offset of one partition, whatever open transactions will change.
    pub fn committed(&self, group: &str, partition: &TopicPartition) -> Option<Committed> {
        self.groups.get(group)?.committed.get(partition).cloned()
    }
}
