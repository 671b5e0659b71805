//! What can go wrong in a simulation, and how it is done to the members.

use super::{Chance, simulator::World};
use crate::{embedded::CommitTrouble, sink::Trouble, worker::Guarantee};

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process dies between two effects, or in the middle of one; persists under way may have reached the disk.
    Crash,
    /// A process dies, and its disk with it.
    LoseDisk,
    /// A member stands still for so many milliseconds and then goes on: a zombie when that is beyond the session.
    Pause(i64),
    /// A process dies in the middle of a commit; what its client has buffered may reach some partitions and not others.
    CrashInCommit,
    /// A member stands still in the middle of a commit, so long that the group forgets it.
    PauseInCommit,
    /// The broker refuses a commit.
    Refuse,
    /// The broker refuses a record.
    RefuseRecord,
    /// The answer to a commit is lost.
    Unknown(CommitTrouble),
    /// Another producer takes a member's transactional id.
    Fence,
    /// The group rebalances without a reason.
    Rebalance,
    /// A member stands still between two assignments, so long that the group forgets it.
    Doze,
    /// A member commits, leaves, and comes back later.
    Leave,
    /// A process is started anew with another process's lasting id in the group; without such ids a rebalance.
    Twin,
    /// The log cleaner compacts the changelogs.
    Compact,
    /// Answers to a member's requests stay away for so many milliseconds.
    Slow(i64),
    /// A sink beyond Kafka does not answer for so many writes.
    Sink(Trouble, usize),
    /// Markers of transactions come late and in any order for so many milliseconds.
    SlowMarkers(i64),
}

impl Fault {
    pub(super) fn draw(chance: &mut Chance, guarantee: Guarantee) -> Self {
        match (Self::draw_any(chance), guarantee) {
            // Without transactions these are none: their turns go to what matters then.
            (Self::Fence, Guarantee::AtLeastOnce) => Self::Unknown(CommitTrouble::UnknownDone),
            (Self::SlowMarkers(_), Guarantee::AtLeastOnce) => Self::CrashInCommit,
            (fault, _) => fault,
        }
    }

    /// One that the sinks beyond Kafka have.
    pub(super) fn draw_of_sinks(chance: &mut Chance) -> Self {
        let trouble = chance.pick(&[Trouble::Refused, Trouble::Half, Trouble::AnswerLost]);
        Self::Sink(trouble, chance.below(3) + 1)
    }

    fn draw_any(chance: &mut Chance) -> Self {
        match chance.below(28) {
            0..=2 => Self::Crash,
            3 => Self::LoseDisk,
            4..=6 => Self::Pause(chance.pick(&[60, 200, 350, 500])),
            7 => Self::Refuse,
            8 => Self::RefuseRecord,
            9 => Self::Unknown(CommitTrouble::UnknownDone),
            10 => Self::Unknown(CommitTrouble::UnknownNot),
            11 => Self::Unknown(CommitTrouble::UnknownLate),
            12 => Self::Fence,
            13 | 14 => Self::Rebalance,
            15 | 16 => Self::Leave,
            17 => Self::Compact,
            18 => Self::Slow(chance.between(20, 200)),
            19 | 20 => Self::Doze,
            21 | 22 => Self::PauseInCommit,
            23..=25 => Self::CrashInCommit,
            26 => Self::Twin,
            _ => Self::SlowMarkers(chance.between(20, 100)),
        }
    }
}

impl World<'_> {
    /// Lets a fault happen. What needs a member that is up picks one.
    pub(super) fn inject(&mut self, fault: Fault) {
        self.faults += 1;
        self.note(|| format!("fault {fault:?}"));
        match fault {
            Fault::Crash | Fault::LoseDisk => {
                let process = self.chance.below(self.processes.len());
                self.crash(process, fault == Fault::LoseDisk);
            }
            Fault::Twin => self.twin(),
            Fault::Rebalance => self.log.rebalance(super::scene::APPLICATION, self.now),
            Fault::Compact => self.compact(),
            Fault::Sink(trouble, writes) => {
                let sink = self.chance.below(super::scene::SINKS.len());
                self.rows.trouble(sink, trouble, writes);
            }
            Fault::SlowMarkers(ms) => {
                self.log.defer_markers(true);
                self.markers_slow_until = self.now + ms;
            }
            _ => self.inject_into_member(fault),
        }
    }

    fn inject_into_member(&mut self, fault: Fault) {
        let at = self.chance.below(self.slots.len());
        let (now, client_id) = (self.now, self.slots[at].client_id());
        let slot = &mut self.slots[at];
        let Some(member) = slot.member.as_mut() else { return };
        match fault {
            Fault::Pause(ms) => slot.asleep_until = now + ms,
            Fault::Doze => {
                slot.dozes = true;
                self.log.rebalance(super::scene::APPLICATION, now);
            }
            Fault::PauseInCommit | Fault::CrashInCommit => slot.in_commit = Some(fault),
            Fault::Slow(ms) => slot.slow_until = now + ms,
            Fault::Refuse => member.client.trouble.commit = Some(CommitTrouble::Refused),
            Fault::RefuseRecord => member.client.trouble.send = true,
            Fault::Unknown(trouble) => member.client.trouble.commit = Some(trouble),
            Fault::Leave => {
                member.stop(now);
                slot.leaving = true;
            }
            Fault::Fence => {
                let id = format!("{}-{client_id}", super::scene::APPLICATION);
                // While markers are being written nobody gets the id, and nobody is fenced.
                let _ = self.log.init_transactions(&id, 1_000, now);
            }
            _ => {}
        }
    }

    fn compact(&mut self) {
        let topics: Vec<_> = self.log.topics().cloned().collect();
        for topic in topics {
            if self.log.topic_config(&topic).is_some_and(|c| c.compact) {
                self.log.clean(&topic, self.now).expect("a topic that was just listed");
            }
        }
    }
}
