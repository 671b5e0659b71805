//! Rows of a table as a join reads them, whether the table keeps them or computes them.

use super::{Context, rows::Rows, table_store::TableStore};
use crate::{fault::Result, record::Timestamp};
use std::{rc::Rc, sync::Arc};

/// Looks a row up.
pub(crate) trait Getter<K, V> {
    /// The row of `key` and its timestamp.
    fn get(&self, cx: &mut dyn Context, key: &K) -> Result<Option<(V, Timestamp)>>;
}

impl<K: 'static, V: 'static, R: Rows<K>> Getter<K, V> for TableStore<V, R> {
    fn get(&self, cx: &mut dyn Context, key: &K) -> Result<Option<(V, Timestamp)>> {
        let row = self.rows.row(key)?;
        self.get_row(cx, &row)
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
}
