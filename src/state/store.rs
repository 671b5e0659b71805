//! One store of one task: overlay, table and backend behind one set of reads and writes.

use super::{
    Backend, Pending, Row, Saved, StoreSpec,
    flaw::Flaw,
    floors::Floors,
    keys::split_window_row,
    merge::Merge,
    overlay::{At, Overlay},
    recency::Recency,
    row::Version,
    table::{Table, is_below},
};
use crate::{
    fault::{Fault, Result},
    record::{Headers, NO_TIMESTAMP, Offset, RawRecord, SourceContext, Timestamp},
    state::StoreKind,
};
use bytes::Bytes;
use std::{
    cmp::Ordering,
    ops::{Bound, ControlFlow},
    sync::Arc,
};

/// Segments of the table that a window store's retention is cut into, at most.
const SEGMENTS: i64 = 16;

/// A row as a look-up found it. Good until the store changes.
pub(super) struct Found {
    at: At,
    seen: Version,
}

/// One store of one task.
///
/// Writes go to the overlay; [`Store::drain`] turns it into changelog records, [`Store::committed`] moves it to the
/// table, [`Store::discard`] forgets it. [`Store::freeze`] and [`Store::persisted`] move the table to the backend.
/// Reads look at the overlay, at the frozen overlay of a commit under way, at the table and at the backend, in this
/// order. Nothing reaches the backend before its transaction is committed (I1).
pub struct Store {
    pub(super) spec: StoreSpec,
    pub(super) backend: Arc<dyn Backend>,
    /// What the open transaction wrote.
    pub(super) open: Overlay,
    /// What the transaction wrote whose commit is under way.
    pub(super) frozen: Option<Overlay>,
    /// An empty overlay that keeps its memory for the next transaction.
    pub(super) spare: Option<Overlay>,
    pub(super) table: Table,
    /// The last row looked up: an aggregate writes the row that it has just read.
    pub(super) last: Option<Found>,
    pub(super) stream_time: Timestamp,
    pub(super) committed_stream_time: Timestamp,
    /// Greatest stream time of any committed row: above committed stream time when a restore found rows that at least
    /// once were written before a crash, but whose input is not committed.
    pub(super) rows_time: Timestamp,
    /// True when stream time came from the committed metadata and a restore must not move it.
    pub(super) time_is_known: bool,
    pub(super) position: Offset,
    pub(super) covered_at: Timestamp,
    /// What the backend says of it, and what the batch under way will say.
    pub(super) saved_covered_at: Option<Timestamp>,
    pub(super) saving_covered_at: Timestamp,
    /// Stream time of the newest rows that the backend may have; `None` while it has nothing.
    pub(super) backend_time: Option<Timestamp>,
    pub(super) persisting: bool,
    /// Where a restore may start, where rows expire.
    pub(super) floors: Option<Floors>,
    /// The order of use, where only so many rows are kept.
    pub(super) recency: Option<Box<Recency>>,
    pub(super) unsaved_since: Option<Timestamp>,
    pub(super) saving_since: Option<Timestamp>,
    /// 1 when each transaction leaves a marker in the changelog, 0 at least once.
    pub(super) marker: Offset,
    pub(super) flaw: Flaw,
}

impl Store {
    /// A store over `backend`, which holds what `saved` describes; `None` says that it is empty (what can't be used is
    /// to be cleared first). `deduplicate` writes one changelog record per dirty row and commit instead of one per write.
    pub fn new(spec: StoreSpec, backend: Arc<dyn Backend>, saved: Option<&Saved>, deduplicate: bool) -> Self {
        let interval = match spec.kind {
            StoreKind::Window { size_ms, retention_ms } => Some(size_ms.max(retention_ms / SEGMENTS)),
            StoreKind::Segmented(segmented) => Some(segmented.segment_ms),
            _ => None,
        };
        let recency = match spec.kind {
            StoreKind::Lru { entries_max } => Some(Box::new(Recency::new(entries_max))),
            _ => None,
        };
        // A suppress buffer logs once per commit whatever the others do.
        let each_write = !deduplicate && spec.kind != StoreKind::Buffer;
        let overlay = || match spec.kind {
            StoreKind::Versioned { .. } => Overlay::new(each_write).in_order_of_last_writes(),
            _ => Overlay::new(each_write),
        };
        let stream_time = saved.map_or(NO_TIMESTAMP, |saved| saved.stream_time);
        Self {
            open: overlay(),
            floors: Floors::of(spec.kind),
            frozen: None,
            spare: Some(overlay()),
            spec,
            backend,
            table: Table::new(interval),
            last: None,
            stream_time,
            committed_stream_time: stream_time,
            rows_time: stream_time,
            time_is_known: false,
            position: saved.map_or(0, |saved| saved.position),
            covered_at: saved.map_or(0, |saved| saved.covered_at),
            saved_covered_at: saved.map(|saved| saved.covered_at),
            saving_covered_at: 0,
            backend_time: saved.map(|saved| saved.stream_time),
            persisting: false,
            recency,
            unsaved_since: None,
            saving_since: None,
            marker: 1,
            flaw: Flaw::None,
        }
    }

    /// What the topology says of this store.
    pub fn spec(&self) -> &StoreSpec {
        &self.spec
    }

    /// Says whether a commit leaves a marker in the changelog: exactly once it does, at least once it doesn't (I2).
    pub fn count_markers(&mut self, markers: bool) {
        self.marker = Offset::from(markers);
    }

    /// Plants a bug, so that a test can prove that its checker sees it.
    pub fn plant(&mut self, flaw: Flaw) {
        self.flaw = flaw;
    }

    /// The row as the open transaction sees it. Expired rows are absent.
    ///
    /// # Errors
    /// When the backend fails, or holds bytes that no store wrote.
    pub fn get(&mut self, row: &[u8]) -> Result<Option<Row>> {
        if self.is_expired(row) {
            return Ok(None);
        }
        self.get_kept(row)
    }

    /// As [`Store::get`], for a row that may have expired for readers by key while its segment is still kept.
    pub(super) fn get_kept(&mut self, row: &[u8]) -> Result<Option<Row>> {
        let found = self.look_up(row)?;
        let version = found.seen.row();
        self.last = Some(found);
        Ok(version)
    }

    /// Finds a row in the tiers.
    fn look_up(&mut self, row: &[u8]) -> Result<Found> {
        let at = self.open.locate(row.into());
        let hash = at.hash;
        let seen = if let Some(place) = at.place {
            self.open.at(place).clone()
        } else if let Some(version) = self.frozen.as_ref().and_then(|frozen| frozen.get(hash, row)) {
            version.clone()
        } else if let Some(version) = self.table.get(hash, row) {
            version.to_version()
        } else if self.backend_may_have(row) {
            let found = match self.backend.get(row).map_err(|fault| self.blame(fault))? {
                Some(stored) => Some(Row::from_stored(&stored).map_err(|fault| self.blame(fault))?),
                None => None,
            };
            let version = Version::from(found);
            self.table.remember(hash, row, version.borrowed());
            version
        } else {
            Version::from(None)
        };
        Ok(Found { at, seen })
    }

    /// What the last look-up found, when it was for this row and nothing has changed since.
    fn recall(&mut self, row: &[u8]) -> Option<Found> {
        self.last.take().filter(|found| found.at.row[..] == *row)
    }

    /// Visits live rows with `from <= id < to` (`None`: open), merged over all tiers. Of a [`Segmented`](super::Segmented) store it visits
    /// whole segments: rows of its index too, and rows that have expired in a segment that is still kept.
    ///
    /// # Errors
    /// When the backend fails, or holds bytes that no store wrote.
    pub fn scan(
        &mut self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Row) -> ControlFlow<()>,
    ) -> Result<()> {
        let cut = self.floor().map_or([0; 8], Timestamp::to_be_bytes);
        let from = if self.is_window() { from.max(&cut[..]) } else { from };
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        self.open.sort();
        if let Some(frozen) = &mut self.frozen {
            frozen.sort();
        }
        self.table.sort(from, to);
        let mut memory = Merge::new(reverse);
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        for overlay in std::iter::once(&self.open).chain(&self.frozen) {
            let rows = overlay.sorted().range::<[u8], _>(bounds);
            memory.add(rows.map(|id| (id, overlay.version_of(id).borrowed())));
        }
        memory.add(self.table.range(from, to));

        let mut flow = ControlFlow::Continue(());
        if self.backend_may_have(from) {
            let mut failure = None;
            self.backend
                .scan(from, to, reverse, &mut |id, stored| {
                    flow = merge_backend_row(&mut memory, id, stored, visit).unwrap_or_else(|fault| {
                        failure = Some(fault);
                        ControlFlow::Break(())
                    });
                    flow
                })
                .map_err(|fault| self.blame(fault))?;
            if let Some(fault) = failure {
                return Err(self.blame(fault));
            }
        }
        if flow.is_continue() {
            let _: ControlFlow<()> = memory.try_for_each(|(id, version)| match version.row() {
                Some(row) => visit(id, row),
                None => ControlFlow::Continue(()),
            });
        }
        Ok(())
    }

    /// Writes a row; `None` deletes it. False when the row has expired (P-40, P-41): it can't be read, but the write is
    /// logged all the same, as Kafka Streams does it.
    ///
    /// # Errors
    /// When the row id of a store that expires does not say a time of 0 or more.
    pub fn put(&mut self, row: Bytes, value: Option<Bytes>, timestamp: Timestamp) -> Result<bool> {
        self.make_room(&row, value.is_some(), timestamp);
        let live = self.observe(&row, timestamp)?;
        let found = self.recall(&row);
        if let Some((index, version)) = self.index_of(&row, value.is_some(), timestamp) {
            let at = self.open.locate(index.into());
            self.open.put(at, version);
        }
        let at = found.map_or_else(|| self.open.locate(row.into()), |found| found.at);
        self.open.put(at, Version { value: value.map(Into::into), timestamp });
        Ok(live)
    }

    /// Writes a row past all rules, as it is.
    pub(super) fn write_open(&mut self, row: Bytes, version: Version) {
        self.last = None;
        let at = self.open.locate(row.into());
        self.open.put(at, version);
    }

    /// Writes a row and holds its forward back until the next flush (P-62). False when the row has expired; it is
    /// logged and forwarded all the same.
    ///
    /// # Errors
    /// As [`Store::put`], and when the row as it was before can't be read.
    ///
    /// # Panics
    /// When the store keeps an index: results on close are not cached (D-144).
    pub fn put_cached(
        &mut self,
        row: Bytes,
        value: Option<Bytes>,
        timestamp: Timestamp,
        headers: &Headers,
        source: Option<&SourceContext>,
    ) -> Result<bool> {
        let live = self.observe(&row, timestamp)?;
        assert!(self.index_of(&row, true, timestamp).is_none(), "a store with an index has no cache");
        let found = match self.recall(&row) {
            Some(found) => found,
            None => self.look_up(&row)?,
        };
        let known = found.at.place.is_some_and(|place| self.open.holds(place)) || self.is_expired(&row);
        let old = (!known && found.seen.value.is_some()).then_some(found.seen);
        let version = Version { value: value.map(Into::into), timestamp };
        self.open.put_held(found.at, version, old, headers, source);
        Ok(live)
    }

    /// Takes the updates held back since the last flush, in the order of their last update; a row made and deleted
    /// in between is left out (P-64). Must be called before [`Store::drain`].
    pub fn take_pending(&mut self) -> Vec<Pending> {
        self.last = None;
        self.open.take_held(false)
    }

    /// Keeps the input record of the update of `row` that [`Store::put_cached`] has just held back.
    pub fn hold_input(&mut self, row: &[u8], input: Arc<RawRecord>) {
        self.open.hold_input(row, input);
    }

    /// As [`Store::take_pending`], where nobody is told of the updates: each of them is written, also a row that was made
    /// and deleted in between.
    pub fn write_pending(&mut self) {
        self.last = None;
        self.open.take_held(true);
    }

    /// Bytes of updates held back.
    pub fn pending_bytes(&self) -> usize {
        self.open.held_bytes()
    }

    /// Stream time of the store: its greatest window start for a window store, its greatest session end for a session
    /// store, else the greatest timestamp of any row; -1 before the first row.
    pub fn stream_time(&self) -> Timestamp {
        self.stream_time
    }

    /// Bytes in the overlays.
    pub fn overlay_bytes(&self) -> usize {
        self.open.bytes() + self.frozen.as_ref().map_or(0, Overlay::bytes)
    }

    /// True when the open transaction wrote something.
    pub fn is_dirty(&self) -> bool {
        !self.open.is_empty()
    }

    /// The backend, for a persist on another thread.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub(super) fn is_window(&self) -> bool {
        self.spec.retention_ms().is_some()
    }

    /// Rows of an earlier time have expired for readers: stream time - retention + 1 (P-40, P-41).
    pub(super) fn cut(&self) -> Option<Timestamp> {
        let readable_ms = match self.spec.kind {
            StoreKind::Segmented(segmented) => segmented.readable_ms(),
            _ => self.spec.retention_ms()?,
        };
        let cut = self.stream_time.saturating_sub(readable_ms).saturating_add(1);
        (cut > 0).then_some(cut)
    }

    /// Row ids whose first eight bytes are below this are not kept.
    pub(super) fn floor(&self) -> Option<Timestamp> {
        self.floor_at(self.stream_time)
    }

    /// The floor for a given stream time; `None` when everything is kept.
    pub(super) fn floor_at(&self, stream_time: Timestamp) -> Option<Timestamp> {
        let floor = match self.spec.kind {
            StoreKind::Window { retention_ms, .. } => stream_time.saturating_sub(retention_ms).saturating_add(1),
            StoreKind::Segmented(segmented) => segmented.floor(stream_time),
            _ => return None,
        };
        (floor > 0).then_some(floor)
    }

    /// True when readers by row id don't see the row any more.
    fn is_expired(&self, row: &[u8]) -> bool {
        match self.spec.kind {
            StoreKind::Segmented(segmented) => {
                segmented.moment(row).zip(self.cut()).is_some_and(|(moment, cut)| moment < cut)
            }
            _ => is_below(row, self.cut()),
        }
    }

    /// Lets stream time advance by a write to `row`. False when the row has expired.
    pub(super) fn observe(&mut self, row: &[u8], timestamp: Timestamp) -> Result<bool> {
        let time = self.time_of(row, timestamp)?;
        if let Some(retention_ms) = self.spec.retention_ms()
            && time <= self.stream_time.saturating_sub(retention_ms)
        {
            return Ok(false);
        }
        self.stream_time = self.stream_time.max(time);
        Ok(true)
    }

    /// What a row says about stream time.
    pub(super) fn time_of(&self, row: &[u8], timestamp: Timestamp) -> Result<Timestamp> {
        let time = match self.spec.kind {
            StoreKind::Window { .. } => split_window_row(row).map(|(start, _)| start),
            StoreKind::Segmented(segmented) => segmented.moment(row),
            _ => return Ok(timestamp),
        };
        match time {
            Some(time) if time >= 0 => Ok(time),
            _ => Err(self.blame(Fault::stop("a windowed row id has no time, or one before 1970"))),
        }
    }

    /// False when the backend can't have the row (for a window store: no row at or after it).
    pub(super) fn backend_may_have(&self, row: &[u8]) -> bool {
        match (self.backend_time, split_window_row(row)) {
            (None, _) => false,
            (Some(time), Some((start, _))) if self.is_window() => start <= time,
            _ => true,
        }
    }

    pub(super) fn blame(&self, fault: Fault) -> Fault {
        if fault.place().is_empty() { fault.at(format!("store {}", self.spec.name)) } else { fault }
    }
}

/// Visits the rows of memory that come before a row of the backend, and then the row itself unless memory has it.
fn merge_backend_row(
    memory: &mut Merge<'_>,
    id: &[u8],
    stored: &[u8],
    visit: &mut dyn FnMut(&[u8], Row) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    while let Some(next) = memory.peek() {
        let order = memory.order(next, id);
        if order == Ordering::Greater {
            break;
        }
        if let Some((next, version)) = memory.next()
            && let Some(row) = version.row()
            && visit(next, row).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        if order == Ordering::Equal {
            return Ok(ControlFlow::Continue(()));
        }
    }
    Ok(visit(id, Row::from_stored(stored)?))
}
