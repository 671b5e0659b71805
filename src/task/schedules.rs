//! Punctuation: which node is due when (P-20..P-27).

use crate::{
    operator::{Punctuation, ScheduleId},
    record::{NO_TIMESTAMP, Timestamp},
};
use std::collections::BTreeMap;

struct Schedule {
    node: usize,
    id: ScheduleId,
    kind: Punctuation,
    interval_ms: i64,
    due: Timestamp,
}

/// The schedules of one task.
#[derive(Default)]
pub(super) struct Schedules {
    schedules: Vec<Schedule>,
    made: BTreeMap<usize, usize>,
    restored: BTreeMap<String, Timestamp>,
}

impl Schedules {
    /// Schedules of a task that starts from committed metadata: a stream-time schedule made under a known name takes
    /// up its due time.
    pub fn restored(times: &BTreeMap<String, i64>) -> Self {
        let restored =
            times.iter().filter(|(name, _)| name.starts_with(PREFIX)).map(|(n, t)| (n.clone(), *t)).collect();
        Self { restored, ..Self::default() }
    }

    /// Adds a schedule. Stream time is first due at once (P-21), the wall clock after one interval (P-22).
    pub fn add(&mut self, node: usize, name: &str, interval_ms: i64, kind: Punctuation, now: Timestamp) -> ScheduleId {
        let first = match kind {
            Punctuation::StreamTime => 0,
            Punctuation::WallClock => now + interval_ms.max(1),
        };
        self.push(node, name, first, interval_ms, kind)
    }

    /// Adds a schedule whose phase is that of `start` (P-27): it is first due at `start`, or, if that has passed at
    /// `time`, at the next multiple of the interval after it that has not.
    pub fn add_from(
        &mut self,
        node: usize,
        name: &str,
        start: Timestamp,
        interval_ms: i64,
        kind: Punctuation,
        time: Timestamp,
    ) -> ScheduleId {
        let interval_ms = interval_ms.max(1);
        let missed = if start < time { (time - start) / interval_ms + 1 } else { 0 };
        self.push(node, name, start.saturating_add(missed.saturating_mul(interval_ms)), interval_ms, kind)
    }

    fn push(&mut self, node: usize, name: &str, first: Timestamp, interval_ms: i64, kind: Punctuation) -> ScheduleId {
        let made = self.made.entry(node).or_default();
        let id = ScheduleId(*made);
        *made += 1;
        let restored = self.restored.get(&key(name, id)).filter(|_| kind == Punctuation::StreamTime);
        let due = restored.copied().unwrap_or(first);
        self.schedules.push(Schedule { node, id, kind, interval_ms: interval_ms.max(1), due });
        id
    }

    /// Ends a schedule; one that has ended already stays so.
    pub fn cancel(&mut self, node: usize, id: ScheduleId) {
        self.schedules.retain(|s| (s.node, s.id) != (node, id));
    }

    /// Takes the next schedule that is due, earliest first, at most once per call of the same time: its next due time
    /// keeps its phase and leaves out what was missed (P-23, P-24).
    pub fn pop_due(&mut self, kind: Punctuation, time: Timestamp) -> Option<(usize, ScheduleId)> {
        if time == NO_TIMESTAMP {
            return None;
        }
        let schedule = self
            .schedules
            .iter_mut()
            .filter(|s| s.kind == kind && s.due <= time)
            .min_by_key(|s| (s.due, s.node, s.id))?;
        let missed = (time - schedule.due) / schedule.interval_ms;
        schedule.due += (missed + 1) * schedule.interval_ms;
        Some((schedule.node, schedule.id))
    }

    /// When a wall-clock schedule is due next.
    pub fn next_wall_clock(&self) -> Option<Timestamp> {
        self.schedules.iter().filter(|s| s.kind == Punctuation::WallClock).map(|s| s.due).min()
    }

    /// Due times of stream-time schedules by name, for the offset metadata.
    pub fn save(&self, names: &[std::sync::Arc<str>], times: &mut BTreeMap<String, i64>) {
        for schedule in self.schedules.iter().filter(|s| s.kind == Punctuation::StreamTime) {
            times.insert(key(&names[schedule.node], schedule.id), schedule.due);
        }
    }
}

const PREFIX: &str = "millstream.due/";

fn key(node: &str, id: ScheduleId) -> String {
    format!("{PREFIX}{node}/{}", id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p21_stream_time_fires_first_at_once_then_at_multiples() {
        let mut schedules = Schedules::default();
        schedules.add(0, "n", 10, Punctuation::StreamTime, 0);
        assert_eq!(schedules.pop_due(Punctuation::StreamTime, NO_TIMESTAMP), None);
        let fired: Vec<_> = (1..=60).filter(|t| schedules.pop_due(Punctuation::StreamTime, *t).is_some()).collect();
        assert_eq!(fired, [1, 10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn p24_missed_times_are_left_out_and_the_phase_is_kept() {
        let mut schedules = Schedules::default();
        schedules.add(0, "n", 10, Punctuation::WallClock, 3);
        assert_eq!(schedules.next_wall_clock(), Some(13));
        assert!(schedules.pop_due(Punctuation::WallClock, 47).is_some());
        assert!(schedules.pop_due(Punctuation::WallClock, 47).is_none());
        assert_eq!(schedules.next_wall_clock(), Some(53));
    }

    #[test]
    fn p27_an_anchored_schedule_keeps_the_phase_of_its_start() {
        let mut schedules = Schedules::default();
        schedules.add_from(0, "n", 30, 20, Punctuation::WallClock, 100);
        assert_eq!(schedules.next_wall_clock(), Some(110));
        schedules.add_from(0, "n", 200, 20, Punctuation::StreamTime, NO_TIMESTAMP);
        assert_eq!(schedules.pop_due(Punctuation::StreamTime, 199), None);
        assert!(schedules.pop_due(Punctuation::StreamTime, 225).is_some());
        assert_eq!(schedules.pop_due(Punctuation::StreamTime, 239), None);
        assert!(schedules.pop_due(Punctuation::StreamTime, 240).is_some());
    }

    #[test]
    fn a_due_time_travels_in_the_metadata() {
        let mut before = Schedules::default();
        before.add(0, "n", 10, Punctuation::StreamTime, 0);
        before.pop_due(Punctuation::StreamTime, 25);
        let mut times = BTreeMap::new();
        before.save(&["n".into()], &mut times);
        let mut after = Schedules::restored(&times);
        after.add(0, "n", 10, Punctuation::StreamTime, 0);
        assert_eq!(after.pop_due(Punctuation::StreamTime, 29), None);
        assert_eq!(after.pop_due(Punctuation::StreamTime, 30), Some((0, ScheduleId(0))));
    }
}
