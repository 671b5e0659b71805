//! Each task has a processor of its own. Kafka Streams: IllegalArgumentException when the supplier gives the same twice.

use millstream::{
    fault::Result,
    operator::{Processor, ProcessorContext},
    record::Record,
    topology::StreamsBuilder,
};

struct Pass;

impl Processor<String, String, String, String> for Pass {
    fn process(&mut self, cx: &mut ProcessorContext<'_, String, String>, r: Record<'_, String, String>) -> Result<()> {
        cx.forward(r)
    }
}

fn main() {
    let only = Pass;
    let words = StreamsBuilder::new().stream::<String, String>("words");
    words.process::<String, String, _, _>(
        move || only, //~ E0507
        &[],
    );
}
