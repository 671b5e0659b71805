//! One store at a time: what each call promises.

use super::*;
use crate::record::{Headers, Timestamp};
use bytes::Bytes;
use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

const WINDOW: StoreKind = StoreKind::Window { size_ms: 10, retention_ms: 30 };

pub(super) type Record = (Bytes, Option<Bytes>, Timestamp);

#[derive(Default)]
pub(super) struct Log(pub(super) Vec<Record>);

impl ChangelogSink for Log {
    fn log(&mut self, key: Bytes, value: Option<Bytes>, timestamp: Timestamp, _: crate::record::Headers) {
        self.0.push((key, value, timestamp));
    }
}

fn spec(kind: StoreKind) -> StoreSpec {
    StoreSpec {
        name: "s".into(),
        kind,
        timestamped: true,
        logged: true,
        changelog_config: BTreeMap::new(),
        cached: false,
        persistent: true,
    }
}

pub(super) fn store(kind: StoreKind) -> Store {
    open(kind, &Arc::new(MemoryBackend::simulated_disk()))
}

fn open(kind: StoreKind, disk: &Arc<MemoryBackend>) -> Store {
    open_over(kind, disk, true)
}

pub(super) fn open_over(kind: StoreKind, disk: &Arc<MemoryBackend>, deduplicate: bool) -> Store {
    Store::new(spec(kind), Arc::clone(disk) as Arc<dyn Backend>, disk.saved().unwrap().as_ref(), deduplicate)
}

fn put(store: &mut Store, row: impl Into<Bytes>, value: &'static str, timestamp: Timestamp) -> bool {
    store.put(row.into(), Some(Bytes::from_static(value.as_bytes())), timestamp).unwrap()
}

fn get(store: &mut Store, row: &[u8]) -> Option<Bytes> {
    store.get(row).unwrap().map(|row| row.value.into())
}

fn commit(store: &mut Store, now: Timestamp) -> Vec<Record> {
    let mut log = Log::default();
    store.drain(&mut log);
    store.committed(now);
    log.0
}

fn persist(store: &mut Store) -> Batch {
    let batch = store.freeze("c", "t", false).unwrap();
    store.backend().persist(&batch).unwrap();
    store.persisted(true);
    batch
}

pub(super) fn rows(store: &mut Store, from: &[u8], to: Option<&[u8]>, reverse: bool) -> Vec<(Bytes, Bytes)> {
    let mut out = Vec::new();
    let mut visit = |id: &[u8], row: Row| {
        out.push((Bytes::copy_from_slice(id), row.value.into()));
        ControlFlow::Continue(())
    };
    store.scan(from, to, reverse, &mut visit).unwrap();
    out
}

#[test]
fn a_transaction_reads_its_own_writes_and_an_abort_forgets_them_p65() {
    let mut store = store(StoreKind::KeyValue);
    put(&mut store, "a", "1", 5);
    assert_eq!(commit(&mut store, 1), [("a".into(), Some("1".into()), 5)]);
    put(&mut store, "a", "2", 9);
    store.put("b".into(), None, 7).unwrap();
    assert_eq!(get(&mut store, b"a"), Some("2".into()));
    assert_eq!((store.stream_time(), store.is_dirty()), (9, true));
    store.discard();
    assert_eq!(get(&mut store, b"a"), Some("1".into()));
    assert_eq!((store.stream_time(), store.is_dirty(), store.overlay_bytes()), (5, false, 0));
}

#[test]
fn an_abort_after_the_drain_forgets_both_overlays() {
    let mut store = store(StoreKind::KeyValue);
    put(&mut store, "a", "1", 5);
    store.drain(&mut Log::default());
    put(&mut store, "a", "2", 6);
    assert_eq!(get(&mut store, b"a"), Some("2".into()));
    store.discard();
    assert_eq!(get(&mut store, b"a"), None);
    assert_eq!(store.position(), 0);
}

#[test]
fn writes_after_the_drain_belong_to_the_next_transaction() {
    let mut store = store(StoreKind::KeyValue);
    put(&mut store, "a", "1", 5);
    store.drain(&mut Log::default());
    put(&mut store, "b", "2", 6);
    store.committed(1);
    assert_eq!(store.position(), 2);
    store.discard();
    assert_eq!((get(&mut store, b"a"), get(&mut store, b"b")), (Some("1".into()), None));
    assert_eq!(store.stream_time(), 5);
}

#[test]
fn the_position_counts_records_and_one_marker_but_no_marker_alone_i2() {
    let mut store = store(StoreKind::KeyValue);
    commit(&mut store, 1);
    assert_eq!(store.position(), 0);
    put(&mut store, "a", "1", 5);
    put(&mut store, "b", "1", 5);
    commit(&mut store, 2);
    assert_eq!(store.position(), 3);
}

#[test]
fn an_unlogged_store_logs_and_counts_nothing_p67() {
    let mut spec = spec(StoreKind::KeyValue);
    spec.logged = false;
    let mut store = Store::new(spec, Arc::new(MemoryBackend::new()), None, true);
    put(&mut store, "a", "1", 5);
    assert_eq!(commit(&mut store, 1), []);
    assert_eq!((store.position(), get(&mut store, b"a")), (0, Some("1".into())));
}

#[test]
fn rows_survive_a_reopen_with_their_position() {
    let disk = Arc::new(MemoryBackend::simulated_disk());
    let mut store = open(StoreKind::KeyValue, &disk);
    put(&mut store, "b", "2", 4);
    put(&mut store, "a", "1", 5);
    commit(&mut store, 77);
    assert_eq!(store.unsaved_since(), Some(77));
    let batch = persist(&mut store);
    assert_eq!(batch.rows.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((store.unsaved_bytes(), store.unsaved_since()), (0, None));
    let mut store = open(StoreKind::KeyValue, &disk);
    assert_eq!((store.position(), store.stream_time()), (3, 5));
    assert_eq!(store.get(b"a").unwrap(), Some(Row { value: "1".into(), timestamp: 5 }));
    assert_eq!(disk.saved().unwrap().unwrap().covered_at, 77);
}

/// A source topic that is the changelog too may hold deletions, above the position, that are older than the commit.
#[test]
fn i2_a_commit_with_more_input_to_come_says_nothing_of_the_time() {
    let mut store = store(StoreKind::KeyValue);
    for (now, behind) in [(5, false), (9, true)] {
        put(&mut store, "a", "1", 1);
        store.drain(&mut Log::default());
        if behind { store.committed_behind(now) } else { store.committed(now) }
    }
    assert_eq!((store.covered_at(), store.unsaved_since()), ((5, None), Some(5)));
}

#[test]
fn a_row_written_while_it_is_saved_stays_unsaved() {
    let mut store = store(StoreKind::KeyValue);
    put(&mut store, "a", "1", 1);
    commit(&mut store, 1);
    let batch = store.freeze("c", "t", false).unwrap();
    assert!(store.freeze("c", "t", false).is_none());
    put(&mut store, "a", "2", 2);
    commit(&mut store, 2);
    store.backend().persist(&batch).unwrap();
    store.persisted(true);
    assert!(store.unsaved_bytes() > 0);
    store.evict(0);
    assert_eq!(get(&mut store, b"a"), Some("2".into()));
    assert_eq!(persist(&mut store).rows.len(), 1);
}

#[test]
fn a_failed_persist_is_done_again() {
    let mut store = store(StoreKind::KeyValue);
    put(&mut store, "a", "1", 1);
    commit(&mut store, 1);
    store.freeze("c", "t", false).unwrap();
    store.persisted(false);
    assert_eq!(store.unsaved_since(), Some(1));
    assert_eq!(persist(&mut store).rows.len(), 1);
}

#[test]
fn eviction_drops_saved_rows_only_and_reads_bring_them_back() {
    let mut store = store(StoreKind::KeyValue);
    for row in ["a", "b", "c"] {
        put(&mut store, row, "1", 1);
    }
    commit(&mut store, 1);
    persist(&mut store);
    put(&mut store, "d", "2", 1);
    commit(&mut store, 2);
    store.evict(0);
    assert_eq!(store.table_bytes(), store.unsaved_bytes());
    assert_eq!((get(&mut store, b"a"), get(&mut store, b"x")), (Some("1".into()), None));
    assert!(store.table_bytes() > store.unsaved_bytes());
}

#[test]
fn scans_merge_all_tiers_in_both_directions() {
    let mut store = store(StoreKind::KeyValue);
    for row in ["a", "c", "e", "g"] {
        put(&mut store, row, "disk", 1);
    }
    commit(&mut store, 1);
    persist(&mut store);
    store.evict(0);
    put(&mut store, "b", "table", 2);
    store.put("c".into(), None, 2).unwrap();
    commit(&mut store, 2);
    put(&mut store, "d", "frozen", 3);
    put(&mut store, "e", "frozen", 3);
    store.drain(&mut Log::default());
    put(&mut store, "e", "open", 4);
    store.put("g".into(), None, 2).unwrap();
    let expected: Vec<(Bytes, Bytes)> =
        [("a", "disk"), ("b", "table"), ("d", "frozen"), ("e", "open")].map(|(k, v)| (k.into(), v.into())).to_vec();
    assert_eq!(rows(&mut store, b"", None, false), expected);
    assert_eq!(rows(&mut store, b"b", Some(b"e"), false), expected[1..3]);
    assert_eq!(rows(&mut store, b"", None, true), expected.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(rows(&mut store, b"e", Some(b"b"), false), []);
}

#[test]
fn a_scan_ends_when_told() {
    let mut store = store(StoreKind::KeyValue);
    put(&mut store, "a", "1", 1);
    commit(&mut store, 1);
    persist(&mut store);
    store.evict(0);
    put(&mut store, "b", "2", 1);
    let mut seen = 0;
    let mut visit = |_: &[u8], _| {
        seen += 1;
        ControlFlow::Break(())
    };
    store.scan(b"", None, false, &mut visit).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn a_window_row_lives_until_stream_time_less_retention_plus_one_p41() {
    let mut store = store(WINDOW);
    put(&mut store, window_row(10, b"k"), "1", 12);
    assert!(put(&mut store, window_row(39, b"k"), "1", 39));
    assert_eq!(get(&mut store, &window_row(10, b"k")), Some("1".into()));
    assert!(put(&mut store, window_row(40, b"k"), "1", 40));
    assert_eq!(get(&mut store, &window_row(10, b"k")), None);
    assert!(!put(&mut store, window_row(10, b"k"), "1", 40));
    assert_eq!(rows(&mut store, b"", None, false).len(), 2);
    store.discard();
    assert_eq!(store.stream_time(), -1);
}

#[test]
fn rows_expire_for_the_disk_by_committed_time_only_i8() {
    let mut store = store(WINDOW);
    put(&mut store, window_row(10, b"k"), "1", 12);
    commit(&mut store, 1);
    put(&mut store, window_row(500, b"k"), "1", 500);
    let batch = persist(&mut store);
    assert_eq!((batch.rows.len(), batch.expire_below), (1, None));
    commit(&mut store, 2);
    let batch = persist(&mut store);
    assert_eq!(batch.expire_below.as_deref(), Some(&471i64.to_be_bytes()[..]));
    assert_eq!(batch.saved.unwrap().stream_time, 500);
}

#[test]
fn windows_that_die_in_memory_never_reach_the_disk() {
    let mut store = store(WINDOW);
    put(&mut store, window_row(10, b"k"), "1", 12);
    commit(&mut store, 1);
    put(&mut store, window_row(500, b"k"), "1", 500);
    commit(&mut store, 2);
    let rows = persist(&mut store).rows;
    assert_eq!(rows.iter().map(|(id, _)| split_window_row(id).unwrap().0).collect::<Vec<_>>(), [500]);
}

#[test]
fn the_cache_forwards_the_row_before_it_saw_it_and_the_row_now_p62() {
    let mut store = store(StoreKind::KeyValue);
    put(&mut store, "a", "1", 1);
    commit(&mut store, 1);
    for (value, timestamp) in [("2", 2), ("3", 3)] {
        store.put_cached("a".into(), Some(value.into()), timestamp, Headers::none(), None).unwrap();
    }
    assert_eq!(get(&mut store, b"a"), Some("3".into()));
    assert!(store.pending_bytes() > 0);
    let pending = store.take_pending();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].old.as_ref().unwrap().value, "1");
    assert_eq!(pending[0].new.as_ref().unwrap().value, "3");
    assert_eq!(store.pending_bytes(), 0);
    store.put_cached("a".into(), None, 4, Headers::none(), None).unwrap();
    let pending = store.take_pending();
    assert_eq!(pending[0].old.as_ref().unwrap().value, "3");
    assert_eq!((pending[0].new.clone(), pending[0].timestamp), (None, 4));
    assert_eq!(commit(&mut store, 2), [("a".into(), None, 4)]);
}

#[test]
fn a_restore_fills_the_table_like_a_commit() {
    let mut store = store(WINDOW);
    let key = WINDOW.changelog_key(&window_row(40, b"k"));
    store.restore(&key, Some(&"1".into()), 44).unwrap();
    store.restore(&WINDOW.changelog_key(&window_row(1, b"k")), Some(&"1".into()), 1).unwrap();
    store.advance_position(9);
    store.advance_position(3);
    assert_eq!((store.position(), store.stream_time()), (9, 40));
    assert_eq!(store.get(&window_row(40, b"k")).unwrap(), Some(Row { value: "1".into(), timestamp: 44 }));
    assert_eq!(rows(&mut store, b"", None, false).len(), 1);
    assert!(store.restore(&Bytes::from_static(b"short"), None, 1).is_err());
}

#[test]
fn deletions_of_rows_the_disk_can_not_have_take_no_memory() {
    let mut store = store(StoreKind::KeyValue);
    store.restore(&"a".into(), Some(&"1".into()), 1).unwrap();
    store.restore(&"a".into(), None, 2).unwrap();
    assert_eq!(store.table_bytes(), 0);
    put(&mut store, "a", "1", 3);
    commit(&mut store, 1);
    persist(&mut store);
    store.put("a".into(), None, 4).unwrap();
    commit(&mut store, 1);
    assert_eq!(persist(&mut store).rows, [("a".into(), None)]);
}

#[test]
fn at_least_once_rows_beyond_the_committed_time_expire_nothing() {
    let disk = Arc::new(MemoryBackend::simulated_disk());
    let restore = |store: &mut Store, start| {
        let key = WINDOW.changelog_key(&window_row(start, b"k"));
        store.restore(&key, Some(&"1".into()), start).unwrap();
    };
    let mut store = open(WINDOW, &disk);
    store.set_stream_time(40);
    for start in [20, 500] {
        restore(&mut store, start);
    }
    let both = |store: &mut Store| [20, 500].map(|start| get(store, &window_row(start, b"k")).is_some());
    let mut flawed = self::store(WINDOW);
    flawed.plant(Flaw::TimeOfRestoredRows);
    flawed.set_stream_time(40);
    for start in [20, 500] {
        restore(&mut flawed, start);
    }
    assert_eq!(both(&mut flawed), [false, true], "the input of row 20 that comes again would meet nothing");
    assert_eq!((both(&mut store), store.stream_time()), ([true, true], 40));
    let batch = persist(&mut store);
    assert_eq!(batch.expire_below.as_deref(), Some(&11i64.to_be_bytes()[..]));
    store.evict(0);
    assert_eq!(both(&mut store), [true, true], "the disk is asked for a row beyond stream time");
    let mut again = open(WINDOW, &disk);
    assert_eq!(again.stream_time(), 500, "without the committed time the rows tell");
    again.set_stream_time(40);
    assert_eq!(both(&mut again), [true, true]);
}
