//! What happens to a store at the end of a transaction, and how its changelog fills it.

use super::{
    ChangelogSink, Store, StoreKind,
    flaw::Flaw,
    overlay::Overlay,
    row::{Version, VersionRef},
    row_map::hash,
    table::is_below,
};
use crate::{
    fault::{Remedy, Result},
    record::{Headers, Offset, Timestamp},
};
use bytes::Bytes;

impl Store {
    /// Freezes the overlay and hands its changelog records to `sink`, in the order of first write (of each write
    /// without deduplication). Returns how many there were; an unlogged store gives none (P-67).
    ///
    /// # Panics
    /// When the outcome of the transaction drained before is still open, or an update is still held back: both would
    /// lose writes.
    pub fn drain(&mut self, sink: &mut dyn ChangelogSink) -> u64 {
        self.last = None;
        assert!(self.frozen.is_none(), "store {}: one commit at a time", self.spec.name);
        assert!(self.open.held_bytes() == 0, "store {}: a commit flushes the record cache first", self.spec.name);
        let mut frozen = std::mem::replace(&mut self.open, self.spare.take().expect("not more than two overlays"));
        frozen.stream_time = self.stream_time;
        if self.spec.logged {
            let kind = self.spec.kind;
            let mut drained = 0;
            let mut log = |row: &[u8], version: &Version, own: Option<&Headers>| {
                if !kind.is_index(row)
                    && let Some((value, headers)) =
                        kind.changelog_value(version.value.as_deref().map(Bytes::copy_from_slice))
                {
                    let headers = own.cloned().unwrap_or(headers);
                    sink.log(kind.changelog_key(row), value, version.timestamp, headers);
                    drained += 1;
                }
            };
            match &self.recency {
                // In the order of last writes, deletions first: a restore makes the order of use of it.
                Some(recency) if frozen.logs_last_versions() => {
                    let mut written: Vec<_> = frozen.written().collect();
                    written.sort_by_key(|(row, _)| recency.tick(row));
                    written.into_iter().for_each(|(row, version)| log(row, version, None));
                }
                _ => frozen.for_each_logged(|row, version, own| log(row, version, own)),
            }
            frozen.drained = drained;
        }
        let drained = frozen.drained;
        if self.flaw == Flaw::PositionBeforeCommit {
            self.position += Offset::try_from(drained).expect("fewer records than offsets");
        }
        if self.flaw == Flaw::StoreBeforeCommit {
            self.apply(&frozen);
        }
        self.frozen = Some(frozen);
        if let Some(recency) = &mut self.recency {
            recency.freeze();
        }
        drained
    }

    /// The transaction of the frozen overlay is committed: its rows move to the table, and the position grows by the
    /// records drained and one marker, if there was a record (I2). `now` is the wall clock taken before the commit was
    /// sent. Without a frozen overlay it only counts as [`Store::covered`].
    pub fn committed(&mut self, now: Timestamp) {
        self.end_commit();
        self.covered(now);
    }

    /// As [`Store::committed`] for a store whose changelog is its input, while there is more input: a deletion that
    /// lies there may be older than `now`, so nothing is said about the time (I2).
    pub fn committed_behind(&mut self, now: Timestamp) {
        self.end_commit();
        self.note_unsaved(now);
    }

    fn end_commit(&mut self) {
        self.last = None;
        if let Some(mut frozen) = self.frozen.take() {
            let counts = frozen.drained > 0 || self.flaw == Flaw::MarkerWithoutRecords;
            if self.spec.logged && counts && self.flaw != Flaw::PositionBeforeCommit {
                let drained = Offset::try_from(frozen.drained).expect("fewer records than offsets");
                self.position += drained + self.marker;
            }
            if self.flaw != Flaw::StoreBeforeCommit {
                self.apply(&frozen);
            }
            frozen.reset();
            self.spare = Some(frozen);
            self.note_floor();
        }
        if let Some(recency) = &mut self.recency {
            recency.settle();
        }
    }

    /// All that is committed up to the wall clock time `now` is in this store: called with a time taken before the
    /// stable offsets were read under which a restore ended, or under which an idle owner still owns the task (I2).
    pub fn covered(&mut self, now: Timestamp) {
        self.covered_at = self.covered_at.max(now);
        self.note_unsaved(now);
    }

    /// Rows that are not in the backend wait from `now` on, unless some wait already.
    pub fn note_unsaved(&mut self, now: Timestamp) {
        if self.unsaved_since.is_none() && self.table.bytes().unsaved > 0 {
            self.unsaved_since = Some(now);
        }
    }

    /// Planted bug: forgets what the transaction wrote whose commit was under way, and nothing of what came after it.
    pub fn discard_frozen(&mut self) {
        if let Some(mut frozen) = self.frozen.take() {
            frozen.reset();
            self.spare = Some(frozen);
        }
    }

    /// Forgets every uncommitted write; stream time goes back to that of the last commit.
    pub fn discard(&mut self) {
        self.last = None;
        let frozen = self.frozen.take();
        if self.flaw == Flaw::OverlayAfterAbort {
            if let Some(mut frozen) = frozen {
                frozen.drained = 0;
                self.open.reset();
                self.spare = Some(std::mem::replace(&mut self.open, frozen));
            }
            return;
        }
        if let Some(mut frozen) = frozen {
            frozen.reset();
            self.spare = Some(frozen);
        }
        self.open.reset();
        if let Some(recency) = &mut self.recency {
            recency.undo();
        }
        self.stream_time = self.committed_stream_time;
    }

    fn apply(&mut self, overlay: &Overlay) {
        self.committed_stream_time = self.committed_stream_time.max(overlay.stream_time);
        self.rows_time = self.rows_time.max(self.committed_stream_time);
        let cut = self.floor_at(self.committed_stream_time);
        for (row, version) in overlay.written() {
            if !is_below(row, cut) {
                self.write(row, version.borrowed());
            }
        }
        if let Some(cut) = cut {
            self.table.drop_below(cut);
        }
    }

    /// Writes a committed version. A deletion that meets nothing in the backend leaves no trace.
    pub(super) fn write(&mut self, row: &[u8], version: VersionRef<'_>) {
        let hash = hash(row);
        if version.value.is_none() && !self.backend_may_have(row) {
            self.table.remove(hash, row);
        } else {
            self.table.write(hash, row, version, self.flaw == Flaw::SavedReadStale);
        }
    }

    /// Applies a changelog record as a committed row; one that has expired is left out.
    ///
    /// # Errors
    /// When the key is none of this store's (D-166).
    pub fn restore(&mut self, key: &Bytes, value: Option<&Bytes>, timestamp: Timestamp) -> Result<()> {
        self.last = None;
        if let StoreKind::Versioned { .. } = self.spec.kind {
            self.restore_version(key, value, timestamp);
            return Ok(());
        }
        let kind = self.spec.kind;
        let row = kind.row_of(key).map_err(|fault| self.blame(fault.with_remedy(Remedy::Stop)))?;
        if value.is_none() && self.is_join() {
            // Nothing to delete, since each row has an id of its own; a null record did not move time either.
            return Ok(());
        }
        if let Some(recency) = &mut self.recency {
            recency.restored(row.clone(), value.is_some());
        }
        let time = self.time_of(&row, timestamp)?;
        self.rows_time = self.rows_time.max(time);
        if !self.time_is_known || self.flaw == Flaw::TimeOfRestoredRows {
            self.advance_stream_time(time);
        }
        let cut = self.floor_at(self.committed_stream_time);
        if !is_below(&row, cut) {
            let value = value.map(|value| &value[..]);
            if let Some((index, version)) = self.index_of(&row, value.is_some(), timestamp) {
                self.write(&index, version.borrowed());
            }
            self.write(&row, VersionRef { value, timestamp });
            if let Some(cut) = cut {
                self.table.drop_below(cut);
            }
        }
        Ok(())
    }

    /// Sets committed stream time to what the committed metadata says, which may lie above all rows (the highest one was
    /// made and deleted within one transaction, P-64) or, at least once, below some of them (they were written, but
    /// their input is not committed: it comes again, and must not meet a store that has moved on). A restore leaves it
    /// as it is from here on.
    pub fn set_stream_time(&mut self, time: Timestamp) {
        self.committed_stream_time = time;
        self.stream_time = time;
        self.time_is_known = true;
    }

    /// Lets committed stream time advance to that of restored rows or of the committed metadata. It never goes back.
    pub fn advance_stream_time(&mut self, time: Timestamp) {
        self.committed_stream_time = self.committed_stream_time.max(time);
        self.stream_time = self.stream_time.max(time);
    }

    /// The changelog offset up to which this store is known to be complete: where a restore goes on.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Sets the position during and after a restore. It never goes down.
    pub fn advance_position(&mut self, position: Offset) {
        self.position = self.position.max(position);
        self.note_floor();
    }
}
