//! `/tasks`: stream threads and their tasks as JSON.

use crate::{runtime::Vitals, worker::TaskSnapshot};
use serde_json::{Map, Value, json};

/// All threads.
pub fn json(vitals: &[Vitals]) -> Value {
    let thread = |v: &Vitals| {
        let s = &v.snapshot;
        json!({
            "thread": v.thread,
            "state": s.state,
            "silent_ms": v.age_ms,
            "last_commit": s.last_commit,
            "rebalances": s.rebalances,
            "transactions": { "committed": s.committed, "aborted": s.aborted, "fenced": s.fenced },
            "bytes": { "overlay": s.overlay_bytes, "table": s.table_bytes, "cache": s.cache_bytes },
            "tasks": s.tasks.iter().map(task).collect::<Vec<_>>(),
        })
    };
    json!({ "threads": vitals.iter().map(thread).collect::<Vec<_>>() })
}

fn task(t: &TaskSnapshot) -> Value {
    let committed: Map<String, Value> = t.committed.iter().map(|(p, o)| (p.to_string(), json!(o))).collect();
    let stores: Map<String, Value> = t
        .stores
        .iter()
        .map(|(name, table, overlay)| (name.to_string(), json!({ "table_bytes": table, "overlay_bytes": overlay })))
        .collect();
    json!({
        "task": t.id.to_string(),
        "state": t.state,
        "processed": t.counters.processed,
        "lag": t.lag,
        "queued_bytes": t.queued_bytes,
        "stream_time": t.stream_time,
        "restore_remaining": t.restore_remaining,
        "committed": committed,
        "stores": stores,
    })
}
