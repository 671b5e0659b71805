//! A versioned store (P-39) against a model that forgets nothing, over random transactions, persists and crashes.

use super::{
    model_tests::{Op, ops},
    tests::{Log, Record, open_over},
    *,
};
use crate::record::Timestamp;
use bytes::Bytes;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::{collections::BTreeMap, sync::Arc};

const HISTORY_MS: i64 = 40;
const KIND: StoreKind = StoreKind::Versioned { history_ms: HISTORY_MS };
/// One begins with another.
const KEYS: [&[u8]; 3] = [b"a", b"aa", b"b"];

/// Every version that was ever taken, by key and time.
#[derive(Debug, Clone)]
struct Snapshot {
    versions: BTreeMap<(usize, Timestamp), Option<Bytes>>,
    time: Timestamp,
}

impl Snapshot {
    fn horizon(&self) -> Timestamp {
        self.time - HISTORY_MS
    }

    fn next(&self, key: usize, after: Timestamp) -> Option<Timestamp> {
        self.versions.range((key, after + 1)..=(key, i64::MAX)).next().map(|((_, time), _)| *time)
    }

    fn version(&self, key: usize, as_of: Option<Timestamp>) -> Option<VersionRow> {
        let as_of = as_of.unwrap_or(i64::MAX);
        let ((_, timestamp), value) = self.versions.range((key, 0)..=(key, as_of)).next_back()?;
        let valid_to = self.next(key, *timestamp);
        let reaches = valid_to.is_none() || as_of >= self.horizon();
        let value = value.clone().filter(|_| reaches)?;
        Some(VersionRow { value, timestamp: *timestamp, valid_to })
    }

    fn held(&self, key: usize, from: Timestamp, to: Timestamp) -> Vec<VersionRow> {
        let from = from.max(self.horizon());
        let of_key = self.versions.range((key, 0)..=(key, to)).rev();
        let held = of_key.filter_map(|((_, timestamp), value)| {
            let valid_to = self.next(key, *timestamp);
            let held = valid_to.is_none_or(|end| end > from);
            Some(VersionRow { value: value.clone().filter(|_| held)?, timestamp: *timestamp, valid_to })
        });
        held.collect()
    }
}

struct Model {
    deduplicate: bool,
    flaw: Flaw,
    disk: Arc<MemoryBackend>,
    store: Store,
    committed: Snapshot,
    frozen: Option<(Snapshot, Vec<Record>)>,
    open: Snapshot,
    saving: Option<Batch>,
    /// The changelog: committed records, and `None` for markers and aborted ones.
    log: Vec<Option<Record>>,
    clock: Timestamp,
}

macro_rules! same {
    ($left:expr, $right:expr) => {{
        let (left, right) = ($left, $right);
        if left != right {
            return Err(format!("{}: {left:?}, but {}: {right:?}", stringify!($left), stringify!($right)));
        }
    }};
}

impl Model {
    fn new(deduplicate: bool, flaw: Flaw) -> Self {
        let disk = Arc::new(MemoryBackend::simulated_disk());
        let empty = Snapshot { versions: BTreeMap::new(), time: -1 };
        let mut store = open_over(KIND, &disk, deduplicate);
        store.plant(flaw);
        let (frozen, saving, log, clock) = (None, None, Vec::new(), 0);
        Self { deduplicate, flaw, disk, store, committed: empty.clone(), frozen, open: empty, saving, log, clock }
    }

    /// Times go on, with some that are late, and some too late.
    fn put(&mut self, row: u8, value: Option<u8>) -> Result<(), String> {
        self.clock += 1;
        let (key, at) = (usize::from(row) % KEYS.len(), (self.clock * 4 - i64::from(row / 3) * 16).max(0));
        let value = value.map(|value| Bytes::from(vec![value]));
        let put = self.store.put_version(KEYS[key], value.clone(), at).unwrap();
        if at < self.open.horizon() {
            same!(put, VersionPut::Expired);
            return Ok(());
        }
        self.open.versions.insert((key, at), value);
        self.open.time = self.open.time.max(at);
        same!(put, self.open.next(key, at).map_or(VersionPut::Latest, VersionPut::ValidTo));
        Ok(())
    }

    fn outcome(&mut self, committed: bool) {
        let Some((snapshot, records)) = self.frozen.take() else { return };
        let marker = usize::from(!records.is_empty());
        if committed {
            self.log.extend(records.into_iter().map(Some));
            self.committed = snapshot;
            self.store.committed(self.clock);
        } else {
            self.log.extend(vec![None; records.len()]);
            self.discard();
        }
        self.log.extend(vec![None; marker]);
    }

    fn discard(&mut self) {
        self.store.discard();
        self.frozen = None;
        self.open = self.committed.clone();
    }

    fn crash(&mut self) {
        (self.saving, self.frozen) = (None, None);
        self.open = self.committed.clone();
        if self.disk.saved().unwrap().is_some_and(|saved| saved.position > self.log.len() as i64) {
            self.disk.clear().unwrap();
        }
        // What is committed says the time before the restore begins, or, where it does not, the records say it.
        let known = self.clock % 2 == 0;
        // The worker may die in the middle of a restore too, and leave a part of it on the disk.
        let ends = [self.log.len() * (self.clock % 3 == 0) as usize / 2, self.log.len()];
        for end in ends {
            self.store = open_over(KIND, &self.disk, self.deduplicate);
            self.store.plant(self.flaw);
            if known {
                self.store.set_stream_time(self.committed.time);
            }
            let from = usize::try_from(self.store.position()).unwrap();
            for (key, value, timestamp) in self.log[from.min(end)..end].iter().flatten() {
                self.store.restore(key, value.as_ref(), *timestamp).unwrap();
            }
            self.store.advance_position(end as i64);
            if end < self.log.len() && end > from {
                let batch = self.store.freeze("c", "t", false).unwrap();
                self.disk.persist(&batch).unwrap();
            }
        }
        if !known {
            self.store.advance_stream_time(self.committed.time);
        }
    }

    fn apply(&mut self, op: &Op) -> Result<(), String> {
        match *op {
            Op::Put(row, value) | Op::PutCached(row, value) => self.put(row, value)?,
            Op::Drain if self.frozen.is_none() => {
                let mut log = Log::default();
                let drained = self.store.drain(&mut log);
                same!(drained, log.0.len() as u64);
                self.frozen = Some((self.open.clone(), log.0));
            }
            Op::Drain | Op::Flush => {}
            Op::Outcome(committed) => self.outcome(committed),
            Op::Abort => {
                self.outcome(false);
                self.discard();
            }
            Op::Freeze => self.saving = self.store.freeze("c", "t", false).or(self.saving.take()),
            Op::Persist(works) => {
                if let Some(batch) = self.saving.take() {
                    if works {
                        self.disk.persist(&batch).unwrap();
                    }
                    self.store.persisted(works);
                }
            }
            Op::Evict(bytes_max) => self.store.evict(bytes_max),
            Op::Crash => self.crash(),
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<(), String> {
        let time = self.open.time;
        for (key, bytes) in KEYS.into_iter().enumerate() {
            same!(self.store.get_version(bytes, None).unwrap(), self.open.version(key, None));
            for back in [0, 1, 7, HISTORY_MS - 1, HISTORY_MS, HISTORY_MS + 1, 2 * HISTORY_MS] {
                let as_of = Some(time - back).filter(|at| *at >= 0);
                same!(self.store.get_version(bytes, as_of).unwrap(), self.open.version(key, as_of));
            }
            for (from, to) in [(0, i64::MAX), (time - 20, time - 5), (time - 2 * HISTORY_MS, time - HISTORY_MS)] {
                let (from, to) = (from.max(0), to.max(0));
                same!(self.store.get_versions(bytes, from, to).unwrap(), self.open.held(key, from, to));
            }
        }
        same!(self.store.stream_time(), self.open.time);
        same!(self.store.position() <= self.log.len() as i64, true);
        Ok(())
    }
}

fn check(deduplicate: bool, flaw: Flaw, ops: &[Op]) -> Result<(), String> {
    let mut model = Model::new(deduplicate, flaw);
    for (at, op) in ops.iter().chain([&Op::Crash]).enumerate() {
        model.apply(op).map_err(|text| format!("after {at} {op:?}: {text}"))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p39_a_versioned_store_is_its_model(ops in ops(), deduplicate in any::<bool>()) {
        check(deduplicate, Flaw::None, &ops).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn the_model_of_versions_sees_flaws() {
    for flaw in [Flaw::SavedReadStale, Flaw::PositionAboveData, Flaw::OverlayAfterAbort, Flaw::StoreBeforeCommit] {
        let mut runner = TestRunner::deterministic();
        let seen = (0..2000).any(|_| check(true, flaw, &ops().new_tree(&mut runner).unwrap().current()).is_err());
        assert!(seen, "{flaw:?}");
    }
}
