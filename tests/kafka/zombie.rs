//! Members that the group has given up and that do not know it yet.

use crate::{
    counting::{Job, PARTITIONS, assert_same, counted, event, feed, recount},
    support::{Broker, send, until},
};
use millstream::{
    codec::serdes,
    config::Config,
    kafka::{self, MemoryState, Run},
    operator::TimeWindows,
    runtime::worker_settings,
    topology::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, Topology},
};
use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Holds a thread up in the middle of a record until it is opened.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().expect("whole");
        state.1 = true;
        self.changed.notify_all();
        while !state.0 {
            state = self.changed.wait(state).expect("whole");
        }
    }

    fn await_somebody(&self) {
        let mut state = self.state.lock().expect("whole");
        while !state.1 {
            state = self.changed.wait(state).expect("whole");
        }
    }

    fn open(&self) {
        self.state.lock().expect("whole").0 = true;
        self.changed.notify_all();
    }
}

const GATE: i64 = 5_000;
const QUICK: [&str; 2] = ["session.timeout.ms=2000", "heartbeat.interval.ms=300"];

/// `bench-window-count` with a gate at the value `gate`.
fn gated(job: &Job<'_>, gate: Arc<Gate>) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream_with(&job.input, Consumed::with(serdes::string(), serdes::string()))
        .peek(move |_, value| {
            if value.is_some_and(|v| v == "gate") {
                gate.pass();
            }
        })
        .group_by_key_with(Grouped::with(serdes::string(), serdes::string()))
        .windowed_by(TimeWindows::of_size_and_grace(Duration::from_secs(60), Duration::from_secs(10)))
        .count_with(Materialized::as_store("counts").with_key_serde(serdes::string()).with_value_serde(serdes::i64()))
        .to_stream()
        .to_with(&job.output, Produced::with(serdes::windowed(serdes::string(), 60_000), serdes::i64()));
    builder.build().expect("a topology")
}

#[test]
fn a_member_that_does_not_poll_while_a_revoke_waits_writes_nothing() {
    const EVENTS: i64 = 20_000;
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "slow");
    let producer = broker.producer();
    feed(&producer, &job.input, 0..GATE, None);
    let (partition, key, time) = event(GATE);
    send(&producer, &job.input, partition, &key, "gate", time);
    feed(&producer, &job.input, GATE + 1..EVENTS, None);

    let (gate, stop) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let mut settings: Vec<String> = QUICK.iter().map(|s| (*s).to_owned()).collect();
    settings.push(format!("bootstrap.servers={}", broker.address()));
    settings.push(format!("state.dir={}", dir.path().join("a").display()));
    settings.extend(
        [
            "application.id=slow",
            "max.poll.interval.ms=2500",
            // Output of the open transaction is on the broker when the thread stands still.
            "transaction.outbox.max.bytes=1000",
            "statestore.cache.max.bytes=0",
            "transaction.timeout.ms=60000",
        ]
        .map(str::to_owned),
    );
    let pairs: Vec<(String, String)> =
        settings.iter().filter_map(|s| s.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let config = Config::load(&pairs, [], None).expect("settings");
    let of_worker = config.clone();
    let run = Run {
        topology: Arc::new(gated(&job, Arc::clone(&gate))),
        until_end: false,
        create_topics: false,
        settings: Box::new(move |threads| worker_settings(&of_worker, threads, false)),
        state: Some(Arc::new(MemoryState)),
        stop: Arc::clone(&stop),
        publish: Arc::new(|_, _| {}),
        calls: Arc::new(|_, _, _| {}),
        desk: None,
    };
    let slow = thread::spawn(move || kafka::run(&config, run));
    gate.await_somebody();
    let args: Vec<&str> = QUICK.iter().flat_map(|s| ["--set", s]).collect();
    let other = job.start(dir.path(), "b", &args);
    // The revoke reaches the slow member, whose thread does not take it; the group goes on without it.
    until("the other member has counted everything", || job.done() == EVENTS);
    gate.open();
    feed(&producer, &job.input, EVENTS..EVENTS + 2_000, None);
    until("they go on together", || broker.members(&job.app).len() == 2);
    feed(&producer, &job.input, EVENTS + 2_000..EVENTS + 4_000, None);
    until("all is counted", || job.done() == EVENTS + 4_000);
    stop.store(true, Ordering::Relaxed);
    slow.join().expect("no panic").expect("a clean stop");
    assert!(other.stop().success());
    assert_same(&recount(0..EVENTS + 4_000), &counted(&broker, &job.output, PARTITIONS));
}

#[test]
fn a_member_that_wakes_up_in_a_rebalance_writes_nothing() {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "asleep");
    let producer = broker.producer();
    let args: Vec<&str> = QUICK.iter().flat_map(|s| ["--set", s]).collect();
    let sleeper = job.start(dir.path(), "a", &args);
    feed(&producer, &job.input, 0..5_000, None);
    until("it commits", || job.done() > 0);
    let mut fed = 5_000;
    for round in 0..3 {
        let other = job.start(dir.path(), "b", &args);
        // With the assignment under way, with the assignment just given, and at work.
        until("both are members", || broker.members(&job.app).len() == 2);
        if round == 2 {
            let before = job.done();
            feed(&producer, &job.input, fed..fed + 1_000, None);
            fed += 1_000;
            until("they work", || job.done() > before);
        }
        sleeper.signal("STOP");
        feed(&producer, &job.input, fed..fed + 5_000, None);
        fed += 5_000;
        until("the other one does everything", || job.done() == fed);
        sleeper.signal("CONT");
        feed(&producer, &job.input, fed..fed + 2_000, None);
        fed += 2_000;
        until("all is counted", || job.done() == fed);
        assert!(other.stop().success());
    }
    assert!(sleeper.stop().success());
    assert_same(&recount(0..fed), &counted(&broker, &job.output, PARTITIONS));
}
