//! Rows of a table as a join reads them, whether the table keeps them or computes them.

use super::{Context, rows::Rows, table_store::TableStore};
use crate::{
    fault::Result,
    record::Timestamp,
    state::{Row, StoreKind, VersionRow},
};
use std::{rc::Rc, sync::Arc};

/// Looks a row up.
pub(crate) trait Getter<K, V> {
    /// The row of `key` and its timestamp.
    fn get(&self, cx: &mut dyn Context, key: &K) -> Result<Option<(V, Timestamp)>>;

    /// The row of `key` as it was at `as_of`, where versions are kept; else the row as it is (D-94).
    fn get_as_of(&self, cx: &mut dyn Context, key: &K, _as_of: Timestamp) -> Result<Option<(V, Timestamp)>> {
        self.get(cx, key)
    }
}

impl<K: 'static, V: 'static, R: Rows<K>> Getter<K, V> for TableStore<V, R> {
    fn get(&self, cx: &mut dyn Context, key: &K) -> Result<Option<(V, Timestamp)>> {
        let row = self.rows.row(key)?;
        self.get_row(cx, &row)
    }

    fn get_as_of(&self, cx: &mut dyn Context, key: &K, as_of: Timestamp) -> Result<Option<(V, Timestamp)>> {
        let row = self.rows.row(key)?;
        match cx.store(self.store).spec().kind {
            StoreKind::Versioned { .. } => match cx.store(self.store).get_version(&row, Some(as_of))? {
                Some(VersionRow { value, timestamp, .. }) => {
                    Ok(Some((self.decode(cx, &Row { value: value.into(), timestamp })?, timestamp)))
                }
                None => Ok(None),
            },
            _ => self.get_row(cx, &row),
        }
    }
}

/// Rows of a filtered table that keeps none itself.
pub(crate) struct FilterGetter<K, V, F> {
    pub parent: Rc<dyn Getter<K, V>>,
    pub predicate: Arc<F>,
    pub keep: bool,
}

impl<K, V, F: Fn(&K, &V) -> bool> Getter<K, V> for FilterGetter<K, V, F> {
    fn get(&self, cx: &mut dyn Context, key: &K) -> Result<Option<(V, Timestamp)>> {
        Ok(self.parent.get(cx, key)?.filter(|(value, _)| (self.predicate)(key, value) == self.keep))
    }

    fn get_as_of(&self, cx: &mut dyn Context, key: &K, as_of: Timestamp) -> Result<Option<(V, Timestamp)>> {
        Ok(self.parent.get_as_of(cx, key, as_of)?.filter(|(value, _)| (self.predicate)(key, value) == self.keep))
    }
}

/// Rows of a mapped table that keeps none itself.
pub(crate) struct MapGetter<K, V, F> {
    pub parent: Rc<dyn Getter<K, V>>,
    pub mapper: Arc<F>,
}

impl<K, V, V2, F: Fn(&K, &V) -> Option<V2>> Getter<K, V2> for MapGetter<K, V, F> {
    fn get(&self, cx: &mut dyn Context, key: &K) -> Result<Option<(V2, Timestamp)>> {
        Ok(self.parent.get(cx, key)?.and_then(|(value, at)| (self.mapper)(key, &value).map(|v| (v, at))))
    }

    fn get_as_of(&self, cx: &mut dyn Context, key: &K, as_of: Timestamp) -> Result<Option<(V2, Timestamp)>> {
        let found = self.parent.get_as_of(cx, key, as_of)?;
        Ok(found.and_then(|(value, at)| (self.mapper)(key, &value).map(|v| (v, at))))
    }
}
