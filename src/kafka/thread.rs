//! One stream thread: a worker, its consumer and its producer.

use super::{
    calls::{Calls, TellCall},
    committer::{Committer, Ended, Job},
    consumer::{Consumer, Reset},
    deliver::Delivery,
    helpers::{Answers, Helpers, Shared},
    process,
    producer::{Producer, offset_list},
    wall_clock,
};
use crate::{
    fault::{Fault, Remedy, Result},
    record::{Offset, TopicPartition},
    sink::Sinks,
    topology::{OffsetReset, Resolved, Topology},
    worker::{
        CommitOffset, Desk, Effect, Event, Guarantee, NEVER, Outcome, Seat, Settings, Snapshot, Stage, Timings, Worker,
    },
};
use rdkafka::error::RDKafkaErrorCode;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Records processed before the group is served again.
const STEP_RECORDS: usize = 2_000;
/// Longest wait while nothing happens; everything that happens ends it.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// Time for queries to gather while there is nothing else to do.
const QUERIES_WAIT: Duration = Duration::from_micros(500);
/// Time between two looks at positions that moved without records.
const POSITIONS_EVERY: Duration = Duration::from_millis(5);
/// Time between two snapshots.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);

/// What a stream thread gets.
pub(super) struct Plan {
    pub thread: usize,
    pub topology: Arc<Topology>,
    pub resolved: Arc<Resolved>,
    pub settings: Settings,
    pub default_reset: Reset,
    pub resets: BTreeMap<Arc<str>, OffsetReset>,
    pub shared: Arc<Shared>,
    /// Set when the process shall end.
    pub stop: Arc<AtomicBool>,
    /// Where input ended when the process started, with `--until-end`.
    pub ends: Option<Arc<Vec<(TopicPartition, Offset)>>>,
    /// True while this thread has nothing left to do up to the ends.
    pub done: Arc<AtomicBool>,
    pub publish: Arc<dyn Fn(usize, Snapshot) + Send + Sync>,
    /// Told of each call of a client.
    pub calls: Arc<TellCall>,
    /// Where queries wait.
    pub desk: Option<Arc<dyn Desk>>,
}

/// Dropped from top to bottom: the place at the desk, stores, the commit under way, then what holds the directories, then
/// the membership.
struct StreamThread {
    desk: Option<Seat>,
    number: usize,
    worker: Worker,
    committer: Committer,
    helpers: Helpers,
    consumer: Consumer,
    /// `None` while it is with the committer.
    producer: Option<Producer>,
    delivery: Delivery,
    shared: Arc<Shared>,
    answers: Receiver<Event>,
    events: Vec<Event>,
    exactly_once: bool,
    /// When this thread's producer was fenced last.
    fenced_before: Option<Instant>,
    exit: Option<Option<Fault>>,
    timings: Timings,
    /// When the stage under way began.
    lap: Instant,
    /// How long the worker took to prepare a commit, or to see that none is due, in microseconds.
    prepared_us: i64,
}

/// Runs a stream thread until it is asked to stop or fails.
pub(super) fn run(plan: Plan) -> Result<()> {
    let waker = Arc::new(thread::current());
    let exactly_once = plan.settings.guarantee == Guarantee::ExactlyOnceV2;
    let (give, answers) = channel();
    let helpers = Helpers::start(&plan.shared, plan.thread, &Answers::new(give, Arc::clone(&waker)))?;
    let calls = Calls::new(plan.thread, plan.calls);
    let mut producer = Producer::new(plan.shared.clients.clone(), plan.thread, exactly_once, calls.clone());
    let (resets, default_reset) = (plan.resets, plan.default_reset);
    let reset = move |topic: &str| match resets.get(topic) {
        Some(OffsetReset::Earliest) => Reset::Earliest,
        Some(OffsetReset::Latest) => Reset::Latest,
        Some(OffsetReset::None) => Reset::Fail,
        None => default_reset,
    };
    let consumer = Consumer::join(
        &plan.shared.clients.consumer(plan.thread),
        plan.resolved.subscription(),
        Box::new(reset),
        Arc::clone(&waker),
        calls,
    )?;
    let committer = Committer::start(plan.thread, waker)?;
    // Beside the join: registering takes up to a second when the former owner left a transaction open.
    producer.replace()?;
    let settings = Settings { session: process::draw_session(), ..plan.settings };
    let delivery = Delivery::new(Sinks::new(plan.topology.sinks()), plan.shared.clients.transaction_timeout_ms());
    let stream = StreamThread {
        number: plan.thread,
        worker: Worker::new(plan.topology, plan.resolved, settings),
        consumer,
        producer: Some(producer),
        committer,
        delivery,
        helpers,
        shared: plan.shared,
        desk: plan.desk.map(|desk| {
            let stream = thread::current();
            Seat::take(plan.thread, desk, move || stream.unpark())
        }),
        answers,
        events: Vec::new(),
        exactly_once,
        fenced_before: None,
        exit: None,
        timings: Timings::default(),
        lap: Instant::now(),
        prepared_us: 0,
    };
    stream.run(&plan.stop, plan.ends.as_ref().map(|e| e.as_slice()), &plan.done, &*plan.publish)
}

impl StreamThread {
    fn run(
        mut self,
        stop: &AtomicBool,
        ends: Option<&[(TopicPartition, Offset)]>,
        done: &AtomicBool,
        publish: &(dyn Fn(usize, Snapshot) + Send + Sync),
    ) -> Result<()> {
        let mut stopping = false;
        let mut published = Instant::now() - PUBLISH_EVERY;
        let mut looked = Instant::now();
        while self.exit.is_none() {
            if !stopping && stop.load(Ordering::Relaxed) {
                stopping = true;
                self.worker.handle(wall_clock(), Event::Stop);
            }
            let mut busy = self.commit_ended()?;
            busy |= self.listen()?;
            if !busy || looked.elapsed() >= POSITIONS_EVERY {
                looked = Instant::now();
                self.consumer.ends(&mut self.events);
            }
            let fetched = self.fetched();
            let took = self.lap();
            self.timings.records(Stage::Fetch, took, fetched);
            busy |= self.hear();
            let took = self.lap();
            self.timings.records(Stage::Queue, took, fetched);
            busy |= self.process();
            busy |= self.act()?;
            let asked = self.serve();
            if published.elapsed() >= PUBLISH_EVERY {
                published = Instant::now();
                publish(self.number, self.figures());
            }
            if let Some(ends) = ends {
                done.store(self.worker.idle() && self.worker.committed_up_to(ends), Ordering::Release);
            }
            if !busy {
                self.lap();
                if asked {
                    // Not to be woken for each of the next ones.
                    thread::sleep(QUERIES_WAIT);
                } else {
                    self.rest();
                }
                let took = self.lap();
                self.timings.spent(Stage::Idle, took);
            }
        }
        publish(self.number, self.figures());
        self.exit.flatten().map_or(Ok(()), Err)
    }

    /// Ends a stage: how long it took, in microseconds.
    fn lap(&mut self) -> i64 {
        let began = std::mem::replace(&mut self.lap, Instant::now());
        i64::try_from(self.lap.duration_since(began).as_micros()).unwrap_or(i64::MAX)
    }

    /// Records that wait to be handed over.
    fn fetched(&self) -> u64 {
        let records = |event: &Event| match event {
            Event::Records { records, .. } => records.len() as u64,
            _ => 0,
        };
        self.events.iter().map(records).sum()
    }

    fn figures(&mut self) -> Snapshot {
        Snapshot { timings: self.timings.clone(), ..self.worker.snapshot() }
    }

    fn producer(&mut self) -> &mut Producer {
        self.producer.as_mut().expect("the worker asks for nothing of the producer before a commit's outcome (I4)")
    }

    /// Takes the outcome of a commit, when there is one, and the producer back.
    fn commit_ended(&mut self) -> Result<bool> {
        let Some(Ended { producer, request, outcome, took_us }) = self.committer.ended()? else { return Ok(false) };
        self.producer = Some(producer);
        for (stage, us) in took_us {
            self.timings.beside(stage, us);
        }
        self.lap();
        let event = Event::CommitEnded { request, outcome };
        tracing::debug!(target: "member", "<- {event}");
        self.worker.handle(wall_clock(), event);
        let took = self.lap();
        self.timings.commit(Stage::Apply, took);
        Ok(true)
    }

    /// Lets the worker process, and prepare a commit when one is due.
    fn process(&mut self) -> bool {
        let before = self.worker.processed();
        let more = self.worker.work(wall_clock(), STEP_RECORDS);
        let took = self.lap();
        self.timings.records(Stage::Process, took, self.worker.processed() - before);
        self.worker.conclude(wall_clock());
        self.prepared_us = self.lap();
        self.timings.spent(Stage::Prepare, self.prepared_us);
        more
    }

    /// Serves the group and takes what was fetched and answered.
    fn listen(&mut self) -> Result<bool> {
        self.consumer.poll(&mut self.events)?;
        let mut more = self.consumer.consume(&mut self.events)?;
        while let Ok(answer) = self.answers.try_recv() {
            self.events.push(answer);
            more = true;
        }
        Ok(more)
    }

    fn hear(&mut self) -> bool {
        let now = wall_clock();
        let some = !self.events.is_empty();
        for event in self.events.drain(..) {
            tracing::debug!(target: "member", "<- {event}");
            self.worker.handle(now, event);
        }
        some
    }

    /// Lets the desk answer queries: here no record is in hand.
    fn serve(&mut self) -> bool {
        let Some(desk) = &self.desk else { return false };
        let served = desk.serve(&mut self.worker);
        if served {
            let took = self.lap();
            self.timings.spent(Stage::Query, took);
        }
        served
    }

    fn rest(&self) {
        let wakeup = self.worker.next_wakeup();
        let wait = match wakeup {
            NEVER => IDLE_WAIT,
            at => IDLE_WAIT.min(Duration::from_millis(u64::try_from(at - wall_clock()).unwrap_or(0))),
        };
        if !wait.is_zero() {
            thread::park_timeout(wait);
        }
    }

    /// Carries out what the worker asks for, until it asks for nothing more.
    fn act(&mut self) -> Result<bool> {
        let mut busy = false;
        loop {
            while let Some(effect) = self.worker.poll_effect() {
                busy = true;
                tracing::debug!(target: "member", "-> {effect}");
                let stage = match effect {
                    Effect::Send { .. } | Effect::Deliver { .. } => Some(Stage::Send),
                    Effect::Abort { .. } | Effect::ReplaceProducer { .. } => Some(Stage::Recover),
                    _ => None,
                };
                let commits = !self.exactly_once && matches!(effect, Effect::Commit { .. });
                self.carry_out(effect)?;
                // A commit is measured where it is made, stage by stage.
                let took = self.lap();
                if let Some(stage) = stage {
                    self.timings.spent(stage, took);
                }
                self.hear();
                if commits {
                    let took = self.lap();
                    self.timings.commit(Stage::Apply, took);
                }
            }
            self.consumer.apply_fetches(&mut self.events)?;
            if !self.hear() {
                return Ok(busy);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::Begin => {
                let begun = self.producer().begin();
                self.sent(begun);
            }
            Effect::Send { records } => {
                let sent = self.producer().send(&records);
                self.sent(sent);
            }
            Effect::Deliver { batches } => {
                let delivered = self.delivery.write(&batches);
                self.sent(delivered);
            }
            Effect::Commit { request, offsets, group } => {
                self.timings.commit_begins(self.prepared_us);
                if self.exactly_once {
                    let producer = self.producer.take().expect("one commit at a time");
                    self.committer.commit(Job { producer, request, offsets, group })?;
                } else {
                    let outcome = self.commit_at_least_once(&offsets);
                    self.events.push(Event::CommitEnded { request, outcome });
                }
            }
            Effect::Abort { request } => {
                let result = self.producer().abort();
                self.events.push(Event::AbortEnded { request, result });
            }
            Effect::ReplaceProducer { request } => {
                self.check_fenced()?;
                let result = self.producer().replace();
                self.events.push(Event::ProducerReady { request, result });
            }
            Effect::FetchStable { request, partitions } => {
                let result = self.consumer.stable(&partitions);
                self.events.push(Event::StableOffsets { request, result });
            }
            Effect::Fetch { fetch, partition, from } => self.consumer.fetch(fetch, partition, from),
            Effect::Flow { partition, on } => self.consumer.flow(&partition, on),
            Effect::Unassign => self.consumer.unassign()?,
            Effect::Rejoin => self.consumer.rejoin()?,
            Effect::OpenStores { request, task, stores } => self.helpers.open(request, task, stores),
            Effect::CloseStores { request, task } => self.helpers.close(request, task),
            job @ (Effect::LogRanges { .. } | Effect::Restore { .. } | Effect::RestoreDone { .. }) => {
                self.helpers.log(job);
            }
            job @ Effect::Persist { .. } => self.helpers.disk(job),
            job @ Effect::Purge { .. } => self.helpers.chore(job),
            // Before the record in hand is committed, or the broker could delete it.
            Effect::KeepForever { topic, by } => {
                let (setting, value) = by.setting();
                tracing::info!(topic = &*topic, setting, value, "event time lies far behind the wall clock");
                let kept = self.shared.admin.keep_forever(&topic, by);
                self.sent(kept);
            }
            Effect::Exit { fault } => self.exit = Some(fault),
        }
        Ok(())
    }

    fn sent(&mut self, result: Result<()>) {
        if let Err(fault) = result {
            self.events.push(Event::SendFailed { fault });
        }
    }

    /// Fenced twice within a minute: two processes would take the id from each other for ever.
    fn check_fenced(&mut self) -> Result<()> {
        let mut before = self.fenced_before;
        let again = self.producer().fenced_again(&mut before);
        self.fenced_before = before;
        if !again {
            return Ok(());
        }
        let id = self.producer().transactional_id();
        Err(Fault::stop(format!("another process uses the transactional id `{id}`"))
            .hint("two processes have the same process id: give each its own state.dir or process.id"))
    }

    fn commit_at_least_once(&mut self, offsets: &[CommitOffset]) -> Outcome {
        let flushed = self.producer().flush();
        let took = self.lap();
        self.timings.commit(Stage::End, took);
        if let Err(fault) = flushed {
            // What the broker refuses for good stops the worker; anything else is sent again.
            let stops = fault.remedy == Remedy::Stop;
            return Outcome::Aborted(if stops { fault } else { fault.with_remedy(Remedy::Retry) });
        }
        if offsets.is_empty() {
            return Outcome::Committed;
        }
        let committed = self.consumer.commit(&offset_list(offsets));
        let took = self.lap();
        self.timings.commit(Stage::Offsets, took);
        match committed {
            Ok(()) => Outcome::Committed,
            Err(error) => match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::FencedInstanceId
                    | RDKafkaErrorCode::RebalanceInProgress,
                ) => Outcome::Lost,
                _ => {
                    tracing::warn!(%error, "the answer to an offset commit did not come");
                    Outcome::Unknown
                }
            },
        }
    }
}
