//! Ends the process when a thread hangs: in a client call that doesn't return, or in a stop that takes too long.

use super::{Board, Ending, Stop};
use crate::fault::{Fault, Result};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Starts the watch over a board. It looks each second, on a thread of its own, until the process ends.
///
/// Ending is safe at any time: what is not committed is done again by whoever gets the partitions.
///
/// # Errors
/// When the system refuses the thread.
pub fn watch(board: Board, stop: Stop, shutdown_ms: i64) -> Result<()> {
    let patience = Duration::from_millis(u64::try_from(shutdown_ms).unwrap_or(0));
    let mut asked_at = None;
    let look = move || loop {
        thread::sleep(Duration::from_secs(1));
        if let Some((thread, silent_ms)) = board.stuck() {
            tracing::error!(thread, silent_ms, "stream thread hangs in a call; ending the process");
            exit();
        }
        if stop.asked() {
            let since: &mut Instant = asked_at.get_or_insert_with(Instant::now);
            if since.elapsed() > patience {
                tracing::error!("clean stop took longer than shutdown.timeout.ms={shutdown_ms}; ending the process");
                exit();
            }
        }
    };
    thread::Builder::new()
        .name("watchdog".into())
        .spawn(look)
        .map(drop)
        .map_err(|e| Fault::stop(format!("can't start the watchdog thread: {e}")))
}

fn exit() -> ! {
    // `_exit` and not `exit`: destructors of a client that hangs would hang too.
    signal_hook::low_level::exit(i32::from(Ending::Stuck.code()))
}
