//! What a stopped replica has on its disk.

use super::{PARTITIONS, Scene, check_rows};
use millstream::{
    record::Timestamp,
    state::{RocksRuntime, Row, split_window_row},
};
use std::{collections::BTreeMap, ops::ControlFlow};

/// Size and grace of the windows of `bench-window-count`: how far behind stream time a row is kept.
const RETENTION_MS: i64 = 70_000;

/// Compares the stores of a replica, stopped while it owned every task, with the folded changelog: value and time of
/// every row that has not expired.
pub fn check_stores(scene: &Scene, replica: usize) {
    let changelog = scene.broker.records(&scene.changelog());
    let ranges = scene.broker.ranges(&scene.changelog());
    let runtime = RocksRuntime::new(8 << 20, 8 << 20);
    let mut rows = 0;
    for partition in 0..PARTITIONS {
        let task = scene.launch.home(replica).join("state").join(scene.name).join(format!("0_{partition}"));
        let store = runtime.open_task(&task, &["counts"]).expect("nobody else has it open").remove(0);
        let saved = store.saved().expect("readable").expect("a clean stop leaves a description");
        let end = ranges[partition as usize].1;
        assert!(saved.clean && saved.position <= end, "task 0_{partition}: {saved:?}, the changelog ends at {end}");
        let cut = saved.stream_time - RETENTION_MS + 1;

        let mut found = BTreeMap::new();
        let mut visit = |row: &[u8], stored: &[u8]| {
            let (start, key) = split_window_row(row).expect("a window's row");
            let row = Row::from_stored(stored).expect("a stored row");
            found.insert(id(key, start), (row.value.to_vec(), row.timestamp));
            ControlFlow::Continue(())
        };
        store.scan(&split_start(cut), None, false, &mut visit).expect("readable");

        let mut expected = BTreeMap::new();
        for record in changelog.iter().filter(|r| r.partition == partition) {
            let row: Vec<u8> = record.key[..record.key.len() - 4].to_vec();
            match &record.value {
                Some(value) => expected.insert(row, (value.clone(), record.timestamp)),
                None => expected.remove(&row),
            };
        }
        expected.retain(|row, _| super::number(&row[row.len() - 8..]) >= cut);
        let values = |rows: &BTreeMap<_, (Vec<u8>, i64)>| {
            rows.iter().map(|(k, v): (&Vec<u8>, _)| (k.clone(), v.0.clone())).collect()
        };
        check_rows(&format!("store of task 0_{partition}"), &values(&found), &values(&expected));
        assert!(found == expected, "task 0_{partition}: rows have other times");
        rows += found.len();
    }
    assert!(rows > 0, "the newest windows have not expired");
}

fn id(key: &[u8], start: Timestamp) -> Vec<u8> {
    [key, &start.to_be_bytes()].concat()
}

fn split_start(start: Timestamp) -> [u8; 8] {
    start.max(0).to_be_bytes()
}
