//! `TimeWindowedKStream`: records grouped by key and window, waiting to be aggregated.

use super::{KGroupedStream, KTable, Materialized, grouped::counting, windowing::SizedWindows};
use crate::{
    fault::Fault,
    operator::{
        EmitStrategy, FixedWindows,
        aggregate::{Aggregator, Reducer, Step},
    },
    record::Windowed,
};

/// Records grouped by key and window: tumbling, hopping (D-40), unlimited (D-42) or sliding (D-43).
///
/// Sliding windows drop records with a null value (D-62); in the others null values reach the aggregate (D-61).
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
    windows: SizedWindows,
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
        if materialized.name.is_none() && matches!(self.windows, SizedWindows::Fixed(_)) {
            // Kafka Streams burns a number here, though not for sliding windows.
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
        let windows = self.windows;
        self.grouped.windowed_table(windows.into(), self.emit, prefix, materialized, |table, time| {
            table.sized_node(windows, step, time)
        })
    }
}

impl<K: 'static, V: 'static> TimeWindowedKStream<K, V> {
    pub(super) fn new(grouped: KGroupedStream<K, V>, windows: SizedWindows) -> Self {
        if let Err(fault) = windows.check() {
            let plan = &mut *grouped.plan.borrow_mut();
            plan.error(fault);
        }
        Self { grouped, windows, emit: EmitStrategy::default() }
    }

    /// Says when the aggregate emits; the default is with each update. The build fails for results on close of
    /// [`UnlimitedWindows`](crate::operator::UnlimitedWindows), which never close (D-141).
    ///
    /// ```
    /// # use millstream::{operator::{EmitStrategy, SlidingWindows}, topology::StreamsBuilder};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// # let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// let windows = SlidingWindows::of_time_difference_with_no_grace(Duration::from_secs(60));
    /// clicks.windowed_by(windows).emit_strategy(EmitStrategy::on_window_close()).count().to_stream().to("final");
    /// # builder.build().unwrap();
    /// ```
    #[must_use]
    pub fn emit_strategy(&self, emit: EmitStrategy) -> Self {
        if emit == EmitStrategy::OnWindowClose
            && matches!(self.windows, SizedWindows::Fixed(FixedWindows::Unlimited(_)))
        {
            let fault = Fault::stop("unlimited windows never close, so there are no results on close");
            self.grouped.plan.borrow_mut().error(fault.hint("emit with each update, or choose other windows"));
        }
        Self { emit, ..self.clone() }
    }

    /// Names the node of the aggregate that is called on the result.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { grouped: self.grouped.named(name), ..self.clone() }
    }
}
