//! Ends the transactions of stream threads that the process had and has no more.
//!
//! A killed process leaves its transactions open. A thread that comes back under its transactional id aborts its own;
//! those of threads that do not come back would block every reader of committed records until they time out.

use super::{calls::Calls, clients::Clients, process::StateHome, producer::Producer};
use crate::fault::{Fault, Result};
use std::{sync::Arc, thread};

/// Transactional ids registered at the same time; each takes up to a second.
const AT_ONCE: usize = 8;

/// Registers, once and for a moment, the transactional ids of former threads above the present `count`.
///
/// # Errors
/// When an id can't be registered, or the state directory can't remember the count.
pub(super) fn former_threads(home: &StateHome, clients: &Clients, count: usize, exactly_once: bool) -> Result<()> {
    let before = home.threads();
    // A crash between here and the end leaves the greater number, and the ids are registered at the next start.
    home.keep_threads(before.max(count))?;
    if !exactly_once || before <= count {
        return Ok(());
    }
    tracing::info!(before, count, "transactions of former stream threads are ended");
    let former: Vec<usize> = (count..before).collect();
    for some in former.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|number| scope.spawn(|| register(clients, *number))).collect();
            running.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| Err(Fault::stop("a thread panicked"))))
        })?;
    }
    home.keep_threads(count)
}

fn register(clients: &Clients, number: usize) -> Result<()> {
    Producer::new(clients.clone(), number, true, Calls::new(number, Arc::new(|_, _, _| {}))).replace()
}
