//! Records that the broker refuses however often they are sent: the worker ends, and says what and where.

use crate::support::{Broker, Worker, flush, send};
use rdkafka::producer::BaseRecord;
use std::time::Duration;

fn told(broker: &Broker, app: &str, guarantee: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = [
        format!("application.id={app}"),
        format!("input.topic={app}-in"),
        format!("output.topic={app}-out"),
        format!("processing.guarantee={guarantee}"),
        "producer.compression.type=none".to_owned(),
    ];
    let mut args = vec!["bench-passthrough"];
    args.extend(settings.iter().flat_map(|s| ["--set", s.as_str()]));
    let mut worker = Worker::start(broker, dir.path(), "w", &args);
    let status = worker.wait(Duration::from_secs(40));
    let log = worker.log();
    assert_eq!(status.code(), Some(1), "{log}");
    log
}

#[test]
fn records_above_a_topics_limit_end_the_worker_with_their_place() {
    let broker = Broker::shared();
    for (app, guarantee) in [("large-eos", "exactly_once_v2"), ("large-alos", "at_least_once")] {
        let (input, output) = (format!("{app}-in"), format!("{app}-out"));
        broker.create_topic(&input, 2);
        broker.create_topic_with(&output, 2, &[("max.message.bytes", "10000"), ("retention.ms", "-1")]);
        let producer = broker.producer();
        send(&producer, &input, 0, "small", "v", 1);
        send(&producer, &input, 1, "large", &"v".repeat(20_000), 1);
        flush(&producer);
        let log = told(&broker, app, guarantee);
        assert!(log.contains("the broker refuses records as larger than their topic's max.message.bytes: "), "{log}");
        assert!(log.contains(&format!("({output}-")) && log.contains("raise it above max.request.size"), "{log}");
        assert!(broker.read(&output, 2).len() < 2);
    }
}

#[test]
fn a_record_without_a_key_for_a_compacted_topic_ends_the_worker() {
    let broker = Broker::shared();
    broker.create_topic("keyless-in", 1);
    broker.create_topic_with("keyless-out", 1, &[("cleanup.policy", "compact")]);
    let producer = broker.producer();
    let record = BaseRecord::<(), str>::to("keyless-in").partition(0).payload("v").timestamp(1);
    producer.send(record).map_err(|(error, _)| error).expect("queued");
    flush(&producer);
    let log = told(&broker, "keyless", "exactly_once_v2");
    assert!(log.contains("the broker refuses a record as invalid: ") && log.contains("(keyless-out-0"), "{log}");
}
