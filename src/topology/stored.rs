//! The stores of tables: what a `Materialized` comes to, and views of the rows.

use super::{
    Materialized,
    assemble::Assembly,
    plan::{Plan, StoreDecl},
    serdes::Needed,
    table_link::TableLink,
    windowing::{SizedWindows, Windowing},
};
use crate::{
    codec::{Face, Serde},
    fault::{Fault, Result},
    operator::{
        EmitStrategy,
        getter::Getter,
        processing::StoreTypes,
        rows::{KeyRows, Rows},
        table_store::{TableStore, Updates},
    },
    state::{StoreKind, StoreSpec},
};
use std::{rc::Rc, sync::Arc};

/// Makes a running getter.
pub(crate) type GetterFactory<K, V> = Arc<dyn Fn(&mut Assembly<'_>) -> Result<Rc<dyn Getter<K, V>>> + Send + Sync>;

/// Rows of a table as a join sees them.
pub(crate) struct TableView<K, V> {
    /// Stores that the reader must be connected to.
    pub stores: Vec<Arc<str>>,
    /// Makes the getter.
    pub getter: GetterFactory<K, V>,
}

/// Gives the view of a table. Asking for it makes a source table keep its rows.
pub(crate) type ViewOf<K, V> = Rc<dyn Fn() -> TableView<K, V>>;

/// A table's store as the plan knows it.
#[derive(Clone)]
pub(crate) struct StoredTable {
    pub name: Arc<str>,
    spec: StoreSpec,
}

impl StoredTable {
    fn new<K, V>(plan: &mut Plan, materialized: &Materialized<K, V>, prefix: &str, kind: StoreKind) -> Self {
        let name: Arc<str> = match &materialized.name {
            Some(name) => {
                plan.check_name(name);
                plan.give(name);
                name.as_str().into()
            }
            None => plan.generate_store(prefix),
        };
        let spec = StoreSpec {
            name: name.clone(),
            kind,
            timestamped: true,
            logged: materialized.logged,
            changelog_config: materialized.changelog_config.clone(),
            cached: materialized.cached,
            persistent: materialized.persistent,
        };
        Self { name, spec }
    }

    /// A store of rows by key, or of their versions. The latter has no cache (P-60).
    pub fn key_value<K, V>(plan: &mut Plan, materialized: &Materialized<K, V>, prefix: &str) -> Self {
        match materialized.history_ms {
            None => Self::new(plan, materialized, prefix, StoreKind::KeyValue),
            Some(history_ms) => {
                let mut store = Self::new(plan, materialized, prefix, StoreKind::Versioned { history_ms });
                store.spec.cached = false;
                store
            }
        }
    }

    /// How far back its versions reach, in milliseconds.
    pub fn history_ms(&self) -> Option<i64> {
        match self.spec.kind {
            StoreKind::Versioned { history_ms } => Some(history_ms),
            _ => None,
        }
    }

    /// A store of rows by window and key. One that emits on close has no cache (D-144), but where windows are tumbling or
    /// hopping: there it leaves changelog records out, and nothing else.
    pub fn windowed<K, V>(
        plan: &mut Plan,
        materialized: &Materialized<K, V>,
        prefix: &str,
        windowing: Windowing,
        emit: EmitStrategy,
    ) -> Self {
        let needed = windowing.lifetime_ms();
        let retention_ms = materialized.retention_ms.unwrap_or(needed);
        let kind = windowing.store_kind(retention_ms, emit, materialized.persistent, materialized.cached);
        let mut store = Self::new(plan, materialized, prefix, kind);
        let fixed = matches!(windowing, Windowing::Sized(SizedWindows::Fixed(_)));
        store.spec.cached &= fixed || emit == EmitStrategy::OnWindowUpdate;
        if retention_ms < needed {
            plan.error(
                Fault::stop(format!("a retention of {retention_ms} ms is shorter than the windows need, {needed} ms"))
                    .at(format!("store {}", store.name))
                    .hint("keep windows at least that long (P-42)"),
            );
        }
        store
    }

    /// The shape of its rows.
    pub fn kind(&self) -> StoreKind {
        self.spec.kind
    }

    /// The declaration for the node that owns the store.
    pub fn decl(&self, table: &Arc<TableLink>) -> StoreDecl {
        StoreDecl { spec: self.spec.clone(), types: None, face: None, table: Some(table.clone()) }
    }

    /// The declaration for the node that owns the store, with the types for processors that connect to it too.
    pub fn typed_decl<K: 'static, V: 'static>(
        &self,
        table: &Arc<TableLink>,
        key: &Needed<K>,
        value: &Needed<V>,
    ) -> StoreDecl {
        let serdes = key.known().zip(value.known());
        let face = serdes.clone().map(|(key, value)| Face::new(key, value));
        let types = serdes.map(|(key, value)| Arc::new(StoreTypes { key, value }) as _);
        StoreDecl { types, face, ..self.decl(table) }
    }

    /// The running store with its children.
    pub fn updates<K: 'static, V: 'static, R: Rows<K>>(
        &self,
        asm: &mut Assembly<'_>,
        rows: R,
        values: Serde<V>,
        link: &TableLink,
    ) -> Result<Updates<K, V, R>> {
        let store = asm.store(&self.name)?;
        if self.spec.cached {
            asm.flush(store);
        }
        Ok(Updates {
            table: TableStore { store, rows, values },
            cached: self.spec.cached,
            sends_old: link.sends_old(),
            children: asm.children()?,
        })
    }

    /// Rows by a key of which `rows` makes row ids.
    pub fn view_by<K: 'static, V: 'static, R: Rows<K>>(
        &self,
        rows: impl Fn() -> Result<R> + Clone + Send + Sync + 'static,
        value: Needed<V>,
    ) -> ViewOf<K, V> {
        let name = self.name.clone();
        Rc::new(move || {
            let (name, rows, value) = (name.clone(), rows.clone(), value.clone());
            TableView {
                stores: vec![name.clone()],
                getter: Arc::new(move |asm: &mut Assembly<'_>| {
                    let table = TableStore { store: asm.store(&name)?, rows: rows()?, values: value.get()? };
                    Ok(Rc::new(table) as Rc<dyn Getter<K, V>>)
                }),
            }
        })
    }

    /// Rows by key.
    pub fn view<K: 'static, V: 'static>(&self, key: Needed<K>, value: Needed<V>) -> ViewOf<K, V> {
        self.view_by(move || Ok(KeyRows(key.get()?)), value)
    }

    /// Rows of a source table, which keeps them from now on.
    pub fn view_of_source<K: 'static, V: 'static>(
        &self,
        link: Arc<TableLink>,
        key: Needed<K>,
        value: Needed<V>,
    ) -> ViewOf<K, V> {
        let view = self.view(key, value);
        Rc::new(move || {
            link.need_rows();
            view()
        })
    }
}
