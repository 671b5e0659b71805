//! Which sensors are silent, by the wall clock.

use super::Reading;
use millstream::{
    fault::Result,
    operator::{Processor, ProcessorContext, Punctuation, ScheduleId},
    record::{Record, Timestamp},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const SILENT_MS: i64 = 300_000;
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// When a sensor was heard, by the wall clock, and whether it is told to be silent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Heard {
    at: Timestamp,
    /// Time of its newest reading: one that is told again is no sign of life.
    newest: Timestamp,
    silent: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Alert {
    silent: bool,
}

pub(super) struct Watch;

impl Processor<String, Reading, String, Alert> for Watch {
    fn init(&mut self, cx: &mut ProcessorContext<'_, String, Alert>) -> Result<()> {
        cx.schedule(LOOK_EVERY, Punctuation::WallClock).map(drop)
    }

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, Alert>,
        record: Record<'_, String, Reading>,
    ) -> Result<()> {
        let Some(sensor) = record.key else { return Ok(()) };
        let (at, newest) = (cx.system_time(), record.timestamp);
        let mut heard = cx.store::<String, Heard>("heard")?;
        let known = heard.get(sensor)?;
        if known.as_ref().is_some_and(|known| newest <= known.newest) {
            return Ok(());
        }
        heard.put(sensor, &Heard { at, newest, silent: false })?;
        let was_silent = known.is_some_and(|known| known.silent);
        if was_silent { cx.forward(record.with_value(Some(&Alert { silent: false }))) } else { Ok(()) }
    }

    fn punctuate(&mut self, cx: &mut ProcessorContext<'_, String, Alert>, _: ScheduleId, now: Timestamp) -> Result<()> {
        let all = cx.store::<String, Heard>("heard")?.all()?;
        for (sensor, heard) in all.into_iter().filter(|(_, h)| !h.silent && h.at + SILENT_MS <= now) {
            cx.store::<String, Heard>("heard")?.put(&sensor, &Heard { silent: true, ..heard })?;
            cx.forward(Record::new(Some(&sensor), Some(&Alert { silent: true }), now))?;
        }
        Ok(())
    }
}
