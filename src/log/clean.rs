//! The log cleaner: retention by time and compaction.

use super::{
    TopicConfig,
    partition::{Body, Partition},
};
use crate::record::Timestamp;
use bytes::Bytes;
use std::collections::BTreeMap;

impl Partition {
    /// Deletes what is older than the retention from the front, then compacts.
    pub(super) fn clean(&mut self, config: &TopicConfig, now: Timestamp) {
        if let Some(retention) = config.retention_ms {
            self.expire(now - retention);
        }
        if config.compact {
            self.compact(config, now);
        }
    }

    /// Moves the start past records of decided transactions that are older than `oldest`, up to the first younger one.
    fn expire(&mut self, oldest: Timestamp) {
        let stable = self.stable_end();
        let keep = self.entries.iter().find(|e| e.offset >= stable || e.timestamp >= oldest);
        let below = keep.map_or(stable, |e| e.offset);
        // Never above the end, so this can't fail.
        let _ = self.delete_below(below);
    }

    /// Keeps the newest committed record per key below the last stable offset and what is too young; aborted records go,
    /// tombstones and markers go `delete_retention_ms` after the first cleaning that met them. The start stays.
    fn compact(&mut self, config: &TopicConfig, now: Timestamp) {
        let (oldest, lag) = (now.saturating_sub(config.min_compaction_lag_ms), config.min_compaction_lag_ms > 0);
        let young = self.entries.iter().find(|e| lag && e.timestamp > oldest).map(|e| e.offset);
        let stable = self.stable_end().min(young.unwrap_or(i64::MAX));
        let mut newest: BTreeMap<Bytes, i64> = BTreeMap::new();
        let mut aborted = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let is_aborted = self.is_aborted(entry);
            aborted.push(is_aborted);
            if let Body::Record(record) = &entry.body
                && entry.offset < stable
                && !is_aborted
                && let Some(key) = &record.key
            {
                newest.insert(key.clone(), entry.offset);
            }
        }
        let mut at = 0;
        self.entries.retain_mut(|entry| {
            let is_aborted = aborted[at];
            at += 1;
            if entry.offset >= stable {
                return true;
            }
            let dying = match &entry.body {
                Body::Marker => true,
                Body::Record(_) if is_aborted => return false,
                Body::Record(record) => match &record.key {
                    None => false,
                    Some(key) if newest.get(key) != Some(&entry.offset) => return false,
                    Some(_) => record.value.is_none(),
                },
            };
            if !dying {
                return true;
            }
            now < *entry.horizon.get_or_insert(now + config.delete_retention_ms)
        });
    }
}
