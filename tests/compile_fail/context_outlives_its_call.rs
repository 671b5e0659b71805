//! A context is there for one call. Kafka Streams: IllegalStateException, or another record's times and headers.

use millstream::{
    fault::Result,
    operator::{Processor, ProcessorContext},
    record::Record,
};

struct Keeps<'a>(Option<&'a mut ProcessorContext<'a, String, String>>);

impl<'a> Processor<String, String, String, String> for Keeps<'a> {
    fn process(&mut self, cx: &mut ProcessorContext<'_, String, String>, _: Record<'_, String, String>) -> Result<()> {
        self.0 = Some(cx); //~ lifetime
        Ok(())
    }
}

fn main() {}
