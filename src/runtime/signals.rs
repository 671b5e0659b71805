//! SIGTERM and SIGINT: the first asks for a clean stop, the second ends the process at once.

use super::Ending;
use crate::fault::{Fault, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The wish to stop. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Nobody wants to stop yet, and no signal is heard.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Stop::new`], and SIGTERM and SIGINT ask.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::new();
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag down and raises it, the second finds it up and exits.
            flag::register_conditional_shutdown(signal, i32::from(Ending::Killed.code()), Arc::clone(&stop.0))
                .and_then(|_| flag::register(signal, Arc::clone(&stop.0)))
                .map_err(|e| Fault::stop(format!("can't handle signal {signal}: {e}")))?;
        }
        Ok(stop)
    }

    /// Asks for the stop.
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// True once somebody asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// The flag itself, for a driver.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_asks() {
        let stop = Stop::on_signals().unwrap();
        assert!(!stop.asked());
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(stop.asked());
        // Down again: another test's signal would end the process.
        stop.0.store(false, Ordering::SeqCst);
    }
}
