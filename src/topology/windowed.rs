//! `TimeWindowedKStream`: records grouped by key and time window.

use super::{
    KGroupedStream, KTable, Materialized,
    assemble::{Assembly, Built},
    grouped::counting,
    plan::ProcessorPlan,
    stored::StoredTable,
    table_link::{TableKind, TableLink},
};
use crate::{
    operator::{
        EmitStrategy, TimeWindows,
        aggregate::{Aggregator, Reducer, Step},
        rows::WindowRows,
        table_store::Updates,
        window_aggregate::WindowAggregate,
    },
    record::Windowed,
};
use std::{marker::PhantomData, sync::Arc};

/// Records grouped by key and time window.
///
/// ```
/// # use millstream::topology::StreamsBuilder;
/// use millstream::operator::{EmitStrategy, TimeWindows};
/// use std::time::Duration;
/// # let builder = StreamsBuilder::new();
/// let hourly = TimeWindows::of_size_and_grace(Duration::from_secs(3600), Duration::from_secs(60));
/// builder
///     .stream::<String, String>("departures")
///     .group_by_key()
///     .windowed_by(hourly)
///     .emit_strategy(EmitStrategy::on_window_close())
///     .count()
///     .to_stream()
///     .to("departures-per-hour");
/// ```
pub struct TimeWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: TimeWindows,
    emit: EmitStrategy,
}

impl<K, V> Clone for TimeWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        Self { grouped: self.grouped.clone(), windows: self.windows, emit: self.emit }
    }
}

impl<K: Clone + 'static, V: 'static> TimeWindowedKStream<K, V> {
    /// Counts the records of each key and window, records with a null value included (D-61).
    pub fn count(&self) -> KTable<Windowed<K>, i64> {
        self.aggregate_step(counting(), "KSTREAM-AGGREGATE-", Materialized::default())
    }

    /// Counts the records of each key and window, into the store that `materialized` describes.
    pub fn count_with(&self, materialized: Materialized<K, i64>) -> KTable<Windowed<K>, i64> {
        if materialized.name.is_none() {
            // Kafka Streams burns a number here.
            self.grouped.plan.borrow_mut().generate_store("KSTREAM-AGGREGATE-");
        }
        self.aggregate_step(counting(), "KSTREAM-AGGREGATE-", materialized)
    }

    /// Combines the values of each key and window; the first one is taken as it is.
    pub fn reduce<F>(&self, reducer: F) -> KTable<Windowed<K>, V>
    where
        V: Clone,
        F: Fn(V, Option<&V>) -> Option<V> + Send + Sync + 'static,
    {
        self.reduce_with(reducer, Materialized::default())
    }

    /// Combines the values of each key and window, into the store that `materialized` describes.
    pub fn reduce_with<F>(&self, reducer: F, materialized: Materialized<K, V>) -> KTable<Windowed<K>, V>
    where
        V: Clone,
        F: Fn(V, Option<&V>) -> Option<V> + Send + Sync + 'static,
    {
        let value = materialized.value.or_else(|| self.grouped.value.clone());
        self.aggregate_step(Reducer { reducer }, "KSTREAM-REDUCE-", Materialized { value, ..materialized })
    }

    /// Folds the values of each key and window into an aggregate; `None` from the aggregator deletes it. Null values
    /// reach the aggregator (D-61).
    pub fn aggregate<VA, I, F>(&self, initializer: I, aggregator: F) -> KTable<Windowed<K>, VA>
    where
        VA: Clone + 'static,
        I: Fn() -> VA + Send + Sync + 'static,
        F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
    {
        self.aggregate_with(initializer, aggregator, Materialized::default())
    }

    /// Folds the values of each key and window into an aggregate, in the store that `materialized` describes.
    pub fn aggregate_with<VA, I, F>(
        &self,
        initializer: I,
        aggregator: F,
        materialized: Materialized<K, VA>,
    ) -> KTable<Windowed<K>, VA>
    where
        VA: Clone + 'static,
        I: Fn() -> VA + Send + Sync + 'static,
        F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
    {
        self.aggregate_step(Aggregator { initializer, aggregator }, "KSTREAM-AGGREGATE-", materialized)
    }

    fn aggregate_step<VA, S>(&self, step: S, prefix: &str, materialized: Materialized<K, VA>) -> KTable<Windowed<K>, VA>
    where
        VA: Clone + 'static,
        S: Step<K, V, VA>,
    {
        let (windows, emit) = (self.windows, self.emit);
        let (store, name, key, value) = {
            let plan = &mut *self.grouped.plan.borrow_mut();
            let store = StoredTable::window(plan, &materialized, prefix, windows, emit);
            let name = plan.name(self.grouped.next_name.as_deref(), prefix);
            let key = plan.need(materialized.key.as_ref().or(self.grouped.key.as_ref()), "key", &name);
            let value = plan.need(materialized.value.as_ref(), "value", &name);
            (store, name, key, value)
        };
        let link = TableLink::new(TableKind::Aggregate, true);
        let step = Arc::new(step);
        let size_ms = windows.size_ms();
        let processor = {
            let (store, link, key, value) = (store.clone(), link.clone(), key.clone(), value.clone());
            ProcessorPlan {
                name,
                stores: vec![store.decl(&link)],
                connected: Vec::new(),
                factory: Arc::new(move |asm: &mut Assembly<'_>| {
                    let rows = WindowRows { key: key.get()?, size_ms };
                    let updates: Updates<Windowed<K>, VA, WindowRows<K>> =
                        store.updates(asm, rows, value.get()?, &link)?;
                    let emitted = (emit == EmitStrategy::OnWindowClose).then(|| asm.time(store.name.clone()));
                    let stream_time = asm.time(format!("millstream.time.{}", store.name));
                    Ok(Built::node::<K, V, _>(WindowAggregate {
                        windows,
                        step: step.clone(),
                        updates,
                        stream_time,
                        emitted,
                        takes: PhantomData,
                    }))
                }),
            }
        };
        let view = store.view_windowed(key.clone(), value.clone(), size_ms);
        let windowed = key.known().map(|key| crate::codec::serdes::windowed(key, size_ms));
        self.grouped.table(processor, &store.name, link, windowed, value.known(), view)
    }
}

impl<K: 'static, V: 'static> TimeWindowedKStream<K, V> {
    pub(super) fn new(grouped: KGroupedStream<K, V>, windows: TimeWindows) -> Self {
        if let Err(fault) = windows.check() {
            let plan = &mut *grouped.plan.borrow_mut();
            plan.error(fault);
        }
        Self { grouped, windows, emit: EmitStrategy::default() }
    }

    /// Says when the aggregate emits; the default is with each update.
    #[must_use]
    pub fn emit_strategy(&self, emit: EmitStrategy) -> Self {
        Self { emit, ..self.clone() }
    }

    /// Names the node of the aggregate that is called on the result.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { grouped: self.grouped.named(name), ..self.clone() }
    }
}
