//! Streams into systems beyond Kafka.

use super::{
    KStream, Produced,
    assemble::{Assembly, Built},
    physical::{Physical, Role},
    plan::{Logical, ProcessorPlan},
};
use crate::{
    fault::{Fault, Result},
    operator::sink_rows::SinkRows,
    sink::SinkSupplier,
};
use std::sync::Arc;

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Writes each record as a row to a system beyond Kafka: key and value as `produced` encodes them, a null value as a
    /// deletion. A record without a key is a failed one (`production.exception.handler`). The rows of a transaction are
    /// handed over before it is committed; [`sink`](crate::sink) says what is guaranteed. All rows of a key must come
    /// from one partition: where the key was changed, call [`KStream::repartition`] before.
    ///
    /// The name is the node's and the sink's, and changes no generated name.
    ///
    /// ```
    /// use millstream::{codec::serdes, sink::MemorySink, testing::TestDriver, topology::{Produced, StreamsBuilder}};
    /// let (sink, text) = (MemorySink::default(), serdes::string);
    /// let builder = StreamsBuilder::new();
    /// let counts = builder.stream::<String, String>("words").group_by(|_, word| word.cloned()).count().to_stream();
    /// counts.to_sink("counts", sink.clone(), Produced::with(text(), serdes::i64()));
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// for word in ["to", "be", "to"] {
    ///     driver.pipe("words", &text(), &text(), None, Some(&word.to_owned()), 0).unwrap();
    /// }
    /// assert_eq!(sink.get("to").as_deref(), Some(&2_i64.to_be_bytes()[..]));
    /// ```
    pub fn to_sink(&self, name: &str, sink: impl SinkSupplier + 'static, produced: Produced<K, V>) {
        let plan = &mut *self.plan.borrow_mut();
        plan.check_name(name);
        let name: Arc<str> = name.into();
        let key = plan.need(produced.key.as_ref().or(self.key.as_ref()), "key", &name);
        let value = plan.need(produced.value.as_ref().or(self.value.as_ref()), "value", &name);
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: Vec::new(),
            connected: Vec::new(),
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                Ok(Built::node(SinkRows { name: asm.name.clone(), key: key.get()?, value: value.get()? }))
            }),
        };
        plan.sinks.insert(name.clone(), Arc::new(sink));
        plan.add(&[self.node], name, Logical::Processor(processor));
    }
}

/// Refuses a sink whose rows have no order: records of several topics are processed as they come.
pub(super) fn check(physical: &Physical) -> Result<()> {
    for node in physical.nodes.iter().filter(|node| physical.sinks.contains_key(&node.name)) {
        let mut sources =
            physical.nodes.iter().filter(|other| other.group == node.group).filter_map(|n| match &n.role {
                Role::Source { topics, pattern: None, .. } => Some(topics.as_slice()),
                Role::Source { .. } => Some(&[]),
                _ => None,
            });
        if let (Some([_]), None) = (sources.next(), sources.next()) {
            continue;
        }
        return Err(Fault::stop("the rows of a sink come from more than one topic, and have no order between them")
            .at(format!("sink {}", node.name))
            .hint("call repartition() before it: its topic gives them one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{
        codec::serdes,
        sink::{MemorySink, Trouble},
        testing::TestDriver,
        topology::{KStream, Produced, StreamsBuilder},
    };

    fn to(stream: &KStream<String, String>) -> MemorySink {
        let sink = MemorySink::default();
        stream.to_sink("rows", sink.clone(), Produced::with(serdes::string(), serdes::string()));
        sink
    }

    #[test]
    fn a_sink_below_several_topics_is_refused() {
        let builder = StreamsBuilder::new();
        let both = builder.stream::<String, String>("a").merge(&builder.stream("b"));
        to(&both);
        let fault = builder.build().err().unwrap().to_string();
        assert!(fault.contains("(sink rows)") && fault.contains("repartition()"), "{fault}");

        let builder = StreamsBuilder::new();
        to(&builder.stream::<String, String>("a").merge(&builder.stream("b")).repartition());
        assert!(builder.build().is_ok());
    }

    #[test]
    fn a_sink_changes_no_generated_name() {
        let describe = |sink: bool| {
            let builder = StreamsBuilder::new();
            let input = builder.stream::<String, String>("in");
            if sink {
                to(&input);
            }
            input.group_by_key().count();
            builder.build().unwrap().describe()
        };
        let without = describe(true).replace("rows, ", "").replace("    Processor: rows (stores: [])\n", "");
        assert!(without.contains("KSTREAM-AGGREGATE-0000000002") && describe(false).contains("0000000002"));
    }

    #[test]
    fn every_failure_of_a_sink_is_made_good() {
        for trouble in [Trouble::Refused, Trouble::Half, Trouble::AnswerLost] {
            let builder = StreamsBuilder::new();
            let input = builder.stream::<String, String>("in");
            let sink = to(&input);
            input.to("out");
            let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
            let text = serdes::string();
            sink.trouble(trouble);
            sink.trouble(trouble);
            driver.pipe("in", &text, &text, Some(&"k".into()), Some(&"v".into()), 0).unwrap();
            assert_eq!(driver.read_raw("out").unwrap().len(), 0, "not before the sink has its row");
            driver.flush().unwrap();
            assert_eq!((sink.get("k").as_deref(), driver.read_raw("out").unwrap().len()), (Some(&b"v"[..]), 1));
            driver.pipe("in", &text, &text, Some(&"k".into()), None, 1).unwrap();
            assert_eq!(sink.get("k"), None);
        }
    }

    #[test]
    fn a_sink_that_never_answers_ends_the_worker_with_its_name() {
        let builder = StreamsBuilder::new();
        let sink = to(&builder.stream::<String, String>("in"));
        let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
        let text = serdes::string();
        (0..100).for_each(|_| sink.trouble(Trouble::Refused));
        let piped = driver.pipe("in", &text, &text, Some(&"k".into()), Some(&"v".into()), 0);
        let fault = piped.and_then(|()| driver.flush()).unwrap_err().to_string();
        assert!(fault.contains("21 transactions in a row failed") && fault.contains("sink rows, 1 rows"), "{fault}");
    }
}
