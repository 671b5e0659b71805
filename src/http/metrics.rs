//! The board in Prometheus' text format.

use super::{families::Family, process};
use crate::{operator::Dropped, record::Timestamp, runtime::Vitals};
use prometheus::{Encoder, TextEncoder};
use std::collections::BTreeMap;

/// The states of a stream thread, all of which are shown with 0 or 1.
const STATES: [&str; 5] = ["starting", "rebalancing", "restoring", "running", "stopping"];

/// All metrics as text.
pub fn text(vitals: &[Vitals], now: Timestamp) -> prometheus::Result<String> {
    let mut all = threads(vitals);
    all.extend(counters(vitals));
    all.extend(tasks(vitals, now));
    all.extend(process::families());
    let mut build = Family::gauge("millstream_build_info", "Always 1; the version is a label.");
    build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    all.push(build);
    let families: Vec<_> = all.into_iter().filter_map(Family::finish).collect();
    let mut out = Vec::new();
    TextEncoder::new().encode(&families, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn threads(vitals: &[Vitals]) -> Vec<Family> {
    let mut state = Family::gauge("millstream_thread_state", "1 for the state that a stream thread is in.");
    let mut silent = Family::gauge("millstream_thread_silent_seconds", "Time since a thread's last sign of life.");
    let mut rebalances = Family::counter("millstream_rebalances_total", "Assignments received.");
    let mut transactions = Family::counter("millstream_transactions_total", "Transactions by how they ended.");
    let mut persists = Family::counter("millstream_persists_total", "Batches of rows that became durable.");
    let mut restored = Family::counter("millstream_restored_records_total", "Changelog records restored.");
    let mut commits =
        Family::histogram("millstream_commit_duration_seconds", "Time from sending a commit to its outcome.");
    let mut last =
        Family::gauge("millstream_last_commit_timestamp_seconds", "When the last commit ended; 0 before it.");
    let mut overlay = Family::gauge("millstream_overlay_bytes", "Rows written by open transactions.");
    let mut table = Family::gauge("millstream_table_bytes", "Committed rows in memory.");
    let mut cache = Family::gauge("millstream_cache_bytes", "Updates held back by record caches.");
    let mut stalled = Family::gauge("millstream_processing_stalled", "1 while processing waits for the disk.");
    for v in vitals {
        let thread = v.thread.to_string();
        let s = &v.snapshot;
        let label = ("thread", thread.as_str());
        for name in STATES {
            state.add(&[label, ("state", name)], f64::from(u8::from(s.state == name)));
        }
        silent.add(&[label], v.age_ms as f64 / 1000.0);
        rebalances.add(&[label], s.rebalances as f64);
        for (outcome, count) in [("committed", s.committed), ("aborted", s.aborted), ("fenced", s.fenced)] {
            transactions.add(&[label, ("outcome", outcome)], count as f64);
        }
        persists.add(&[label], s.persists as f64);
        restored.add(&[label], s.restored as f64);
        commits.add_latency(&[label], &s.commit_ms, 1000.0);
        last.add(&[label], s.last_commit as f64 / 1000.0);
        overlay.add(&[label], s.overlay_bytes as f64);
        table.add(&[label], s.table_bytes as f64);
        cache.add(&[label], s.cache_bytes as f64);
        stalled.add(&[label], f64::from(u8::from(s.stalled)));
    }
    vec![state, silent, rebalances, transactions, persists, restored, commits, last, overlay, table, cache, stalled]
}

/// Counters over all tasks that a sub-topology ever had in this process.
fn counters(vitals: &[Vitals]) -> Vec<Family> {
    let mut processed = Family::counter("millstream_processed_records_total", "Input records processed.");
    let mut processed_bytes = Family::counter("millstream_processed_bytes_total", "Bytes of processed records.");
    let mut sent = Family::counter("millstream_sent_records_total", "Records written to output topics.");
    let mut sent_bytes = Family::counter("millstream_sent_bytes_total", "Bytes written to output topics.");
    let mut punctuated = Family::counter("millstream_punctuations_total", "Punctuations called.");
    let mut dropped = Family::counter("millstream_dropped_records_total", "Records left out, by reason.");
    let mut events = Family::counter("events_processed_total", "Input records processed, by source topics.");
    let mut failed = Family::counter("events_failed_total", "Input records left out, by source topics and reason.");
    let sources = source_topics(vitals);
    for v in vitals {
        let thread = v.thread.to_string();
        for (sub, c) in &v.snapshot.counters {
            let sub_name = sub.to_string();
            let labels = [("thread", thread.as_str()), ("sub_topology", sub_name.as_str())];
            processed.add(&labels, c.processed as f64);
            processed_bytes.add(&labels, c.processed_bytes as f64);
            sent.add(&labels, c.sent as f64);
            sent_bytes.add(&labels, c.sent_bytes as f64);
            punctuated.add(&labels, c.punctuated as f64);
            for (reason, count) in Dropped::ALL.iter().zip(c.dropped) {
                dropped.add(&[labels[0], labels[1], ("reason", reason.name())], count as f64);
            }
        }
    }
    for (sub, topic) in sources {
        let of_sub = || vitals.iter().filter_map(|v| v.snapshot.counters.get(&sub));
        let label = ("topic", topic.as_str());
        events.add(&[label], of_sub().map(|c| c.processed).sum::<u64>() as f64);
        for (at, reason) in Dropped::ALL.iter().enumerate() {
            let count: u64 = of_sub().map(|c| c.dropped[at]).sum();
            failed.add(&[label, ("error_type", reason.name())], count as f64);
        }
    }
    vec![processed, processed_bytes, sent, sent_bytes, punctuated, dropped, events, failed]
}

/// The source topics of each sub-topology, comma separated when it has several.
fn source_topics(vitals: &[Vitals]) -> BTreeMap<u32, String> {
    let mut topics: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for task in vitals.iter().flat_map(|v| &v.snapshot.tasks) {
        let of_sub = topics.entry(task.id.sub_topology).or_default();
        of_sub.extend(task.committed.iter().map(|(partition, _)| &*partition.topic));
    }
    let join = |(sub, mut topics): (u32, Vec<&str>)| {
        topics.sort_unstable();
        topics.dedup();
        (sub, topics.join(","))
    };
    topics.into_iter().map(join).collect()
}

fn tasks(vitals: &[Vitals], now: Timestamp) -> Vec<Family> {
    let mut states = Family::gauge("millstream_tasks", "Tasks by state.");
    let mut lag = Family::gauge("millstream_task_lag_records", "Records that wait or are known to come.");
    let mut behind =
        Family::gauge("millstream_task_lag_seconds", "Wall clock less stream time while records wait, else 0.");
    let mut remaining =
        Family::gauge("millstream_restore_remaining_records", "Changelog offsets that a task has still to restore.");
    let mut stream_time = Family::gauge("millstream_stream_time_seconds", "Greatest event time that a task has seen.");
    let mut offsets = Family::gauge("millstream_committed_offset", "Next offset to read after the last commit.");
    let mut tables = Family::gauge("millstream_store_table_bytes", "Committed rows of a store in memory.");
    let mut overlays = Family::gauge("millstream_store_overlay_bytes", "Uncommitted rows of a store.");
    let mut by_state: BTreeMap<&str, u32> = BTreeMap::new();
    for t in vitals.iter().flat_map(|v| &v.snapshot.tasks) {
        *by_state.entry(t.state).or_default() += 1;
        if t.state == "suspended" {
            // Another thread may own the task; two samples with equal labels are an error.
            continue;
        }
        let task = t.id.to_string();
        let label = ("task", task.as_str());
        lag.add(&[label], t.lag as f64);
        let seconds = if t.lag > 0 && t.stream_time >= 0 { (now - t.stream_time).max(0) as f64 / 1000.0 } else { 0.0 };
        behind.add(&[label], seconds);
        remaining.add(&[label], t.restore_remaining.max(0) as f64);
        if t.stream_time >= 0 {
            stream_time.add(&[label], t.stream_time as f64 / 1000.0);
        }
        for (partition, offset) in &t.committed {
            let number = partition.partition.to_string();
            offsets.add(&[("topic", &partition.topic), ("partition", &number)], offset.unwrap_or(0) as f64);
        }
        for (store, table, overlay) in &t.stores {
            tables.add(&[label, ("store", store)], *table as f64);
            overlays.add(&[label, ("store", store)], *overlay as f64);
        }
    }
    for (state, count) in by_state {
        states.add(&[("state", state)], f64::from(count));
    }
    vec![states, lag, behind, remaining, stream_time, offsets, tables, overlays]
}
