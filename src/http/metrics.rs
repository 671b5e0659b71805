//! What the board shows, as metrics.

use super::{page::Page, process, stores::Stores};
use crate::{
    operator::Dropped,
    record::Timestamp,
    runtime::{Board, Vitals},
    worker::{Counters, Latency, Snapshot, Stage},
};
use std::collections::BTreeMap;

/// The states of a stream thread and of a task, all of which are shown, most with 0.
const THREAD_STATES: [&str; 5] = ["starting", "rebalancing", "restoring", "running", "stopping"];
const TASK_STATES: [&str; 5] = ["opening", "restoring", "ready", "running", "suspended"];

/// All metrics as text.
pub fn text(board: &Board, stores: Option<&Stores>, now: Timestamp) -> prometheus::Result<String> {
    let vitals = board.read();
    let mut page = Page::new();
    for v in &vitals {
        let thread = v.thread.to_string();
        page.add("millstream_thread_silent_seconds", &[&thread], v.age_ms as f64 / 1e3);
        for (call, for_ms) in &v.calls {
            page.add("millstream_thread_call_seconds", &[&thread, call], *for_ms as f64 / 1e3);
        }
        of_thread(&mut page, &thread, &v.snapshot, now);
        for (sub, counters) in &v.snapshot.counters {
            of_sub_topology(&mut page, &[&thread, &sub.to_string()], counters);
        }
    }
    events(&mut page, &vitals);
    tasks(&mut page, &vitals, now);
    for figure in board.disk() {
        let store: Vec<&str> = figure.store.iter().map(String::as_str).collect();
        page.add(&format!("millstream_rocksdb_{}", figure.name), &store, figure.value as f64);
    }
    if let Some(stores) = stores {
        queries(&mut page, stores);
    }
    process::add(&mut page);
    page.add("millstream_build_info", &[env!("CARGO_PKG_VERSION")], 1.0);
    page.text()
}

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn of_thread(page: &mut Page, thread: &str, s: &Snapshot, now: Timestamp) {
    for state in THREAD_STATES {
        page.add("millstream_thread_state", &[thread, state], flag(s.state == state));
    }
    for (outcome, count) in [("committed", s.committed), ("aborted", s.aborted), ("fenced", s.fenced)] {
        page.add("millstream_transactions_total", &[thread, outcome], count as f64);
    }
    let overdue = s.overdue_since.is_some_and(|since| now > since);
    for (name, value) in [
        ("millstream_rebalances_total", s.rebalances as f64),
        ("millstream_persists_total", s.persists as f64),
        ("millstream_restored_records_total", s.restored as f64),
        ("millstream_last_commit_timestamp_seconds", s.last_commit as f64 / 1e3),
        ("millstream_commit_overdue", flag(overdue)),
        ("millstream_overlay_bytes", s.overlay_bytes as f64),
        ("millstream_table_bytes", s.table_bytes as f64),
        ("millstream_cache_bytes", s.cache_bytes as f64),
        ("millstream_processing_stalled", flag(s.stalled_since.is_some())),
        ("millstream_processing_stalled_seconds_total", s.stalled_ms as f64 / 1e3),
    ] {
        page.add(name, &[thread], value);
    }
    page.add_latency("millstream_commit_duration_seconds", &[thread], &s.commit);
    page.add_latency("millstream_rebalance_duration_seconds", &[thread], &s.pauses);
    for (name, stages) in [
        ("millstream_processing_duration_seconds", &Stage::RECORD[..]),
        ("millstream_commit_phase_duration_seconds", &Stage::COMMIT[..]),
    ] {
        for stage in stages {
            page.add_latency(name, &[thread, stage.name()], s.timings.latency(*stage));
        }
    }
    for stage in Stage::ALL {
        let seconds = s.timings.total_us(stage) as f64 / 1e6;
        page.add("millstream_thread_time_seconds_total", &[thread, stage.name()], seconds);
    }
}

/// Counters over all tasks that a thread ever had of a sub-topology.
fn of_sub_topology(page: &mut Page, labels: &[&str; 2], c: &Counters) {
    for (name, value) in [
        ("millstream_processed_records_total", c.processed),
        ("millstream_processed_bytes_total", c.processed_bytes),
        ("millstream_sent_records_total", c.sent),
        ("millstream_sent_bytes_total", c.sent_bytes),
        ("millstream_changelog_records_total", c.logged),
        ("millstream_changelog_bytes_total", c.logged_bytes),
        ("millstream_punctuations_total", c.punctuated),
    ] {
        page.add(name, labels, value as f64);
    }
    for (reason, count) in Dropped::ALL.iter().zip(c.dropped) {
        page.add("millstream_dropped_records_total", &[labels[0], labels[1], reason.name()], count as f64);
    }
}

/// The same by topic and by sub-topology, over all threads.
fn events(page: &mut Page, vitals: &[Vitals]) {
    let mut subs: BTreeMap<u32, Counters> = BTreeMap::new();
    for (sub, counters) in vitals.iter().flat_map(|v| &v.snapshot.counters) {
        subs.entry(*sub).or_default().add(counters);
    }
    let mut all = Counters::default();
    for (sub, counters) in &subs {
        let mut latency: Option<Latency> = None;
        for topic in &counters.topics {
            match &mut latency {
                Some(sum) => sum.add(&topic.event),
                None => latency = Some(topic.event.clone()),
            }
        }
        if let Some(latency) = latency {
            page.add_latency("millstream_end_to_end_latency_seconds", &[&sub.to_string()], &latency);
        }
        all.add(counters);
    }
    for topic in &all.topics {
        page.add("events_processed_total", &[&topic.topic], topic.processed as f64);
        page.add_latency("event_latency_ms", &[&topic.topic], &topic.event);
        for (reason, count) in Dropped::ALL.iter().zip(topic.dropped) {
            page.add("events_failed_total", &[&topic.topic, reason.name()], count as f64);
        }
    }
}

fn queries(page: &mut Page, stores: &Stores) {
    let figures = stores.queries().figures();
    for (outcome, count) in [("answered", figures.served), ("turned_away", figures.turned_away)] {
        page.add("millstream_queries_total", &[outcome], count as f64);
    }
    page.add("millstream_queries_waiting", &[], figures.waiting as f64);
    page.add_latency("millstream_query_duration_seconds", &[], &stores.durations());
    page.add("millstream_change_listeners", &[], figures.listeners as f64);
    page.add("millstream_change_listeners_cut_total", &[], figures.cut as f64);
}

fn tasks(page: &mut Page, vitals: &[Vitals], now: Timestamp) {
    let all = || vitals.iter().flat_map(|v| &v.snapshot.tasks);
    for state in TASK_STATES {
        page.add("millstream_tasks", &[state], all().filter(|t| t.state == state).count() as f64);
    }
    // Another thread may own a suspended task; two samples with equal labels are an error.
    for t in all().filter(|t| t.state != "suspended") {
        let task = t.id.to_string();
        let behind = if t.lag > 0 && t.stream_time >= 0 { (now - t.stream_time).max(0) } else { 0 };
        page.add("millstream_task_lag_records", &[&task], t.lag as f64);
        page.add("millstream_task_lag_seconds", &[&task], behind as f64 / 1e3);
        page.add("millstream_restore_remaining_records", &[&task], t.restore_remaining.max(0) as f64);
        if let Some(ms) = t.restore.and_then(|restore| restore.left_ms(now, t.restore_remaining)) {
            page.add("millstream_restore_left_seconds", &[&task], ms as f64 / 1e3);
        }
        page.add("millstream_task_restored_records", &[&task], t.restored as f64);
        if t.stream_time >= 0 {
            page.add("millstream_stream_time_seconds", &[&task], t.stream_time as f64 / 1e3);
        }
        for (partition, offset) in &t.committed {
            let labels = [&*partition.topic, &partition.partition.to_string()];
            page.add("millstream_committed_offset", &labels, offset.unwrap_or(0) as f64);
        }
        for (store, table, overlay) in &t.stores {
            page.add("millstream_store_table_bytes", &[&task, store], *table as f64);
            page.add("millstream_store_overlay_bytes", &[&task, store], *overlay as f64);
        }
    }
}
