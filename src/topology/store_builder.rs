//! Stores for processors.

use crate::{
    codec::Serde,
    operator::processing::StoreTypes,
    state::{StoreKind, StoreSpec},
};
use std::{any::Any, collections::BTreeMap, sync::Arc};

/// A store for processors, to be added with [`StreamsBuilder::add_state_store`](super::StreamsBuilder::add_state_store).
pub struct StoreBuilder<K, V> {
    spec: StoreSpec,
    types: StoreTypes<K, V>,
}

impl<K: 'static, V: 'static> StoreBuilder<K, V> {
    /// A key-value store with a changelog.
    pub fn key_value(name: impl Into<String>, key: Serde<K>, value: Serde<V>) -> Self {
        let spec = StoreSpec {
            name: name.into().into(),
            kind: StoreKind::KeyValue,
            timestamped: false,
            logged: true,
            changelog_config: BTreeMap::new(),
            cached: false,
            persistent: true,
        };
        Self { spec, types: StoreTypes { key, value } }
    }

    /// Keeps the rows in memory only; they are restored from the changelog at each start.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.spec.persistent = false;
        self
    }

    /// Writes a changelog topic with these settings over the defaults.
    #[must_use]
    pub fn with_logging_enabled<S: Into<String>>(mut self, config: impl IntoIterator<Item = (S, S)>) -> Self {
        self.spec.logged = true;
        self.spec.changelog_config = config.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        self
    }

    /// Writes no changelog: the rows are lost with the disk.
    #[must_use]
    pub fn with_logging_disabled(mut self) -> Self {
        self.spec.logged = false;
        self
    }

    pub(super) fn into_parts(self) -> (StoreSpec, Arc<dyn Any + Send + Sync>) {
        (self.spec, Arc::new(self.types))
    }
}
