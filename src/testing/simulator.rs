//! Seeds become schedules: several workers on one log, faults between any two of their steps, and a verdict.
//!
//! Everything that happens follows from the seed, so a failing one is replayed by its number.

use super::{
    Chance, Fault, Options, Play,
    checker::{self, Truth},
    input::Input,
    late_rows::LateRows,
    queries,
    repeats::StaleWrite,
    scene::{self, Scene},
    schedule::Schedule,
    script::Script,
};
use crate::{
    embedded::{Client, ClientConfig, Disks, Member, MemoryDisks, Progress},
    log::{Log, TopicConfig},
    record::Timestamp,
    state::MemoryBackend,
    worker::{Guarantee, Settings},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Workers of a run.
const MEMBERS: usize = 3;
/// The process of each worker: two are threads of one, and share its disk.
const PROCESS: [usize; MEMBERS] = [0, 0, 1];
/// Turns between two queries.
const QUERY_TURNS: usize = 7;
/// Turns after the last fault in which everything must come to rest.
const DRAIN_TURNS_MAX: usize = 1_000;

/// What happened in a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Committed input records.
    pub records: usize,
    /// Faults that were injected.
    pub faults: usize,
    /// Commits.
    pub commits: u64,
    /// Records that were processed while the outcome of a commit was awaited.
    pub beside: u64,
    /// Commits that did not end well while there was already more to commit.
    pub refused_beside: u64,
    /// Generations of the group.
    pub rebalances: usize,
    /// True when processed records of a repartition topic were deleted.
    pub purged: bool,
    /// True when a changelog was told to keep records however old they are.
    pub kept_forever: bool,
    /// Tasks that answered a query in the middle of the run; only exactly once are they asked.
    pub answers: usize,
    /// Rows that a sink left out because it had newer ones.
    pub stale_rows: usize,
    /// Records that members wrote after others had taken over: only at least once.
    pub stale_writes: usize,
    /// What is wrong, or `None`.
    pub failure: Option<String>,
}

/// Runs seeds on one topology: of its own, or of a [`Play`].
pub struct Simulator {
    plain: Scene,
    /// The same with record caches; a play's are on where the settings give them room.
    cached: Option<Scene>,
}

impl Default for Simulator {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulator {
    /// Builds the topology.
    pub fn new() -> Self {
        Self { plain: Scene::new(false), cached: Some(Scene::new(true)) }
    }

    /// Builds the topology of a play: its runs must end as an uninterrupted one, exactly once.
    pub fn of(play: &'static Play) -> Self {
        Self { plain: Scene::of(play), cached: None }
    }

    /// Runs one seed. A panic of a worker is a failure.
    pub fn run(&self, seed: u64, options: Options) -> Report {
        let run = || {
            let mut chance = Chance::new(seed);
            let schedule = Schedule::new(&mut chance, options);
            let cached = self.cached.as_ref().filter(|_| schedule.cached);
            let scene = cached.unwrap_or(&self.plain);
            let schedule = if scene.play.is_some() { schedule.of_a_play() } else { schedule };
            World::new(scene, schedule, chance, options).run()
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
            Report { failure: Some(format!("panic: {text}")), ..Report::default() }
        })
    }
}

/// How a failing seed is run again.
pub fn replay_line(seed: u64, options: Options) -> String {
    format!(
        "MILLSTREAM_SEED={seed} MILLSTREAM_GUARANTEE={:?} MILLSTREAM_PLANTED={:?} cargo test --no-default-features --test simulation replay -- --nocapture",
        options.guarantee, options.planted
    )
}

/// The place of one worker, whether it is up or not.
pub(super) struct Slot {
    pub index: usize,
    pub member: Option<Member>,
    pub asleep_until: Timestamp,
    pub slow_until: Timestamp,
    pub up_at: Timestamp,
    pub leaving: bool,
    /// The lasting id of another slot that its next life takes.
    pub borrowed: Option<usize>,
    /// Falls asleep at its next join.
    pub dozes: bool,
    /// What happens in the middle of its next commit.
    pub in_commit: Option<Fault>,
}

impl Slot {
    pub(super) fn client_id(&self) -> String {
        format!("w{}", self.index)
    }
}

pub(super) struct World<'a> {
    pub scene: &'a Scene,
    options: Options,
    settings: Settings,
    schedule: Schedule,
    pub chance: Chance,
    pub log: Log,
    pub now: Timestamp,
    pub processes: Vec<MemoryDisks>,
    pub slots: Vec<Slot>,
    pub markers_slow_until: Timestamp,
    pub faults: usize,
    counts: Counts,
    answers: usize,
    stale: Vec<StaleWrite>,
    pub rows: LateRows,
    input: Input,
    script: Option<Script>,
    failure: Option<String>,
}

/// What members did in their lives.
#[derive(Default)]
struct Counts {
    commits: u64,
    beside: u64,
    refused_beside: u64,
}

impl Counts {
    fn add(&mut self, member: &Member) {
        self.commits += member.client.commits();
        self.beside += member.worker().processed_beside_commits();
        self.refused_beside += member.worker().refused_beside();
    }
}

fn disks() -> MemoryDisks {
    MemoryDisks::new(|| Arc::new(MemoryBackend::simulated_disk()))
}

impl<'a> World<'a> {
    fn new(scene: &'a Scene, schedule: Schedule, mut chance: Chance, options: Options) -> Self {
        let mut log = Log::new("simulated");
        scene.create_topics(&mut log);
        let now = scene::START;
        let slot = |index| Slot {
            index,
            member: None,
            asleep_until: 0,
            slow_until: 0,
            up_at: now + chance.between(0, 60),
            leaving: false,
            borrowed: None,
            dozes: false,
            in_commit: None,
        };
        let slots = (0..MEMBERS).map(slot).collect();
        let (mut records, cached) = (schedule.records, schedule.settings.cache_bytes_max > 0);
        let script = scene.play.map(|play| {
            let all = std::mem::take(&mut records);
            Script::write(play, all, schedule.start, cached, &mut chance, &mut log)
        });
        Self {
            scene,
            options,
            settings: schedule.settings.clone(),
            input: Input::new(records, schedule.start),
            script,
            schedule,
            chance,
            log,
            now,
            processes: vec![disks(), disks()],
            slots,
            markers_slow_until: 0,
            faults: 0,
            counts: Counts::default(),
            answers: 0,
            stale: Vec::new(),
            rows: LateRows::new(options.planted),
            failure: None,
        }
    }

    pub(super) fn note(&self, text: impl FnOnce() -> String) {
        if self.options.trace {
            tracing::info!(target: "simulation", now = self.now - scene::START, "{}", text());
        }
    }

    fn fail(&mut self, text: impl FnOnce() -> String) {
        self.failure.get_or_insert_with(text);
    }

    fn run(mut self) -> Report {
        let mut turn = 0;
        while self.failure.is_none() && !(self.input.is_done() && self.schedule.faults.is_empty()) {
            turn += 1;
            self.now += self.chance.between(0, 2);
            if self.chance.one_in(6) {
                self.input.produce(&mut self.log, &mut self.chance, self.now);
            }
            while self.schedule.faults.last().is_some_and(|(at, _)| *at <= turn) {
                let (_, fault) = self.schedule.faults.pop().expect("just seen");
                self.inject(fault);
            }
            self.broker();
            let at = self.chance.below(self.slots.len());
            self.turn(at);
            self.rows.some_arrive(&mut self.chance);
            if turn % QUERY_TURNS == 0 {
                self.query(at);
            }
        }
        self.drain();
        self.linger();
        self.rows.all_arrive();
        let rebalances = self.log.generation(scene::APPLICATION) as usize;
        self.shut_down();
        if self.failure.is_none() {
            let truth = self.truth();
            self.failure = match &self.script {
                Some(script) => script.check(&self.log, self.scene, &self.processes).err(),
                None => checker::check(&truth, &self.processes).err(),
            };
        }
        Report {
            records: self.script.as_ref().map_or(self.input.committed(), Script::len),
            faults: self.faults,
            commits: self.counts.commits,
            beside: self.counts.beside,
            refused_beside: self.counts.refused_beside,
            rebalances,
            purged: self.purged(),
            kept_forever: self.kept_forever(),
            answers: self.answers,
            stale_rows: self.rows.stale(),
            stale_writes: self.stale.len(),
            failure: self.failure,
        }
    }

    fn truth(&self) -> Truth<'_> {
        let (guarantee, stale, sinks) = (self.options.guarantee, &self.stale, &self.rows.sinks);
        Truth { log: &self.log, scene: self.scene, guarantee, stale, sinks }
    }

    /// What the broker does by itself.
    fn broker(&mut self) {
        self.log.tick(self.now);
        let pending = self.log.pending_markers();
        if self.now >= self.markers_slow_until {
            self.log.defer_markers(false);
            self.log.write_markers(self.now);
        } else if pending > 0 && self.chance.one_in(3) {
            let index = self.chance.below(pending);
            self.log.write_marker(index, self.now);
        }
    }

    fn start(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let settings = Settings { session: (self.chance.number() >> 1) as i64, ..self.settings.clone() };
        let topics = self.scene.resolved.subscription();
        let instance = slot.borrowed.take().unwrap_or(slot.index);
        let config = ClientConfig {
            instance_id: self.schedule.static_members.then(|| format!("i{instance}")),
            session_timeout_ms: 300,
            heartbeat_interval_ms: 15,
            rebalance_timeout_ms: 250,
            transaction_timeout_ms: 280,
            fetch_bytes_max: self.chance.pick(&[40, 400, 1 << 20]),
            ..ClientConfig::new(scene::APPLICATION, slot.client_id(), topics)
        };
        // A process reads its global tables anew, before it joins.
        let (topology, resolved) = (Arc::clone(&self.scene.topology), Arc::new(self.scene.resolved.restarted()));
        let mut member = Member::new(topology, resolved, settings, config, slot.index);
        member.client.sinks = self.rows.opened();
        member.follow(&self.log);
        member.client.keep_stale();
        slot.leaving = false;
        slot.dozes = false;
        slot.in_commit = None;
        slot.asleep_until = 0;
        slot.slow_until = 0;
        slot.member = Some(member);
    }

    /// A process dies and comes back with the lasting id of a member of another process, which is fenced by it.
    pub(super) fn twin(&mut self) {
        if !self.schedule.static_members {
            return self.log.rebalance(scene::APPLICATION, self.now);
        }
        let (at, other) = self.chance.pick(&[(0, 2), (1, 2), (2, 0), (2, 1)]);
        self.crash(PROCESS[at], false);
        self.slots[at].borrowed = Some(other);
    }

    /// All members of a process die.
    pub(super) fn crash(&mut self, process: usize, disk_too: bool) {
        for slot in self.slots.iter_mut().filter(|s| PROCESS[s.index] == process) {
            let Some(mut member) = slot.member.take() else { continue };
            member.client.scatter(&mut self.log, self.now, |below| self.chance.below(below));
            self.counts.add(&member);
            self.stale.extend_from_slice(member.client.stale_writes());
            self.rows.send(member.client.undelivered_rows());
            for index in 0..member.client.pending() {
                if self.chance.one_in(2) {
                    member.client.finish_persist(index);
                }
            }
            if self.chance.one_in(2) {
                // A request that was on the wire arrives although its sender is dead.
                let _ = member.client.arrive(&mut self.log, self.now);
            }
            slot.up_at = self.now + self.chance.between(5, 400);
        }
        if disk_too {
            self.processes[process] = disks();
        } else {
            self.processes[process].release_all();
        }
    }

    /// Gives one member a turn: usually a bit of everything, sometimes a single step.
    fn turn(&mut self, at: usize) {
        if self.slots[at].member.is_none() {
            if self.now >= self.slots[at].up_at {
                self.start(at);
            }
            return;
        }
        if self.slots[at].asleep_until > self.now {
            return;
        }
        let slot = &mut self.slots[at];
        let (now, log, chance) = (self.now, &mut self.log, &mut self.chance);
        let disks = &mut self.processes[PROCESS[slot.index]];
        let member = slot.member.as_mut().expect("seen above");
        if chance.one_in(10) {
            member.client.trouble.lazy = chance.one_in(3);
            member.client.trouble.offsets_first = chance.one_in(3);
            member.client.trouble.slow_sinks = chance.one_in(2);
            member.client.trouble.slow_commits = chance.pick(&[0, 0, 3, 20]);
        }
        if chance.one_in(4) {
            single_step(member, log, chance, now);
        } else {
            member.client.group(log, now);
            for _ in 0..chance.below(4) {
                member.client.fetch(log);
            }
            for _ in 0..chance.below(8) {
                member.client.deliver();
            }
            for _ in 0..64 {
                if !member.hear(now) {
                    break;
                }
            }
            let _ = member.work(now, chance.below(self.schedule.work) + 1);
            for _ in 0..chance.below(12) {
                if !member.act(log, now) && !member.hear(now) {
                    break;
                }
            }
        }
        if slot.slow_until <= now {
            complete_some(&mut member.client, log, disks, chance, self.schedule.persist_turns);
        }
        if slot.dozes && member.client.is_joining() {
            slot.dozes = false;
            slot.asleep_until = now + 500;
        }
        if member.exited() {
            return self.exited(at);
        }
        if member.client.is_committing() {
            match slot.in_commit.take() {
                Some(Fault::CrashInCommit) => {
                    member.client.trouble.lazy = true;
                    for _ in 0..chance.below(4) {
                        member.act(log, now);
                    }
                    self.crash(PROCESS[at], false);
                }
                Some(_) => slot.asleep_until = now + 500,
                None => {}
            }
        }
    }

    /// Asks a member for its rows, between any two of its steps. The answers of plays are not known in the middle of a run.
    fn query(&mut self, at: usize) {
        let guarantee = self.options.guarantee;
        let known = guarantee == Guarantee::ExactlyOnceV2 && self.script.is_none();
        let Some(member) = self.slots[at].member.as_mut().filter(|_| known) else { return };
        let (stale, sinks) = (&self.stale, &self.rows.sinks);
        let truth = Truth { log: &self.log, scene: self.scene, guarantee, stale, sinks };
        match queries::check(&truth, member) {
            Ok(answers) => self.answers += answers,
            Err(wrong) => self.fail(|| wrong),
        }
    }

    fn exited(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let Some(member) = slot.member.take() else { return };
        self.counts.add(&member);
        self.stale.extend_from_slice(member.client.stale_writes());
        self.processes[PROCESS[at]].release(at);
        slot.up_at = self.now + self.chance.between(0, 100);
        if let Some(fault) = member.fault()
            && !member.client.is_fenced()
        {
            let text = format!("worker {at} stopped: {fault}");
            self.fail(|| text);
        }
    }

    /// No more faults: everything must be processed and committed within a bounded number of turns.
    fn drain(&mut self) {
        self.rows.recover();
        self.markers_slow_until = 0;
        for at in 0..self.slots.len() {
            self.slots[at].up_at = self.now;
            self.slots[at].asleep_until = 0;
            self.slots[at].slow_until = 0;
            self.slots[at].dozes = false;
            self.slots[at].in_commit = None;
        }
        for _ in 0..DRAIN_TURNS_MAX {
            if self.failure.is_some() || self.at_rest() {
                return;
            }
            self.calm_turns();
        }
        let lag = self.lag();
        self.fail(|| format!("does not come to rest: {lag}"));
    }

    /// What a play leaves to the wall clock falls due, and is committed.
    fn linger(&mut self) {
        let until = self.now + self.script.as_ref().map_or(0, Script::linger_ms);
        while self.now < until && self.failure.is_none() {
            self.calm_turns();
        }
    }

    fn calm_turns(&mut self) {
        self.now += 3;
        self.broker();
        for at in 0..self.slots.len() {
            self.calm_turn(at, true);
        }
    }

    fn calm_turn(&mut self, at: usize, restart: bool) {
        if restart && self.slots[at].member.is_none() {
            self.start(at);
        }
        let slot = &mut self.slots[at];
        let disks = &mut self.processes[PROCESS[slot.index]];
        let Some(member) = slot.member.as_mut() else { return };
        member.client.trouble = Default::default();
        if member.client.stale() > 0 {
            member.client.deliver_stale(0);
        }
        if member.tick(&mut self.log, disks, self.now, 1_000) == Progress::Exited {
            self.exited(at);
        }
    }

    /// Stops every member; a clean close leaves whole disks behind.
    fn shut_down(&mut self) {
        let now = self.now;
        for member in self.slots.iter_mut().filter_map(|s| s.member.as_mut()) {
            member.stop(now);
        }
        for _ in 0..DRAIN_TURNS_MAX {
            if self.failure.is_some() || self.slots.iter().all(|s| s.member.is_none()) {
                return;
            }
            self.now += 3;
            self.broker();
            for at in 0..self.slots.len() {
                self.calm_turn(at, false);
            }
        }
        self.fail(|| "a worker does not end".into());
    }
}

fn single_step(member: &mut Member, log: &mut Log, chance: &mut Chance, now: Timestamp) {
    match chance.below(8) {
        0 => member.client.group(log, now),
        1 => drop(member.client.fetch(log) && chance.one_in(2) && member.client.deliver()),
        2 => drop(member.hear(now)),
        3 => drop(member.work(now, chance.below(6) + 1)),
        4 | 5 => drop(member.act(log, now)),
        6 => drop(member.client.flush(log, now, 1)),
        _ => {
            if member.client.has_late() && chance.one_in(3) {
                let _ = member.client.arrive(log, now);
            }
            if member.client.stale() > 0 {
                let index = chance.below(member.client.stale());
                member.client.deliver_stale(index);
            }
        }
    }
}

/// Completes pending requests in any order; each has to wait now and then.
fn complete_some(client: &mut Client, log: &mut Log, disks: &mut dyn Disks, chance: &mut Chance, persist_turns: usize) {
    for index in (0..client.pending()).rev() {
        let now = if client.is_persist(index) { chance.one_in(persist_turns) } else { !chance.one_in(3) };
        if now {
            let _ = client.complete(index, log, disks);
        }
    }
}

impl Scene {
    fn create_topics(&self, log: &mut Log) {
        for topic in &self.topics {
            log.create_topic(topic, scene::PARTITIONS, TopicConfig::default());
        }
        for topic in &self.resolved.internal {
            log.create_topic(&topic.name, topic.partitions, TopicConfig::from_settings(&topic.config));
        }
    }
}
