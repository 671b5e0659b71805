//! `process_values` keeps the key, or the records would lie on the wrong partition. Kafka Streams: its deprecated
//! `transformValues` fails with a StreamsException when it forwards.

use millstream::{
    fault::Result,
    operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord},
};

struct Moves;

impl FixedKeyProcessor<String, String, String> for Moves {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, String>,
        record: FixedKeyRecord<'_, String, String>,
    ) -> Result<()> {
        let key = "other".to_owned();
        cx.forward(record.with_key(Some(&key))) //~ E0599
    }
}

fn main() {}
