//! What every backend must do, as one suite.

use super::{Backend, Batch, MemoryBackend, Saved};
use bytes::Bytes;
use std::{ops::ControlFlow, sync::Arc};

pub(super) fn saved(position: i64) -> Saved {
    Saved {
        position,
        stream_time: position * 10,
        cluster_id: "cluster".into(),
        topic_id: "topic".into(),
        covered_at: 1,
        clean: false,
    }
}

pub(super) fn batch(rows: &[(&'static str, Option<&'static str>)], position: i64) -> Batch {
    let rows = rows.iter().map(|(id, value)| ((*id).into(), value.map(Into::into))).collect();
    Batch { rows, expire_below: None, saved: Some(saved(position)) }
}

pub(super) fn rows(backend: &dyn Backend, from: &[u8], to: Option<&[u8]>, reverse: bool) -> Vec<(Bytes, Bytes)> {
    let mut out = Vec::new();
    let mut visit = |id: &[u8], stored: &[u8]| {
        out.push((Bytes::copy_from_slice(id), Bytes::copy_from_slice(stored)));
        ControlFlow::Continue(())
    };
    backend.scan(from, to, reverse, &mut visit).unwrap();
    out
}

fn pairs(rows: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
    rows.iter().map(|(id, value)| ((*id).into(), (*value).into())).collect()
}

/// Runs the suite on backends that `empty` makes.
pub(super) fn run(empty: impl Fn() -> Arc<dyn Backend>) {
    starts_empty(&*empty());
    rows_and_saved_come_together(&*empty());
    scans_keep_their_bounds(&*empty());
    any_bytes_are_a_row_id(&*empty());
    expired_rows_may_go_and_others_stay(&*empty());
    clear_leaves_nothing(&*empty());
}

fn starts_empty(backend: &dyn Backend) {
    assert_eq!(backend.saved().unwrap(), None);
    assert_eq!(backend.get(b"a").unwrap(), None);
    assert_eq!(rows(backend, b"", None, false), []);
}

fn rows_and_saved_come_together(backend: &dyn Backend) {
    backend.persist(&batch(&[("a", Some("1")), ("b", Some("2"))], 3)).unwrap();
    assert_eq!(backend.saved().unwrap(), Some(saved(3)));
    backend.persist(&batch(&[("a", None), ("b", Some("3"))], 7)).unwrap();
    assert_eq!((backend.get(b"a").unwrap(), backend.get(b"b").unwrap()), (None, Some("3".into())));
    assert_eq!(backend.saved().unwrap(), Some(saved(7)));
    backend.persist(&batch(&[], 8)).unwrap();
    assert_eq!(backend.saved().unwrap(), Some(saved(8)));
    let unnamed = Batch { rows: vec![("c".into(), Some("4".into()))], ..Batch::default() };
    backend.persist(&unnamed).unwrap();
    assert_eq!(backend.saved().unwrap(), Some(saved(8)));
    assert_eq!(rows(backend, b"", None, false), pairs(&[("b", "3"), ("c", "4")]));
}

fn scans_keep_their_bounds(backend: &dyn Backend) {
    let all = [("a", "1"), ("b", "2"), ("ba", "3"), ("c", "4")];
    backend.persist(&batch(&all.map(|(id, value)| (id, Some(value))), 1)).unwrap();
    assert_eq!(rows(backend, b"", None, false), pairs(&all));
    assert_eq!(rows(backend, b"b", Some(b"c"), false), pairs(&all[1..3]));
    assert_eq!(rows(backend, b"b", Some(b"c"), true), pairs(&[("ba", "3"), ("b", "2")]));
    assert_eq!(rows(backend, b"bb", None, true), pairs(&all[3..]));
    assert_eq!(rows(backend, b"c", Some(b"a"), false), []);
    assert_eq!(rows(backend, b"b", Some(b"b"), true), []);
    let mut seen = 0;
    let mut visit = |_: &[u8], _: &[u8]| {
        seen += 1;
        ControlFlow::Break(())
    };
    backend.scan(b"", None, false, &mut visit).unwrap();
    assert_eq!(seen, 1);
}

fn any_bytes_are_a_row_id(backend: &dyn Backend) {
    let ids: Vec<Bytes> = [&b""[..], b"\0", b"\0\0", b"\x01", b"\xff", b"\xff\xff"].map(Bytes::from_static).to_vec();
    let all: Vec<_> = ids.iter().map(|id| (id.into(), Some(id.into()))).collect();
    backend.persist(&Batch { rows: all, expire_below: None, saved: Some(saved(1)) }).unwrap();
    for id in &ids {
        assert_eq!(backend.get(id).unwrap().as_ref(), Some(id));
    }
    assert_eq!(rows(backend, b"", None, false), ids.iter().map(|id| (id.clone(), id.clone())).collect::<Vec<_>>());
    assert_eq!(backend.saved().unwrap(), Some(saved(1)));
}

fn expired_rows_may_go_and_others_stay(backend: &dyn Backend) {
    for (position, id) in ["a", "b", "c", "cc"].into_iter().enumerate() {
        backend.persist(&batch(&[(id, Some("v"))], position as i64)).unwrap();
    }
    for cut in ["b", "c", "c"] {
        backend.persist(&Batch { expire_below: Some(cut.into()), ..batch(&[("d", Some("v"))], 9) }).unwrap();
        assert_eq!(rows(backend, b"c", None, false), pairs(&[("c", "v"), ("cc", "v"), ("d", "v")]));
    }
    assert_eq!(backend.saved().unwrap(), Some(saved(9)));
}

fn clear_leaves_nothing(backend: &dyn Backend) {
    backend.persist(&batch(&[("", Some("1")), ("\u{ff}", Some("2"))], 3)).unwrap();
    backend.clear().unwrap();
    starts_empty(backend);
    backend.persist(&batch(&[("a", Some("1"))], 1)).unwrap();
    assert_eq!(rows(backend, b"", None, false), pairs(&[("a", "1")]));
    assert_eq!(backend.saved().unwrap(), Some(saved(1)));
}

#[test]
fn memory() {
    run(|| Arc::new(MemoryBackend::new()));
}
