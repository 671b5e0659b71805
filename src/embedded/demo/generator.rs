//! Chat messages at a steady rate, a little out of order.

use super::{INPUT, PARTITIONS, lost};
use crate::{
    codec::partition_for,
    fault::Result,
    log::Log,
    record::{Headers, OutRecord, Target, Timestamp},
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

const CHANNELS: u64 = 200;
/// How far an event lies behind the clock at most, in milliseconds.
const LATE_MS_MAX: u64 = 800;

/// Makes messages; the same ones for the same rate.
pub struct Generator {
    rate: u64,
    sent: u64,
    chance: u64,
    topic: Arc<str>,
}

impl Generator {
    pub fn new(rate: u64) -> Self {
        Self { rate, sent: 0, chance: 0x9e37_79b9_7f4a_7c15, topic: INPUT.into() }
    }

    /// Messages sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends what is due after this time.
    pub fn send_until(&mut self, log: &mut Log, elapsed: Duration, now: Timestamp) -> Result<()> {
        let due = self.rate * u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX) / 1_000;
        while self.sent < due {
            // The smaller of two draws: some channels are busier than others.
            let channel = self.draw(CHANNELS).min(self.draw(CHANNELS));
            let key = format!("channel-{channel:03}");
            let text = format!("message {} says hello", self.sent);
            let late = self.draw(LATE_MS_MAX).min(self.draw(LATE_MS_MAX)).cast_signed();
            log.append(OutRecord {
                topic: Arc::clone(&self.topic),
                partition: partition_for(key.as_bytes(), PARTITIONS),
                key: Some(Bytes::from(key)),
                value: Some(Bytes::from(text)),
                timestamp: now - late,
                headers: Headers::new(),
                target: Target::Sink,
            })
            .map_err(lost)?;
            self.sent += 1;
        }
        Ok(())
    }

    /// A number below `limit` (xorshift).
    fn draw(&mut self, limit: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % limit
    }
}
