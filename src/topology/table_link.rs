//! What a table's children need of it: its rows, and the old values of its changes. Decided before tasks are built.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// How a table comes by old values.
#[derive(Debug)]
pub(crate) enum TableKind {
    /// Read from a topic: a store is made when one is needed.
    Source,
    /// An aggregate: always has a store.
    Aggregate,
    /// Computed from another table, with or without a store.
    Derived(Arc<TableLink>),
    /// Joined from two others.
    Joined(Arc<TableLink>, Arc<TableLink>),
}

/// The needs of one table. Only DSL calls change it, before `build`.
#[derive(Debug)]
pub(crate) struct TableLink {
    kind: TableKind,
    stored: AtomicBool,
    sends_old: AtomicBool,
    /// How far back the versions in its own store reach, in milliseconds; unset where its parents say it (D-130).
    history_ms: OnceLock<Option<i64>>,
}

impl TableLink {
    /// A table that has a store from the start (`stored`) or not.
    pub fn new(kind: TableKind, stored: bool) -> Arc<Self> {
        Arc::new(Self {
            kind,
            stored: AtomicBool::new(stored),
            sends_old: AtomicBool::new(false),
            history_ms: OnceLock::new(),
        })
    }

    /// True when the table has a store.
    pub fn stored(&self) -> bool {
        self.stored.load(Relaxed)
    }

    /// True when changes carry the old value.
    pub fn sends_old(&self) -> bool {
        self.sends_old.load(Relaxed)
    }

    /// Its rows are kept with versions that reach so far back, in milliseconds, or without them.
    pub fn set_history(&self, history_ms: Option<i64>) {
        // A table has one store, so nobody says it twice.
        let _ = self.history_ms.set(history_ms);
    }

    /// How far back versions of its rows reach, in milliseconds.
    pub fn history_ms(&self) -> Option<i64> {
        match (self.history_ms.get(), &self.kind) {
            (Some(history_ms), _) => *history_ms,
            (None, TableKind::Derived(parent)) => parent.history_ms(),
            (None, _) => None,
        }
    }

    /// True when changes may be out of order, and say so (D-130).
    pub fn is_versioned(&self) -> bool {
        self.history_ms().is_some()
    }

    /// Old values come anyway.
    pub fn note_old(&self) {
        self.sends_old.store(true, Relaxed);
    }

    /// A child reads rows of it: a source table then keeps them.
    pub fn need_rows(&self) {
        if matches!(self.kind, TableKind::Source) {
            self.stored.store(true, Relaxed);
        }
    }

    /// A child wants old values. Unless `force` is set a source table that keeps no rows stays as it is.
    /// True when old values will come.
    pub fn need_old(&self, force: bool) -> bool {
        let sends = match &self.kind {
            TableKind::Source => {
                if force {
                    self.stored.store(true, Relaxed);
                }
                self.stored()
            }
            TableKind::Aggregate => true,
            TableKind::Derived(parent) => self.stored() || parent.need_old(force),
            // Old rows of a join come from old rows of both sides, whether it keeps rows itself or not.
            TableKind::Joined(this, other) => this.need_old(true) && other.need_old(true),
        };
        if sends {
            self.sends_old.store(true, Relaxed);
        }
        self.sends_old()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_values_come_from_the_nearest_store() {
        let source = TableLink::new(TableKind::Source, false);
        let derived = TableLink::new(TableKind::Derived(source.clone()), false);
        assert!(!derived.need_old(false) && !source.stored());
        source.need_rows();
        assert!(derived.need_old(false) && source.sends_old());
    }
}
