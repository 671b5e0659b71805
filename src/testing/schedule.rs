//! What a seed decides before a run begins: settings, and which faults come when.

use super::{Chance, Fault, scene};
use crate::{
    record::Timestamp,
    worker::{Guarantee, Planted, Settings},
};

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// What the workers promise.
    pub guarantee: Guarantee,
    /// A bug to plant in every worker.
    pub planted: Planted,
    /// Prints what happens.
    pub trace: bool,
}

/// The course of one run.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// Settings of every worker; `session` is drawn for each start.
    pub settings: Settings,
    /// Committed input records.
    pub records: usize,
    /// Faults by turn, last one first.
    pub faults: Vec<(usize, Fault)>,
    /// A persist takes about so many turns.
    pub persist_turns: usize,
    /// Whether record caches are on.
    pub cached: bool,
    /// Event time at the start.
    pub start: Timestamp,
    /// Whether members have lasting ids in the group.
    pub static_members: bool,
    /// Records that a member processes in one turn, at most.
    pub work: usize,
}

/// The same for a play, whose input is all there from the start.
const PLAY_WORK: usize = 3;

impl Schedule {
    pub(super) fn new(chance: &mut Chance, options: Options) -> Self {
        let settings = Settings {
            guarantee: options.guarantee,
            planted: options.planted,
            commit_interval_ms: chance.between(8, 40),
            max_task_idle_ms: 0,
            partition_queue_bytes_max: chance.pick(&[200, 1 << 20]),
            outbox_bytes_max: chance.pick(&[100, 1 << 20]),
            overlay_bytes_max: chance.pick(&[2_000, 1 << 20]),
            cache_bytes_max: chance.pick(&[0, 500, 1 << 20]),
            table_bytes_max: chance.pick(&[1, 2_000, 1 << 20]),
            persist_bytes: chance.pick(&[1, 500, 1 << 20]),
            persist_interval_ms: chance.pick(&[5, 40, 200]),
            changelog_deduplicate: !chance.one_in(4),
            abort_backoff_ms: 2,
            aborts_max: 1_000,
            suspended_close_ms: chance.pick(&[0, 100, 10_000]),
            purge_interval_ms: chance.pick(&[30, 10_000]),
            delete_retention_ms: chance.pick(&[86_400_000, 86_400_000, 400]),
            ..Settings::default()
        };
        let mut faults: Vec<(usize, Fault)> = Vec::new();
        for _ in 0..chance.between(5, 10) {
            faults.push((chance.below(500) + 60, Fault::draw(chance, options.guarantee)));
        }
        for _ in 0..chance.between(1, 3) {
            faults.push((chance.below(500) + 60, Fault::draw_of_sinks(chance)));
        }
        faults.sort_by_key(|(turn, _)| std::cmp::Reverse(*turn));
        Self {
            settings,
            records: chance.between(200, 230) as usize,
            faults,
            persist_turns: chance.pick(&[2, 10, 60, 150]),
            cached: chance.one_in(2),
            start: chance.pick(&[scene::START, scene::START, scene::START, scene::LONG_AGO]),
            static_members: chance.one_in(4),
            work: 24,
        }
    }

    /// For input that lies there from the start: faults come earlier, work goes on slowly, and commits come sooner, so that
    /// they meet it.
    pub(super) fn of_a_play(mut self) -> Self {
        self.faults.iter_mut().for_each(|(turn, _)| *turn /= 2);
        self.settings.commit_interval_ms /= 2;
        Self { work: PLAY_WORK, ..self }
    }
}
