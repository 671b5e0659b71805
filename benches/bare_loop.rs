//! The least that a windowed count costs on librdkafka: the same input, the same changelog and output records in the
//! same transactions as `bench-window-count`, from one loop with a hash map. No state on disk, no restore, no group.
//! What the worker costs above it is what the worker adds.
//!
//! `bare_loop BROKER INPUT OUTPUT CHANGELOG`: the topics exist, with as many partitions each.

#![expect(unsafe_code, reason = "librdkafka's commit without rdkafka's 100 ms of polling")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use hashbrown::HashMap;
use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use rdkafka_sys as sys;
use std::time::{Duration, Instant};

const WINDOW_MS: i64 = 60_000;
const COMMIT_EVERY: Duration = Duration::from_millis(100);

/// Count, event time, and whether it has changed since the last commit.
struct Cell {
    count: i64,
    time: i64,
    dirty: bool,
}

/// Partition, window start, key.
type CellId = (i32, i64, Box<[u8]>);
type Counts = HashMap<CellId, Cell, foldhash::fast::FixedState>;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [broker, input, output, changelog] = &args[..] else {
        eprintln!("bare_loop BROKER INPUT OUTPUT CHANGELOG");
        std::process::exit(2);
    };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", format!("{output}-bare"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "262144")
        .set("queued.max.messages.kbytes", "2048")
        .set("queued.min.messages", "10000")
        .set("fetch.queue.backoff.ms", "1")
        .create()
        .expect("a consumer");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("transactional.id", format!("{output}-bare"))
        .set("transaction.timeout.ms", "10000")
        .set("compression.type", "none")
        .set("linger.ms", "1000")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.messages", "1000000")
        .set("retry.backoff.ms", "10")
        .set("delivery.report.only.error", "true")
        .create()
        .expect("a producer");
    producer.init_transactions(Duration::from_secs(30)).expect("a transactional id");
    let ends = assign(&consumer, input);
    run(&consumer, &producer, &ends, [output, changelog]);
}

/// Assigns all partitions from their start; gives their ends.
fn assign(consumer: &BaseConsumer, input: &str) -> Vec<i64> {
    let patience = Duration::from_secs(30);
    let metadata = consumer.fetch_metadata(Some(input), patience).expect("metadata");
    let partitions = metadata.topics()[0].partitions().len() as i32;
    let mut list = TopicPartitionList::new();
    let end = |p| consumer.fetch_watermarks(input, p, patience).expect("an end").1;
    let ends = (0..partitions).map(end).collect();
    for partition in 0..partitions {
        list.add_partition_offset(input, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("an assignment");
    ends
}

fn run(consumer: &BaseConsumer, producer: &BaseProducer, ends: &[i64], topics: [&String; 2]) {
    let queue = ConsumerQueue::of(consumer);
    let mut counts = Counts::default();
    let mut dirty: Vec<CellId> = Vec::new();
    let mut positions = vec![0; ends.len()];
    let mut committed = Instant::now();
    let (mut records, start) = (0_u64, Instant::now());
    loop {
        for message in queue.batch() {
            // SAFETY: a message of the batch lives until it is destroyed below; key and payload point into it.
            unsafe {
                let m = &*message;
                if m.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    let key = std::slice::from_raw_parts(m.key.cast::<u8>(), m.key_len);
                    let time = sys::rd_kafka_message_timestamp(message, std::ptr::null_mut());
                    let id = (m.partition, time - time % WINDOW_MS, Box::from(key));
                    if let Some(cell) = counts.get_mut(&id) {
                        cell.count += 1;
                        cell.time = cell.time.max(time);
                        if !std::mem::replace(&mut cell.dirty, true) {
                            dirty.push(id);
                        }
                    } else {
                        counts.insert(id.clone(), Cell { count: 1, time, dirty: true });
                        dirty.push(id);
                    }
                    positions[m.partition as usize] = m.offset + 1;
                    records += 1;
                }
                sys::rd_kafka_message_destroy(message);
            }
        }
        let done = positions.iter().zip(ends).all(|(at, end)| at >= end);
        if done || committed.elapsed() >= COMMIT_EVERY {
            if !dirty.is_empty() {
                commit(consumer, producer, &mut counts, &mut dirty, topics);
            }
            committed = Instant::now();
        }
        if done {
            break;
        }
    }
    println!("bare loop: {records} records in {:.1} s", start.elapsed().as_secs_f64());
}

fn commit(
    consumer: &BaseConsumer,
    producer: &BaseProducer,
    counts: &mut Counts,
    dirty: &mut Vec<CellId>,
    [output, changelog]: [&String; 2],
) {
    producer.begin_transaction().expect("a transaction");
    for id in dirty.drain(..) {
        let cell = counts.get_mut(&id).expect("dirty cells are there");
        cell.dirty = false;
        let (partition, start, key) = id;
        let value = cell.count.to_be_bytes();
        let mut bytes = Vec::with_capacity(key.len() + 12);
        bytes.extend_from_slice(&key);
        bytes.extend_from_slice(&start.to_be_bytes());
        let send = |topic: &str, bytes: &[u8]| {
            let record = BaseRecord::to(topic).partition(partition).key(bytes).payload(&value[..]).timestamp(cell.time);
            producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        };
        send(output, &bytes);
        bytes.extend_from_slice(&[0; 4]);
        send(changelog, &bytes);
    }
    let offsets = consumer.position().expect("positions");
    let group = consumer.group_metadata().expect("group metadata");
    producer.send_offsets_to_transaction(&offsets, &group, Duration::from_secs(30)).expect("offsets");
    loop {
        // SAFETY: the producer lives; the error object is ours and destroyed once.
        unsafe {
            let error = sys::rd_kafka_commit_transaction(producer.client().native_ptr(), 50);
            if error.is_null() {
                return;
            }
            let again = sys::rd_kafka_error_is_retriable(error) != 0;
            sys::rd_kafka_error_destroy(error);
            assert!(again, "the transaction failed");
        }
    }
}

/// The consumer's own queue, read in batches.
struct ConsumerQueue(*mut sys::rd_kafka_queue_t);

impl ConsumerQueue {
    fn of<C: ClientContext + rdkafka::consumer::ConsumerContext>(consumer: &BaseConsumer<C>) -> Self {
        // SAFETY: the consumer lives as long as the loop; the reference is given back in `drop`.
        Self(unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) })
    }

    fn batch(&self) -> Vec<*mut sys::rd_kafka_message_t> {
        let mut messages = Vec::with_capacity(1_000);
        // SAFETY: the call writes at most 1,000 owned messages, so many as it says.
        unsafe {
            let count = sys::rd_kafka_consume_batch_queue(self.0, 5, messages.as_mut_ptr(), 1_000);
            messages.set_len(usize::try_from(count).unwrap_or(0));
        }
        messages
    }
}

impl Drop for ConsumerQueue {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_queue_destroy(self.0) };
    }
}
