//! Global tables on the model log: whoever looks after a member reads their topics to the end.

use crate::{
    fault::{Fault, Result},
    log::{Isolation, Log},
    operator::OnError,
    record::TopicPartition,
    topology::GlobalTable,
};

/// Bytes that are read at once.
const FETCH_BYTES_MAX: usize = 1 << 20;

/// Brings a global table up to what is committed to its topic. `unreadable` is what the settings say of records that can't
/// be read.
///
/// # Errors
/// When the topic is not there, or a record can't be read.
pub(super) fn follow(table: &GlobalTable, log: &Log, unreadable: OnError) -> Result<()> {
    for partition in 0..table.partitions {
        let from = TopicPartition::new(table.topic.clone(), partition);
        let fault = |error| Fault::stop(format!("a global table can't be read: {error:?}")).at(from.to_string());
        let start = log.start(&from).map_err(fault)?;
        let mut position = table.store.position(partition).unwrap_or(start).max(start);
        while position < log.stable_end(&from).map_err(fault)? {
            let fetched = log.fetch(&from, position, Isolation::ReadCommitted, FETCH_BYTES_MAX).map_err(fault)?;
            table.apply(partition, &fetched.records, fetched.position, unreadable)?;
            if fetched.position <= position {
                break;
            }
            position = fetched.position;
        }
    }
    table.store.set_restored();
    Ok(())
}
