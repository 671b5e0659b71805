//! Ends the process when a thread hangs: in a client call that doesn't return, or in a stop that takes too long.

use super::{Board, Ending, Stop};
use crate::fault::{Fault, Result};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

/// A call of the Kafka client that takes so long is worth a line in the log.
const SLOW_CALL_MS: i64 = 2_000;

/// Starts the watch over a board. It looks each second, on a thread of its own, until the process ends.
///
/// Ending is safe at any time: what is not committed is done again by whoever gets the partitions.
///
/// # Errors
/// When the system refuses the thread.
pub fn watch(board: Board, stop: Stop, shutdown_ms: i64) -> Result<()> {
    let patience = Duration::from_millis(u64::try_from(shutdown_ms).unwrap_or(0));
    let mut ending = None;
    let mut slow = Slow { limit_ms: SLOW_CALL_MS, told: BTreeMap::new() };
    let look = move || loop {
        thread::sleep(Duration::from_secs(1));
        for line in slow.look(&board) {
            tracing::warn!("{line}");
        }
        if let Some(stuck) = board.stuck() {
            tracing::error!("{stuck}; ending the process");
            exit();
        }
        if board.stuck_at_the_end() {
            tracing::error!("stream threads are stopping and give no sign of life; ending the process");
            exit();
        }
        if stop.asked() {
            let since: &mut Instant = ending.get_or_insert_with(Instant::now);
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

/// Slow calls that were told: each is told once, and again when it takes ten times as long.
struct Slow {
    limit_ms: i64,
    /// By thread and call: how long it had taken when it was told.
    told: BTreeMap<(usize, &'static str), i64>,
}

impl Slow {
    fn look(&mut self, board: &Board) -> Vec<String> {
        let calls: BTreeMap<(usize, &'static str), i64> = board
            .read()
            .iter()
            .flat_map(|v| v.calls.iter().map(|(call, for_ms)| ((v.thread, *call), *for_ms)))
            .collect();
        self.told.retain(|call, told_ms| calls.get(call).is_some_and(|for_ms| for_ms >= told_ms));
        let mut lines = Vec::new();
        for ((thread, call), for_ms) in calls.into_iter().filter(|(_, for_ms)| *for_ms >= self.limit_ms) {
            if self.told.get(&(thread, call)).is_none_or(|told_ms| for_ms > told_ms * 10) {
                self.told.insert((thread, call), for_ms);
                lines.push(format!("stream thread {thread} is in `{call}` of the Kafka client for {for_ms} ms"));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_call_is_told_once() {
        let board = Board::new(1, 60_000);
        let mut slow = Slow { limit_ms: i64::MAX, told: BTreeMap::new() };
        board.in_call(0, "poll", true);
        assert!(slow.look(&board).is_empty());
        slow.limit_ms = 0;
        let lines = slow.look(&board);
        assert!(lines[0].starts_with("stream thread 0 is in `poll` of the Kafka client for "), "{lines:?}");
        slow.told.insert((0, "poll"), 1_000);
        slow.limit_ms = -1;
        board.in_call(0, "poll", false);
        assert!(slow.look(&board).is_empty());
        assert!(slow.told.is_empty());
    }
}
