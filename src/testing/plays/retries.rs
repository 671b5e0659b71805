//! A processor that fails, with retries that keep the order of each key, and a list by key behind it.

use super::{Play, keyed, listed, ms};
use crate::{
    codec::serdes,
    fault::{Fault, Result},
    operator::{Processor, ProcessorContext},
    record::Record,
    topology::{Retry, StoreBuilder, StreamsBuilder},
};

pub(super) const RETRIES: Play = Play {
    name: "retries",
    inputs: &["in"],
    before: 0,
    build: ordered,
    optimizations: &[],
    record: keyed,
    restamped: &[],
    // Keys wait by the wall clock, each for itself.
    mixed: &["retried-out", "retry-dead", "retry-failed"],
    linger_ms: 1_500,
};

fn ordered(builder: &StreamsBuilder) {
    build(builder, retry());
}

fn retry() -> Retry<String, String> {
    Retry::as_store("retries").delay(ms(5)).topic("retry-failed").dead_letter_topic("retry-dead")
}

fn build(builder: &StreamsBuilder, retry: Retry<String, String>) {
    let text = serdes::string;
    builder.add_state_store(StoreBuilder::key_value("tries", text(), serdes::i64()));
    builder.add_state_store(StoreBuilder::key_value("processed", text(), text()));
    let input = builder.stream::<String, String>("in");
    input.process_with_retries(|| Flaky, &["tries", "processed"], retry).to("retried-out");
}

/// Fails for ever on some records, and on the first attempt of others. Attempts are counted: one too many or too few shows.
struct Flaky;

impl Processor<String, String, String, String> for Flaky {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, String>,
        record: Record<'_, String, String>,
    ) -> Result<()> {
        let (Some(key), Some(value)) = (record.key, record.value) else { return Ok(()) };
        let mut tries = cx.store::<String, i64>("tries")?;
        let tried = tries.get(value)?.unwrap_or(0) + 1;
        tries.put(value, &tried)?;
        let number: i64 = value.parse().unwrap_or(0);
        if number % 11 == 0 || number % 4 == 0 && tried == 1 {
            return Err(Fault::retry(format!("attempt {tried} fails")));
        }
        let mut processed = cx.store::<String, String>("processed")?;
        let list = listed(processed.get(key)?.unwrap_or_default(), Some(value));
        processed.put(key, &list)?;
        cx.forward(record.with_value(Some(&list)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Options, Simulator};

    /// Retries that let later records of a key go before, which the play must see.
    static OVERTAKEN: Play = Play { build: |builder| build(builder, retry().without_order()), ..RETRIES };
    /// Runs that end before everything is due.
    static FORGETFUL: Play = Play { linger_ms: 0, ..RETRIES };

    fn caught(play: &'static Play) -> bool {
        let simulator = Simulator::of(play);
        (0..20).any(|seed| simulator.run(seed, Options::default()).failure.is_some())
    }

    #[test]
    fn the_play_sees_records_out_of_order_and_records_that_still_wait() {
        assert!(caught(&OVERTAKEN));
        assert!(caught(&FORGETFUL));
    }
}
