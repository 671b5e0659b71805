//! Rows on their way to sinks beyond Kafka: tried again while the Kafka transaction can wait for them.

use crate::{
    fault::{Fault, Remedy, Result},
    sink::{Batch, Sinks},
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Pause after the first failure; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The sinks of a stream thread.
pub(super) struct Delivery {
    sinks: Sinks,
    patience: Duration,
}

impl Delivery {
    /// With half of `transaction.timeout.ms` for all batches of a transaction. Then the transaction is aborted and done
    /// again, and `transaction.aborts.max` of that end the worker.
    pub fn new(sinks: Sinks, transaction_timeout_ms: i64) -> Self {
        let patience = Duration::from_millis(u64::try_from(transaction_timeout_ms / 2).unwrap_or(0));
        Self { sinks, patience }
    }

    /// Writes the batches of a transaction.
    pub fn write(&mut self, batches: &[Batch]) -> Result<()> {
        let start = Instant::now();
        batches.iter().try_for_each(|batch| self.write_one(batch, start))
    }

    fn write_one(&mut self, batch: &Batch, start: Instant) -> Result<()> {
        let mut pause = PAUSE;
        loop {
            let fault: Fault = match self.sinks.write(batch) {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            if fault.remedy == Remedy::Stop || start.elapsed() + pause > self.patience {
                return Err(fault);
            }
            tracing::warn!(%fault, "rows are not taken, and are written again");
            sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{SourceContext, TaskId},
        sink::{MemorySink, SinkRow, Trouble},
    };
    use std::sync::Arc;

    #[test]
    fn rows_are_written_again_until_they_are_there_or_time_is_up() {
        let version = SourceContext { topic: "in".into(), partition: 0, offset: 0 };
        let row = SinkRow { key: "k".into(), value: Some("v".into()), timestamp: 0, version };
        let batch = Batch { sink: "s".into(), task: TaskId { sub_topology: 0, partition: 0 }, rows: vec![row] };
        let sink = MemorySink::default();
        let sinks = || Sinks::new([("s".into(), Arc::new(sink.clone()) as Arc<_>)].into());
        (0..3).for_each(|_| sink.trouble(Trouble::Refused));
        assert!(Delivery::new(sinks(), 60_000).write(std::slice::from_ref(&batch)).is_ok());
        assert!(sink.get("k").is_some());
        sink.trouble(Trouble::AnswerLost);
        let fault = Delivery::new(sinks(), 10).write(&[batch]).unwrap_err();
        assert_eq!((fault.remedy, fault.place()), (Remedy::Retry, "sink s, 1 rows of task 0_0"));
    }
}
