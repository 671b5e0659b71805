//! Queries in the middle of a run: every answer must be the recount of the input that is committed.

use super::checker::{Rows, Truth, numbers};
use crate::{
    embedded::Member,
    record::{Offset, TaskId},
    state::Change,
    worker::Refusal,
};
use bytes::Bytes;
use std::{collections::BTreeSet, ops::ControlFlow};

const STORE: &str = "windows";

/// Asks a member for all rows of each task, and for what its commits changed. `Ok` with the number of tasks that answered.
pub(super) fn check(truth: &Truth<'_>, member: &mut Member) -> Result<usize, String> {
    let sub_topology = truth.scene.stores().find(|(_, spec, _)| &*spec.name == STORE).map_or(0, |(id, ..)| id);
    let worker = member.worker_mut();
    worker.watch_stores(&BTreeSet::from([STORE.into()]));
    let changes = worker.take_changes();
    let mut answers = 0;
    for task in worker.snapshot().tasks.iter().filter(|task| task.id.sub_topology == sub_topology) {
        let committed = task.committed.first().and_then(|(_, offset)| *offset).unwrap_or(0);
        let live = truth.live_windows(task.id.partition, committed);
        let mut rows = Rows::new();
        let scanned = worker.query(task.id, STORE, false, |store| {
            store.scan(b"", None, false, &mut |row, found| {
                rows.insert(Bytes::copy_from_slice(row), numbers(&found.value));
                ControlFlow::Continue(())
            })
        });
        match scanned {
            Ok(scanned) => scanned.map_err(|fault| fault.to_string())?,
            Err(Refusal::NotHere | Refusal::Restoring(_)) => continue,
        }
        answers += 1;
        if rows != live {
            return Err(format!("a query of {STORE} {} at offset {committed} saw {rows:?} for {live:?}", task.id));
        }
        let told = changes.rows.get(&(task.id, STORE.into()));
        check_changes(truth, task.id, committed, told.map_or(&[], Vec::as_slice))?;
    }
    Ok(answers)
}

/// A change tells the value of some commit up to now: the beginning of what is committed.
fn check_changes(truth: &Truth<'_>, task: TaskId, committed: Offset, told: &[Change]) -> Result<(), String> {
    let windows = truth.windows(task.partition, committed);
    for change in told {
        let (start, _) = change.window.unwrap_or_default();
        let value = numbers(change.value.as_deref().unwrap_or_default());
        let key = String::from_utf8_lossy(&change.key).into_owned();
        let list = windows.get(&(key, start));
        if !list.is_some_and(|list| list.starts_with(&value)) {
            return Err(format!("{STORE} {task}: the change {change:?} tells {value:?} of {list:?}"));
        }
    }
    Ok(())
}
