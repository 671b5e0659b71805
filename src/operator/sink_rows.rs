//! Where records leave for a system beyond Kafka: typed records to rows with the place of their input record.

use super::{Context, Node, Process, Stage, errors::settle};
use crate::{
    codec::Serde,
    fault::{Fault, Remedy, Result},
    record::Record,
    sink::SinkRow,
};
use std::sync::Arc;

/// The node of `to_sink`.
pub(crate) struct SinkRows<K, V> {
    pub name: Arc<str>,
    pub key: Serde<K>,
    pub value: Serde<V>,
}

impl<K: 'static, V: 'static> SinkRows<K, V> {
    fn row(&self, cx: &dyn Context, record: &Record<'_, K, V>) -> Result<SinkRow> {
        let refused = |fault: Fault| fault.with_remedy(Remedy::Skip).at(format!("sink {}", self.name));
        let key = record.key.ok_or_else(|| refused(Fault::skip("a record without a key makes no row")))?;
        let version = cx.source().cloned().ok_or_else(|| {
            Fault::stop("a row that no input record made has no version")
                .at(format!("sink {}", self.name))
                .hint("write what a schedule makes to a topic, and that topic to the sink")
        })?;
        Ok(SinkRow {
            key: self.key.to_bytes(key).map_err(refused)?,
            value: record.value.map(|value| self.value.to_bytes(value)).transpose().map_err(refused)?,
            timestamp: record.timestamp,
            version,
        })
    }
}

impl<K: 'static, V: 'static> Process<K, V> for SinkRows<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        match self.row(cx, &record) {
            Ok(row) => {
                cx.collect(&self.name, row);
                Ok(())
            }
            Err(fault) if fault.remedy == Remedy::Skip => {
                let of = (record.timestamp, record.headers);
                settle(cx, Stage::Production, &self.name, of, fault, None)
            }
            Err(fault) => Err(fault),
        }
    }
}

impl<K, V> Node for SinkRows<K, V> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::serdes, operator::testkit::Kit, record::SourceContext};

    fn process(kit: &mut Kit, key: Option<&str>, value: Option<i64>) -> Result<()> {
        let node = SinkRows { name: "sink".into(), key: serdes::string(), value: serdes::i64() };
        let key = key.map(str::to_owned);
        node.process(kit, Record::new(key.as_ref(), value.as_ref(), 5))
    }

    #[test]
    fn a_row_carries_the_place_of_its_record() {
        let mut kit = Kit::key_value();
        let version = SourceContext { topic: "in".into(), partition: 3, offset: 17 };
        kit.source = Some(version.clone());
        process(&mut kit, Some("a"), Some(1)).unwrap();
        process(&mut kit, Some("a"), None).unwrap();
        let rows: Vec<_> = kit.rows.iter().map(|(_, row)| (&row.version, row.value.is_some())).collect();
        assert_eq!(rows, [(&version, true), (&version, false)]);
    }

    #[test]
    fn without_a_key_or_an_input_record_there_is_no_row() {
        let mut kit = Kit::key_value();
        let fault = process(&mut kit, Some("a"), Some(1)).unwrap_err();
        assert_eq!(fault.what(), "a row that no input record made has no version");
        kit.source = Some(SourceContext { topic: "in".into(), partition: 0, offset: 0 });
        assert!(process(&mut kit, None, Some(1)).unwrap_err().to_string().contains("without a key"));
        assert!(kit.rows.is_empty());
    }
}
