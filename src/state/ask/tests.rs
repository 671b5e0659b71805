use super::*;
use crate::state::tests::{Log, store};

const SMALL: Limits = Limits { rows_max: 2, bytes_max: 1 << 20, visits_max: 3 };

fn commit(store: &mut Store) {
    store.drain(&mut Log::default());
    store.committed(1);
}

fn put(store: &mut Store, row: impl Into<Bytes>, value: &'static str, at: Timestamp) {
    store.put(row.into(), Some(value.into()), at).unwrap();
}

/// All pages of an answer, told as `key@start value`, with the number of pages.
fn told(store: &mut Store, ask: &Ask, limits: Limits) -> (Vec<String>, usize) {
    let (mut after, mut told, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = store.ask(ask, after.as_deref(), limits).unwrap();
        pages += 1;
        assert!(page.entries.len() <= limits.rows_max && pages < 100);
        for entry in page.entries {
            let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            let time = entry.window.map_or(entry.timestamp, |(start, _)| start);
            let end = entry.valid_to.map_or_else(String::new, |end| format!("..{end}"));
            told.push(format!("{}@{time}{end} {}", text(&entry.key), text(&entry.value)));
        }
        after = page.next;
        if after.is_none() {
            return (told, pages);
        }
    }
}

/// The same rows whatever the size of the pages.
fn all(store: &mut Store, ask: &Ask) -> Vec<String> {
    let (whole, pages) = told(store, ask, Limits::default());
    assert_eq!(pages, 1);
    let (parts, _) = told(store, ask, SMALL);
    assert_eq!(parts, whole);
    whole
}

fn keys(from: Option<&'static str>, to: Option<&'static str>) -> Ask {
    Ask::Keys { from: from.map(Into::into), to: to.map(Into::into), as_of: None }
}

fn times(key: Option<&'static str>, from: Timestamp, to: Timestamp) -> Ask {
    Ask::Times { key: key.map(Into::into), from, to }
}

#[test]
fn q6_keys_come_in_order_with_both_bounds_and_in_pages() {
    let mut store = store(StoreKind::KeyValue);
    for key in ["d", "b", "a", "c", "bb"] {
        put(&mut store, key, key, 5);
    }
    commit(&mut store);
    put(&mut store, "e", "open", 6);
    assert_eq!(all(&mut store, &keys(None, None)), ["a@5 a", "b@5 b", "bb@5 bb", "c@5 c", "d@5 d"]);
    assert_eq!(all(&mut store, &keys(Some("b"), Some("c"))), ["b@5 b", "bb@5 bb", "c@5 c"]);
    let row = |key: &'static str| Ask::Row { key: key.into(), as_of: None };
    assert_eq!(all(&mut store, &row("bb")), ["bb@5 bb"]);
    assert_eq!(all(&mut store, &row("e")), Vec::<String>::new());
}

#[test]
fn q6_windows_of_a_key_and_of_all_keys() {
    let mut store = store(StoreKind::Window { size_ms: 10, retention_ms: 1_000 });
    for start in [0, 10, 20, 40] {
        for key in ["a", "k", "z"] {
            if (key, start) != ("k", 20) {
                put(&mut store, window_row(start, key.as_bytes()), "v", start);
            }
        }
    }
    commit(&mut store);
    put(&mut store, window_row(50, b"k"), "open", 50);
    assert_eq!(all(&mut store, &times(Some("k"), 0, i64::MAX)), ["k@0 v", "k@10 v", "k@40 v"]);
    assert_eq!(all(&mut store, &times(Some("k"), 1, 39)), ["k@10 v"]);
    assert_eq!(all(&mut store, &times(Some("k"), 10, 10)), ["k@10 v"]);
    assert_eq!(all(&mut store, &times(Some("k"), 20, 20)), Vec::<String>::new());
    assert_eq!(all(&mut store, &times(Some("k"), 50, 50)), Vec::<String>::new(), "its transaction is open");
    assert_eq!(all(&mut store, &times(Some("kk"), 0, i64::MAX)), Vec::<String>::new());
    assert_eq!(all(&mut store, &times(None, 10, 20)), ["a@10 v", "k@10 v", "z@10 v", "a@20 v", "z@20 v"]);
}

#[test]
fn q6_windows_and_sessions_found_by_key() {
    for moments in [Moments::Window { size_ms: 5 }, Moments::Session] {
        let kind = Segmented::new(moments, 100, 10);
        let mut store = store(StoreKind::Segmented(kind.by_time()));
        for (key, start, end) in [("k", 10, 15), ("l", 12, 17), ("k", 30, 35), ("k", 60, 65), ("l", 109, 114)] {
            put(&mut store, kind.row(key.as_bytes(), start, end), "v", start);
        }
        commit(&mut store);
        put(&mut store, kind.row(b"k", 170, 175), "open", 170);
        // Window 10 has expired: it started before 109 - 100 + 1; session 10 to 15 ended after 114 - 100.
        assert_eq!(all(&mut store, &times(Some("k"), 0, i64::MAX)), ["k@10 v", "k@30 v", "k@60 v"], "{moments:?}");
        assert_eq!(all(&mut store, &times(Some("k"), 30, 59)), ["k@30 v"]);
        let overlapping = if moments == Moments::Session { vec!["k@30 v"] } else { vec![] };
        assert_eq!(all(&mut store, &times(Some("k"), 31, 59)), overlapping);
        assert_eq!(
            all(&mut store, &times(None, 12, 61)),
            match moments {
                Moments::Session => vec!["k@10 v", "l@12 v", "k@30 v", "k@60 v"],
                _ => vec!["l@12 v", "k@30 v", "k@60 v"],
            }
        );
    }
}

#[test]
fn q6_versions_as_of_a_time_and_between_times() {
    let mut store = store(StoreKind::Versioned { history_ms: 1_000 });
    for (key, value, at) in [("k", "1", 10), ("k", "2", 20), ("k", "3", 30), ("long", "x", 25), ("k", "4", 40)] {
        store.put_version(key.as_bytes(), Some(value.into()), at).unwrap();
    }
    store.put_version(b"gone", Some("v".into()), 5).unwrap();
    store.put_version(b"gone", None, 26).unwrap();
    commit(&mut store);
    store.put_version(b"k", Some("open".into()), 50).unwrap();
    let as_of = |as_of| Ask::Row { key: "k".into(), as_of };
    assert_eq!(all(&mut store, &as_of(None)), ["k@40 4"]);
    assert_eq!(all(&mut store, &as_of(Some(29))), ["k@20..30 2"]);
    assert_eq!(all(&mut store, &as_of(Some(9))), Vec::<String>::new());
    let all_as_of = |as_of| Ask::Keys { from: None, to: None, as_of };
    assert_eq!(all(&mut store, &all_as_of(Some(25))), ["k@20..30 2", "gone@5..26 v", "long@25 x"]);
    assert_eq!(all(&mut store, &all_as_of(None)), ["k@40 4", "long@25 x"]);
    assert_eq!(all(&mut store, &times(Some("k"), 20, 35)), ["k@30..40 3", "k@20..30 2"]);
    assert_eq!(all(&mut store, &times(Some("k"), 0, i64::MAX)).len(), 4);
}

#[test]
fn a_question_that_a_store_does_not_answer_says_what_to_ask() {
    let row = Ask::Row { key: "k".into(), as_of: None };
    let window = StoreKind::Window { size_ms: 10, retention_ms: 100 };
    assert_eq!(window.answers(&row), Err("the store has windows: ask for times"));
    assert!(StoreKind::KeyValue.answers(&times(None, 0, 1)).is_err());
    assert!(StoreKind::KeyValue.answers(&Ask::Row { key: "k".into(), as_of: Some(1) }).is_err());
    assert!(StoreKind::Buffer.answers(&row).is_err());
    let join = StoreKind::Segmented(Segmented::new(Moments::Join, 10, 10));
    assert!(join.answers(&times(None, 0, 1)).is_err());
    assert!(store(window).ask(&row, None, Limits::default()).is_err());
}

#[test]
fn pages_end_by_bytes_too() {
    let mut store = store(StoreKind::KeyValue);
    for key in ["a", "b", "c"] {
        put(&mut store, key, "123456789", 5);
    }
    commit(&mut store);
    let limits = Limits { bytes_max: 15, ..Limits::default() };
    assert_eq!(told(&mut store, &keys(None, None), limits).1, 2);
}
