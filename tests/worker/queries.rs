//! A client asks three replicas for a window count while they work, while one is killed and while partitions move: each
//! answer is what some beginning of the input comes to, and no later answer knows less.

use super::{
    BASE_MS, PARTITIONS, Scene, WINDOW_MS,
    asking::{Client, ask_owner},
};
use millstream::codec::partition_for;
use serde_json::Value;
use std::collections::BTreeMap;

/// Keys of a partition.
const KEYS: usize = 20;
/// Event time between two records of a partition: a window takes 3,000.
const STEP_MS: i64 = 20;
/// Records of a partition.
const RECORDS: i64 = 15_000;
/// Records of a partition that are written at once.
const CHUNK: i64 = 250;

/// A window of a key, and its count.
type Rows = BTreeMap<(String, i64), i64>;

/// Keys by partition.
fn keys() -> Vec<Vec<String>> {
    let of = |partition| {
        let all =
            (0..).map(|n| format!("key-{n}")).filter(|key| partition_for(key.as_bytes(), PARTITIONS) == partition);
        all.take(KEYS).collect()
    };
    (0..PARTITIONS).map(of).collect()
}

/// Key and event time of record `n` of a partition with these keys.
fn record(keys: &[String], n: i64) -> (&String, i64) {
    (&keys[(n.wrapping_mul(7_919) + n / 13) as usize % KEYS], BASE_MS + n * STEP_MS)
}

/// The rows that have not expired after the first `n` records: those of the newest window and of the one before.
fn beginning(keys: &[String], n: i64) -> Rows {
    let window = |n| record(keys, n).1.div_euclid(WINDOW_MS) * WINDOW_MS;
    let mut rows = Rows::new();
    if n > 0 {
        let newest = window(n - 1);
        let live = (0..n).rev().take_while(|n| window(*n) >= newest - WINDOW_MS);
        live.for_each(|n| *rows.entry((record(keys, n).0.clone(), window(n))).or_default() += 1);
    }
    rows
}

/// The number of records that an answer knows of.
///
/// # Errors
/// When it is what no beginning of the input comes to.
fn explained(keys: &[String], rows: &Rows) -> Result<i64, String> {
    let Some(newest) = rows.keys().map(|(_, start)| *start).max() else { return Ok(0) };
    let before = (newest - BASE_MS).max(0).div_euclid(STEP_MS);
    let known = rows.iter().filter(|((_, start), _)| *start == newest).map(|(_, count)| count).sum::<i64>();
    let n = before + known;
    let expected = beginning(keys, n);
    if *rows == expected { Ok(n) } else { Err(format!("{rows:?} is not what {n} records come to: {expected:?}")) }
}

fn rows(body: &Value) -> Rows {
    assert!(body["next"].is_null(), "a page holds them all: {body}");
    let row = |row: &Value| {
        let key = row["key"].as_str().expect("a key").to_owned();
        ((key, row["start"].as_i64().expect("a time")), row["value"].as_i64().expect("a count"))
    };
    body["rows"].as_array().expect("rows").iter().map(row).collect()
}

#[test]
fn every_answer_is_a_beginning_of_the_input_over_a_kill_and_rebalances() {
    let scene = Scene::new("queries");
    let all = keys();
    let explain = {
        let all = all.clone();
        move |partition: usize, body: &Value| explained(&all[partition], &rows(body)).map(|n| vec![n])
    };
    let committed = Box::new(scene.broker.commits(scene.name, &scene.input()));
    let client = Client::new("counts", Box::new(explain), vec![committed], RECORDS);
    let write = |chunk: i64| {
        let records = (chunk * CHUNK..(chunk + 1) * CHUNK).flat_map(|n| {
            all.iter().enumerate().map(move |(partition, keys)| {
                let (key, time) = record(keys, n);
                (partition as i32, key.clone(), "v".to_owned(), time)
            })
        });
        scene.broker.write(&scene.input(), records, None);
    };
    let replicas = client.ask_all_along(&scene.launch, RECORDS / CHUNK, write);
    // Where a key is nobody needs to know: its partition follows from its bytes.
    for (partition, keys) in all.iter().enumerate() {
        let ((key, start), count) = beginning(keys, RECORDS).into_iter().next_back().expect("rows");
        let path = format!("/stores/counts/keys/{key}?from={start}&to={start}");
        let (status, body) = ask_owner(&replicas[0].address().expect("it serves"), &path);
        assert_eq!((status, rows(&body)), (200, Rows::from([((key, start), count)])), "partition {partition}");
    }
}

#[test]
fn an_answer_that_no_beginning_explains_is_wrong() {
    let keys = keys().swap_remove(3);
    for n in [0, 1, 2_999, 3_000, 3_001, 7_777, RECORDS] {
        assert_eq!(explained(&keys, &beginning(&keys, n)), Ok(n), "{n}");
    }
    let right = beginning(&keys, 7_777);
    let planted = |plant: &dyn Fn(&mut Rows)| {
        let mut wrong = right.clone();
        plant(&mut wrong);
        explained(&keys, &wrong)
    };
    let (first, last) = (right.keys().next().expect("rows").clone(), right.keys().next_back().expect("rows").clone());
    // A row of another moment, a row that is missing, one that has expired, one of another key.
    assert!(planted(&|rows| *rows.get_mut(&last).expect("it is there") += 1).is_err());
    assert!(planted(&|rows| *rows.get_mut(&first).expect("it is there") -= 1).is_err());
    assert!(
        planted(&|rows| {
            rows.remove(&first);
        })
        .is_err()
    );
    assert!(
        planted(&|rows| {
            rows.insert((first.0.clone(), first.1 - WINDOW_MS), 1);
        })
        .is_err()
    );
    assert!(
        planted(&|rows| {
            rows.insert(("other".into(), last.1), 1);
        })
        .is_err()
    );
}
