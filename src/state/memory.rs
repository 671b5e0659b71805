//! Rows in memory: the backend of stores that need no disk, and a simulated disk.

use super::{Backend, Batch, Saved};
use crate::fault::Result;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
    sync::{Mutex, MutexGuard, PoisonError},
};

#[derive(Debug, Default)]
struct Contents {
    rows: BTreeMap<Bytes, Bytes>,
    saved: Option<Saved>,
}

/// A backend in memory. Kept by somebody who outlives a worker, it plays the disk in simulations.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    contents: Mutex<Contents>,
    durable: bool,
}

impl MemoryBackend {
    /// An empty backend that says of itself that its rows don't survive the process.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty backend that says of itself that its rows survive the process: whoever makes it keeps that promise.
    pub fn simulated_disk() -> Self {
        Self { durable: true, ..Self::default() }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.lock().rows.len()
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // A batch is applied by code that can't panic, so a poisoned lock still guards whole batches.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for MemoryBackend {
    fn get(&self, row: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.lock().rows.get(row).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let contents = self.lock();
        let range =
            contents.rows.range::<[u8], _>((Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded)));
        let mut visit = |(id, stored): (&Bytes, &Bytes)| visit(id, stored);
        let _: ControlFlow<()> =
            if reverse { range.rev().try_for_each(&mut visit) } else { { range }.try_for_each(&mut visit) };
        Ok(())
    }

    fn persist(&self, batch: &Batch) -> Result<()> {
        let mut contents = self.lock();
        if let Some(cut) = &batch.expire_below {
            contents.rows = contents.rows.split_off(cut);
        }
        for (id, stored) in &batch.rows {
            match stored {
                Some(stored) => contents.rows.insert(id.clone().into(), stored.clone().into()),
                None => contents.rows.remove(&id[..]),
            };
        }
        if batch.saved.is_some() {
            contents.saved.clone_from(&batch.saved);
        }
        Ok(())
    }

    fn saved(&self) -> Result<Option<Saved>> {
        Ok(self.lock().saved.clone())
    }

    fn clear(&self) -> Result<()> {
        *self.lock() = Contents::default();
        Ok(())
    }

    fn durable(&self) -> bool {
        self.durable
    }
}
