//! The store against a naive model, over random transactions, persists and crashes. Planted flaws prove that the
//! comparison sees what it is there for.

use super::{
    tests::{Log, Record, open_over, rows},
    *,
};
use crate::record::{Headers, Timestamp};
use bytes::Bytes;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Debug, Clone)]
pub(super) enum Op {
    Put(u8, Option<u8>),
    PutCached(u8, Option<u8>),
    Flush,
    Drain,
    Outcome(bool),
    Abort,
    Freeze,
    Persist(bool),
    Evict(usize),
    Crash,
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let value = || proptest::option::weighted(0.7, 0..4u8);
    let op = prop_oneof![
        8 => (0..16u8, value()).prop_map(|(row, value)| Op::Put(row, value)),
        5 => (0..16u8, value()).prop_map(|(row, value)| Op::PutCached(row, value)),
        2 => Just(Op::Flush),
        4 => Just(Op::Drain),
        4 => proptest::bool::weighted(0.7).prop_map(Op::Outcome),
        1 => Just(Op::Abort),
        3 => Just(Op::Freeze),
        3 => proptest::bool::weighted(0.8).prop_map(Op::Persist),
        2 => (0..1000usize).prop_map(Op::Evict),
        1 => Just(Op::Crash),
    ];
    proptest::collection::vec(op, 1..80)
}

/// All rows at one moment, expired ones too.
#[derive(Debug, Clone)]
struct Snapshot {
    rows: BTreeMap<Bytes, Row>,
    time: Timestamp,
}

struct Model {
    kind: StoreKind,
    deduplicate: bool,
    flaw: Flaw,
    disk: Arc<MemoryBackend>,
    store: Store,
    committed: Snapshot,
    frozen: Option<(Snapshot, Vec<Record>)>,
    open: Snapshot,
    /// Row, what it was before it was held back; in the order of last updates.
    held: Vec<(Bytes, Option<Row>)>,
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
    fn new(kind: StoreKind, deduplicate: bool, flaw: Flaw) -> Self {
        let disk = Arc::new(MemoryBackend::simulated_disk());
        let empty = Snapshot { rows: BTreeMap::new(), time: -1 };
        let mut store = open_over(kind, &disk, deduplicate);
        store.plant(flaw);
        Self {
            kind,
            deduplicate,
            flaw,
            disk,
            store,
            committed: empty.clone(),
            frozen: None,
            open: empty,
            held: Vec::new(),
            saving: None,
            log: Vec::new(),
            clock: 0,
        }
    }

    fn row(&self, row: u8) -> (Bytes, Timestamp) {
        match self.kind {
            StoreKind::KeyValue | StoreKind::Lru { .. } | StoreKind::Buffer => (vec![b'a' + row].into(), self.clock),
            StoreKind::Versioned { .. } => unreachable!("versions have a model of their own"),
            StoreKind::Window { .. } => {
                let start = i64::from(row / 2) * 5 + self.clock / 4;
                (window_row(start, &[b'a' + row % 2]), start)
            }
            StoreKind::Segmented(segmented) if segmented.moments == Moments::Join => {
                let at = i64::from(row / 2) * 5 + self.clock / 4;
                // Each write is a row of its own.
                (segmented.join_row(&b"aa"[..1 + usize::from(row % 2)], at, self.clock as i32), at)
            }
            StoreKind::Segmented(segmented) => {
                let at = i64::from(row / 2) * 5 + self.clock / 4;
                // Keys of which one begins with the other.
                let key = &b"aa"[..1 + usize::from(row % 2)];
                (
                    segmented.row(key, at, at + i64::from(row % 3)),
                    moment(&self.kind, &segmented.row(key, at, at + i64::from(row % 3))),
                )
            }
        }
    }

    /// Writes to an expired row are cached and logged, and never seen.
    fn cut(&self, snapshot: &Snapshot) -> Timestamp {
        self.store.spec().retention_ms().map_or(i64::MIN, |retention_ms| snapshot.time - retention_ms + 1)
    }

    fn live(&self, snapshot: &Snapshot) -> Vec<(Bytes, Row)> {
        let (cut, kind) = (self.cut(snapshot), self.kind);
        let live = |id: &Bytes| moment(&kind, id) >= cut;
        snapshot.rows.iter().filter(|(id, _)| live(id)).map(|(id, row)| (id.clone(), row.clone())).collect()
    }

    fn put(&mut self, row: u8, value: Option<u8>, cached: bool) -> Result<(), String> {
        self.clock += 1;
        let (id, time) = self.row(row);
        let timestamp = self.clock;
        if self.kind.is_join() && value.is_none() {
            // A record without a value: it is on the changelog only.
            self.store.log_null(&id, timestamp, Headers::none());
            return Ok(());
        }
        let expired = self.kind != StoreKind::KeyValue && time < self.cut(&self.open);
        let bytes = value.map(|value| Bytes::from(vec![value]));
        let indexed = matches!(self.kind, StoreKind::Segmented(Segmented { by_time: true, .. }));
        let cached = cached && !indexed && !self.kind.is_join();
        let kept = if cached {
            self.store.put_cached(id.clone(), bytes.clone(), timestamp, Headers::none(), None)
        } else {
            self.store.put(id.clone(), bytes.clone(), timestamp)
        };
        same!(kept.unwrap(), !expired);
        self.open.time = self.open.time.max(time);
        if cached {
            let held = self.held.iter().position(|(held, _)| *held == id).map(|at| self.held.remove(at).1);
            self.held.push((id.clone(), held.unwrap_or_else(|| self.open.rows.get(&id).filter(|_| !expired).cloned())));
        }
        match bytes {
            Some(value) => self.open.rows.insert(id, Row { value: value.into(), timestamp }),
            None => self.open.rows.remove(&id),
        };
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
        let held = std::mem::take(&mut self.held).into_iter().filter_map(|(id, old)| {
            let new = self.open.rows.get(&id).cloned();
            (old.is_some() || new.is_some()).then_some((id, old, new))
        });
        let expected: Vec<_> = held.collect();
        let taken: Vec<_> = self.store.take_pending().into_iter().map(|p| (p.row.into(), p.old, p.new)).collect();
        same!(taken, expected);
        same!(self.store.pending_bytes(), 0);
        Ok(())
    }

    fn outcome(&mut self, committed: bool) {
        let Some((snapshot, records)) = self.frozen.take() else { return };
        let marker = usize::from(!records.is_empty());
        if committed {
            self.log.extend(records.into_iter().map(Some));
            self.log.extend(vec![None; marker]);
            self.committed = snapshot;
            self.store.committed(self.clock);
        } else {
            self.log.extend(vec![None; records.len() + marker]);
            self.discard();
        }
    }

    fn discard(&mut self) {
        self.store.discard();
        self.frozen = None;
        self.held.clear();
        self.open = self.committed.clone();
    }

    /// The worker dies, with whatever persist was under way, and another opens what the disk has.
    fn crash(&mut self) -> Result<(), String> {
        (self.saving, self.frozen) = (None, None);
        self.held.clear();
        self.open = self.committed.clone();
        if self.disk.saved().unwrap().is_some_and(|saved| saved.position > self.log.len() as i64) {
            self.disk.clear().unwrap();
        }
        self.store = open_over(self.kind, &self.disk, self.deduplicate);
        self.store.plant(self.flaw);
        let from = usize::try_from(self.store.position()).unwrap();
        for (key, value, timestamp) in self.log[from..].iter().flatten() {
            self.store.restore(key, value.as_ref(), *timestamp).unwrap();
        }
        self.store.advance_position(self.log.len() as i64);
        // A row made and deleted in the cache is not logged; the offset metadata carries the time it stood for.
        self.store.advance_stream_time(self.committed.time);
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Result<(), String> {
        match *op {
            Op::Put(row, value) => self.put(row, value, false)?,
            Op::PutCached(row, value) => self.put(row, value, true)?,
            Op::Flush => self.flush()?,
            Op::Drain if self.frozen.is_none() => {
                self.flush()?;
                let mut log = Log::default();
                let drained = self.store.drain(&mut log);
                same!(drained, log.0.len() as u64);
                self.frozen = Some((self.open.clone(), log.0));
            }
            Op::Drain => {}
            Op::Outcome(committed) => self.outcome(committed),
            Op::Abort => {
                if let Some((_, records)) = self.frozen.take() {
                    let marker = usize::from(!records.is_empty());
                    self.log.extend(vec![None; records.len() + marker]);
                }
                self.discard();
            }
            Op::Freeze => {
                let batch = self.store.freeze("c", "t", false);
                same!(batch.is_none(), self.saving.is_some());
                self.saving = batch.or(self.saving.take());
            }
            Op::Persist(works) => {
                if let Some(batch) = self.saving.take() {
                    if works {
                        self.disk.persist(&batch).unwrap();
                    }
                    self.store.persisted(works);
                }
            }
            Op::Evict(bytes_max) => self.store.evict(bytes_max),
            Op::Crash => self.crash()?,
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<(), String> {
        let expected = self.live(&self.open);
        if let StoreKind::Segmented(segmented) = self.kind {
            return self.compare_segmented(segmented, &expected);
        }
        let values: Vec<_> = expected.iter().map(|(id, row)| (id.clone(), Bytes::from(row.value.clone()))).collect();
        same!(rows(&mut self.store, b"", None, false), values.clone());
        for row in 0..16 {
            let id = self.row(row).0;
            let row = expected.iter().find(|(other, _)| *other == id).map(|(_, row)| row.clone());
            same!(self.store.get(&id).unwrap(), row);
        }
        let (from, to) = (self.row(3).0, self.row(11).0);
        let inside = values.into_iter().filter(|(id, _)| *id >= from && *id < to).rev();
        same!(rows(&mut self.store, &from, Some(&to), true), inside.collect::<Vec<_>>());
        self.compare_figures()
    }

    fn compare_segmented(&mut self, segmented: Segmented, expected: &[(Bytes, Row)]) -> Result<(), String> {
        for (key, from, to) in [(&b"a"[..], 0, i64::MAX), (b"aa", 0, i64::MAX), (b"a", 12, 31), (b"aa", 12, 31)] {
            let mut wanted: Vec<_> = expected.iter().filter(|(id, _)| segmented.split(id).unwrap().0 == key).collect();
            wanted.retain(|(id, _)| (from..=to).contains(&moment(&self.kind, id)));
            wanted.sort_by_key(|(id, _)| segmented.split(id).map(|(_, start, end)| (end, start)));
            for reverse in [false, true] {
                let mut found = Vec::new();
                let mut visit = |id: &[u8], row: Row| {
                    found.push((Bytes::copy_from_slice(id), row));
                    std::ops::ControlFlow::Continue(())
                };
                self.store.scan_key(key, from, to, reverse, &mut visit).unwrap();
                same!(&found.iter().collect::<Vec<_>>(), &wanted);
                wanted.reverse();
            }
        }
        for row in 0..16 {
            let id = self.row(row).0;
            let row = expected.iter().find(|(other, _)| *other == id).map(|(_, row)| row.clone());
            same!(self.store.get(&id).unwrap(), row);
        }
        if segmented.by_time {
            let mut wanted: Vec<_> = expected.iter().filter(|(id, _)| moment(&self.kind, id) <= 31).cloned().collect();
            let order = |id: &Bytes| segmented.split(id).map(|(key, start, end)| (end, start, key.to_vec()));
            wanted.sort_by_key(|(id, _)| order(id));
            same!(self.store.rows_by_time(0, 31).unwrap(), wanted);
        }
        self.compare_figures()
    }

    fn compare_figures(&self) -> Result<(), String> {
        same!(self.store.stream_time(), self.open.time);
        same!(self.store.position() <= self.log.len() as i64, true);
        same!(self.store.unsaved_bytes() <= self.store.table_bytes(), true);
        Ok(())
    }
}

/// The time that a row expires by.
fn moment(kind: &StoreKind, id: &Bytes) -> Timestamp {
    match kind {
        StoreKind::KeyValue | StoreKind::Lru { .. } | StoreKind::Buffer | StoreKind::Versioned { .. } => i64::MAX,
        StoreKind::Window { .. } => split_window_row(id).unwrap().0,
        StoreKind::Segmented(segmented) => {
            let (_, start, end) = segmented.split(id).unwrap();
            if segmented.moments == Moments::Session { end } else { start }
        }
    }
}

const WINDOW: StoreKind = StoreKind::Window { size_ms: 5, retention_ms: 20 };

fn check(kind: StoreKind, deduplicate: bool, flaw: Flaw, ops: &[Op]) -> Result<(), String> {
    let mut model = Model::new(kind, deduplicate, flaw);
    for (at, op) in ops.iter().chain([&Op::Crash]).enumerate() {
        model.apply(op).map_err(|text| format!("after {at} {op:?}: {text}"))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_key_value_store_is_its_model(ops in ops(), deduplicate in any::<bool>()) {
        check(StoreKind::KeyValue, deduplicate, Flaw::None, &ops).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_window_store_is_its_model(ops in ops(), deduplicate in any::<bool>()) {
        check(WINDOW, deduplicate, Flaw::None, &ops).map_err(TestCaseError::fail)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_store_is_its_model(ops in ops(), deduplicate in any::<bool>(), by_time in any::<bool>()) {
        let kind = Segmented { by_time, ..Segmented::new(Moments::Session, 20, 7) };
        check(StoreKind::Segmented(kind), deduplicate, Flaw::None, &ops).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_store_of_sliding_windows_is_its_model(ops in ops(), deduplicate in any::<bool>(), by_time in any::<bool>()) {
        let kind = Segmented { by_time, ..Segmented::new(Moments::Window { size_ms: 5 }, 20, 7) };
        check(StoreKind::Segmented(kind), deduplicate, Flaw::None, &ops).map_err(TestCaseError::fail)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// D-82, P-43: all records of a key and time are kept, in the order in which they came.
    #[test]
    fn a_store_of_a_join_is_its_model(ops in ops(), deduplicate in any::<bool>()) {
        let kind = Segmented::new(Moments::Join, 20, 7);
        check(StoreKind::Segmented(kind), deduplicate, Flaw::None, &ops).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_buffer_is_its_model(ops in ops(), deduplicate in any::<bool>()) {
        check(StoreKind::Buffer, deduplicate, Flaw::None, &ops).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn the_model_sees_every_flaw() {
    let flaws = [
        Flaw::ExpiryUncommitted,
        Flaw::SavedReadStale,
        Flaw::PositionAboveData,
        Flaw::MarkerWithoutRecords,
        Flaw::OverlayAfterAbort,
        Flaw::StoreBeforeCommit,
    ];
    for flaw in flaws {
        let mut runner = TestRunner::deterministic();
        let seen = (0..2000).any(|_| {
            let ops = ops().new_tree(&mut runner).unwrap().current();
            check(WINDOW, true, flaw, &ops).is_err()
        });
        assert!(seen, "{flaw:?}");
    }
}
