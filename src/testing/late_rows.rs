//! The sinks beyond Kafka of a run: they fail, and rows reach them long after their sender is gone.

use super::{Chance, scene::SINKS};
use crate::{
    sink::{Batch, MemorySink, Sink, SinkSupplier, Sinks, Trouble},
    worker::Planted,
};
use std::sync::Arc;

/// Turns that rows on the wire take about, when their sender is dead.
const TURNS: usize = 40;

/// The sinks in the order of [`SINKS`], and what is on the wire to them.
pub(super) struct LateRows {
    pub sinks: [MemorySink; 2],
    late: Vec<Batch>,
}

impl LateRows {
    pub fn new(planted: Planted) -> Self {
        let sink = |_| match planted {
            Planted::SinkUnguarded => MemorySink::unguarded(),
            _ => MemorySink::default(),
        };
        Self { sinks: SINKS.map(sink), late: Vec::new() }
    }

    /// The sinks as a member opens them.
    pub fn opened(&self) -> Sinks {
        let supplier = |sink: &MemorySink| Arc::new(sink.clone()) as Arc<dyn SinkSupplier>;
        let names = SINKS.iter().map(|name| Arc::from(*name));
        Sinks::new(names.zip(self.sinks.iter().map(supplier)).collect())
    }

    /// A sink does not answer for so many writes.
    pub fn trouble(&self, sink: usize, trouble: Trouble, writes: usize) {
        (0..writes).for_each(|_| self.sinks[sink].trouble(trouble));
    }

    /// Every sink answers.
    pub fn recover(&self) {
        self.sinks.iter().for_each(MemorySink::recover);
    }

    /// The sender of these is dead.
    pub fn send(&mut self, batches: Vec<Batch>) {
        self.late.extend(batches);
    }

    /// A batch on the wire may reach its sink.
    pub fn some_arrive(&mut self, chance: &mut Chance) {
        if !self.late.is_empty() && chance.one_in(TURNS) {
            self.arrive(chance.below(self.late.len()));
        }
    }

    /// Every batch on the wire reaches its sink.
    pub fn all_arrive(&mut self) {
        while !self.late.is_empty() {
            self.arrive(0);
        }
    }

    /// A batch reaches its sink; there is nobody to hear of a failure.
    fn arrive(&mut self, at: usize) {
        let batch = self.late.swap_remove(at);
        let sink = SINKS.iter().position(|name| **name == *batch.sink).expect("a sink of the scene");
        let _ = self.sinks[sink].write(&batch);
    }

    /// Rows that a sink left out because it had newer ones.
    pub fn stale(&self) -> usize {
        self.sinks.iter().flat_map(MemorySink::written).filter(|written| !written.taken).count()
    }
}
