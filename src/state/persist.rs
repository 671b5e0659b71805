//! How the rows of a store get to its backend.

use super::{Batch, Saved, Store, StoreKind, flaw::Flaw};
use crate::record::Timestamp;
use bytes::Bytes;

impl Store {
    /// Bytes of committed rows that are not in the backend yet (unsaved and saving).
    pub fn unsaved_bytes(&self) -> usize {
        self.table.bytes().unsaved
    }

    /// When the oldest unsaved row was committed (wall clock), if there is one. Rows that came by a restore count from
    /// the next [`Store::committed`] or [`Store::covered`]; rows of a batch under way don't count.
    pub fn unsaved_since(&self) -> Option<Timestamp> {
        self.unsaved_since
    }

    /// Bytes of the whole table, saved rows included.
    pub fn table_bytes(&self) -> usize {
        self.table.bytes().all
    }

    /// Turns unsaved rows into saving ones and gives them as a sorted batch, with position, committed stream time and
    /// expiry cut of this moment; rows that have expired by committed time are left out (I8). `None` when a persist is
    /// running. A batch may be without rows: it still brings position and `covered_at` up to date. `clean` marks a
    /// clean close.
    pub fn freeze(&mut self, cluster_id: &str, topic_id: &str, clean: bool) -> Option<Batch> {
        if self.persisting {
            return None;
        }
        self.persisting = true;
        let time = self.committed_stream_time;
        let cut = if self.flaw == Flaw::ExpiryUncommitted { self.floor() } else { self.floor_at(time) };
        if let Some(cut) = cut {
            self.table.drop_below(cut);
        }
        let rows = self.table.freeze(cut);
        self.saving_since = self.unsaved_since.take();
        let rows_time = match self.spec.kind {
            // In the middle of a restore the time of the rows decides about those to come.
            StoreKind::Versioned { .. } => self.rows_time,
            _ => self.rows_time.max(time),
        };
        self.backend_time = Some(self.backend_time.map_or(rows_time, |before| before.max(rows_time)));
        self.saving_covered_at = self.covered_at;
        let ahead = if self.flaw == Flaw::PositionAboveData { 2 } else { 0 };
        let saved = Saved {
            position: self.position + ahead,
            stream_time: rows_time,
            cluster_id: cluster_id.into(),
            topic_id: topic_id.into(),
            covered_at: self.covered_at,
            clean,
        };
        let expire_below = cut.map(|cut| Bytes::copy_from_slice(&cut.to_be_bytes()));
        Some(Batch { rows, expire_below, saved: Some(saved) })
    }

    /// The batch of the last [`Store::freeze`] is durable (`true`) or failed (`false`: its rows are unsaved again).
    pub fn persisted(&mut self, durable: bool) {
        self.persisting = false;
        let since = self.saving_since.take();
        if durable {
            self.saved_covered_at = Some(self.saving_covered_at);
        } else {
            self.unsaved_since = since.or(self.unsaved_since);
        }
        self.table.persisted(durable);
    }

    /// Up to when the store is known to hold all that was committed (wall clock), and up to when the backend says so;
    /// `None` while the backend says nothing (I2).
    pub fn covered_at(&self) -> (Timestamp, Option<Timestamp>) {
        (self.covered_at, self.saved_covered_at)
    }

    /// True while a batch is on its way to the backend.
    pub fn is_persisting(&self) -> bool {
        self.persisting
    }

    /// Drops saved rows until the table takes at most `bytes_max`; unsaved rows stay.
    pub fn evict(&mut self, bytes_max: usize) {
        self.table.evict(bytes_max);
    }
}
