//! Whom a record is handed to may write to the same store. Kafka Streams: ConcurrentModificationException of an iterator,
//! or rows that come twice.

use millstream::{
    fault::Result,
    operator::{Processor, ProcessorContext},
    record::Record,
};

struct Holds;

impl Processor<String, i64, String, i64> for Holds {
    fn process(&mut self, cx: &mut ProcessorContext<'_, String, i64>, record: Record<'_, String, i64>) -> Result<()> {
        let mut store = cx.store::<String, i64>("sums")?;
        cx.forward(record)?; //~ E0499
        store.put(&String::new(), &1)
    }
}

fn main() {}
