//! `SessionWindowedKStream`: records grouped by key and session, waiting to be aggregated.

use super::{KGroupedStream, KTable, Materialized};
use crate::{
    operator::{
        EmitStrategy, SessionWindows,
        aggregate::{Aggregator, Reducer},
        session_aggregate::{Merger, Merging},
    },
    record::Windowed,
};

/// Records grouped by key and session (D-47, D-122).
///
/// Each record makes a session of its own and joins the sessions within the gap: these are deleted from the result, and
/// the joined one follows, at the time of its end. A record is late when the session it would end up in ended before
/// stream time less gap and grace; one that still touches a live session is not (D-56). Null keys are dropped, null
/// values reach the aggregate (D-61).
///
/// With its record cache on, the store finds sessions for one gap longer than it must, as Kafka Streams' cache does: a
/// late record then joins a session that the store below has expired. The joined session replaces it in the result;
/// Kafka Streams leaves the old one there.
///
/// ```
/// # use millstream::topology::StreamsBuilder;
/// use millstream::operator::{EmitStrategy, SessionWindows};
/// use std::time::Duration;
/// # let builder = StreamsBuilder::new();
/// let visits = SessionWindows::of_inactivity_gap_and_grace(Duration::from_secs(1_800), Duration::from_secs(60));
/// builder
///     .stream::<String, String>("clicks")
///     .group_by_key()
///     .windowed_by(visits)
///     .emit_strategy(EmitStrategy::on_window_close())
///     .count()
///     .to_stream()
///     .to("clicks-per-visit");
/// # builder.build().unwrap();
/// ```
pub struct SessionWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: SessionWindows,
    emit: EmitStrategy,
}

impl<K, V> Clone for SessionWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        Self { grouped: self.grouped.clone(), windows: self.windows, emit: self.emit }
    }
}

impl<K: 'static, V: 'static> SessionWindowedKStream<K, V> {
    pub(super) fn new(grouped: KGroupedStream<K, V>, windows: SessionWindows) -> Self {
        if let Err(fault) = windows.check() {
            grouped.plan.borrow_mut().error(fault);
        }
        Self { grouped, windows, emit: EmitStrategy::default() }
    }

    /// Says when the aggregate emits; the default is with each update. On close a session is emitted once stream time is
    /// past its end by more than gap and grace (D-142).
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

fn counter<K: 'static, V: 'static>() -> impl Merging<K, V, i64> {
    let aggregator = |_: &K, _: Option<&V>, count: i64| Some(count.wrapping_add(1));
    Merger { step: Aggregator { initializer: || 0, aggregator }, merger: |_: &K, a: i64, b: i64| a.wrapping_add(b) }
}

impl<K: Clone + 'static, V: 'static> SessionWindowedKStream<K, V> {
    /// Counts the records of each key and session, records with a null value included (D-61).
    ///
    /// ```
    /// # use millstream::{operator::SessionWindows, topology::StreamsBuilder};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// # let visits = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(1_800));
    /// # let clicks = builder.stream::<String, String>("clicks").group_by_key().windowed_by(visits);
    /// clicks.count().to_stream().to("clicks-per-visit");
    /// # builder.build().unwrap();
    /// ```
    pub fn count(&self) -> KTable<Windowed<K>, i64> {
        self.aggregate_step(counter(), "KSTREAM-AGGREGATE-", Materialized::default())
    }

    /// Counts the records of each key and session, into the store that `materialized` describes.
    ///
    /// ```
    /// # use millstream::{operator::SessionWindows, topology::{Materialized, StreamsBuilder}};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// # let visits = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(1_800));
    /// # let clicks = builder.stream::<String, String>("clicks").group_by_key().windowed_by(visits);
    /// clicks.count_with(Materialized::as_store("clicks-per-visit").in_memory());
    /// # builder.build().unwrap();
    /// ```
    pub fn count_with(&self, materialized: Materialized<K, i64>) -> KTable<Windowed<K>, i64> {
        if materialized.name.is_none() {
            // Kafka Streams burns a number here.
            self.grouped.plan.borrow_mut().generate_store("KSTREAM-AGGREGATE-");
        }
        self.aggregate_step(counter(), "KSTREAM-AGGREGATE-", materialized)
    }

    /// Combines the values of each key and session; the first one is taken as it is. The reducer joins sessions too.
    ///
    /// ```
    /// # use millstream::{operator::SessionWindows, topology::StreamsBuilder};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// # let visits = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(1_800));
    /// let spent = builder.stream::<String, i64>("spent").group_by_key().windowed_by(visits);
    /// spent.reduce(|sum, next| Some(sum + next.unwrap_or(&0))).to_stream().to("spent-per-visit");
    /// # builder.build().unwrap();
    /// ```
    pub fn reduce<F>(&self, reducer: F) -> KTable<Windowed<K>, V>
    where
        V: Clone,
        F: Fn(V, Option<&V>) -> Option<V> + Send + Sync + 'static,
    {
        self.reduce_with(reducer, Materialized::default())
    }

    /// Combines the values of each key and session, into the store that `materialized` describes.
    ///
    /// ```
    /// # use millstream::{operator::SessionWindows, topology::{Materialized, StreamsBuilder}};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// # let visits = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(1_800));
    /// let spent = builder.stream::<String, i64>("spent").group_by_key().windowed_by(visits);
    /// spent.reduce_with(|a, b| Some(a.max(*b.unwrap_or(&0))), Materialized::as_store("dearest"));
    /// # builder.build().unwrap();
    /// ```
    pub fn reduce_with<F>(&self, reducer: F, materialized: Materialized<K, V>) -> KTable<Windowed<K>, V>
    where
        V: Clone,
        F: Fn(V, Option<&V>) -> Option<V> + Send + Sync + 'static,
    {
        let value = materialized.value.or_else(|| self.grouped.value.clone());
        let step = Merger { step: Reducer { reducer }, merger: () };
        self.aggregate_step(step, "KSTREAM-REDUCE-", Materialized { value, ..materialized })
    }

    /// Folds the values of each key and session into an aggregate; `None` from the aggregator deletes the session. The
    /// merger joins the aggregates of two sessions; it is called first, with the initial aggregate, and the aggregator
    /// with the record's value last (D-122).
    ///
    /// ```
    /// # use millstream::{operator::SessionWindows, topology::StreamsBuilder};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// # let visits = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(1_800));
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key().windowed_by(visits);
    /// let longest = clicks.aggregate(|| 0, |_, page, n: i64| Some(n.max(page.map_or(0, |p| p.len() as i64))), |_, a, b| a.max(b));
    /// longest.to_stream().to("longest-page-name-per-visit");
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate<VA, I, F, M>(&self, initializer: I, aggregator: F, merger: M) -> KTable<Windowed<K>, VA>
    where
        VA: Clone + 'static,
        I: Fn() -> VA + Send + Sync + 'static,
        F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
        M: Fn(&K, VA, VA) -> VA + Send + Sync + 'static,
    {
        self.aggregate_with(initializer, aggregator, merger, Materialized::default())
    }

    /// Folds the values of each key and session into an aggregate, in the store that `materialized` describes.
    ///
    /// ```
    /// # use millstream::{operator::SessionWindows, topology::{Materialized, StreamsBuilder}};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// # let visits = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(1_800));
    /// let spent = builder.stream::<String, i64>("spent").group_by_key().windowed_by(visits);
    /// let store = Materialized::as_store("spent-per-visit").with_caching_disabled();
    /// spent.aggregate_with(|| 0, |_, next, sum: i64| Some(sum + next.unwrap_or(&0)), |_, a, b| a + b, store);
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate_with<VA, I, F, M>(
        &self,
        initializer: I,
        aggregator: F,
        merger: M,
        materialized: Materialized<K, VA>,
    ) -> KTable<Windowed<K>, VA>
    where
        VA: Clone + 'static,
        I: Fn() -> VA + Send + Sync + 'static,
        F: Fn(&K, Option<&V>, VA) -> Option<VA> + Send + Sync + 'static,
        M: Fn(&K, VA, VA) -> VA + Send + Sync + 'static,
    {
        let step = Merger { step: Aggregator { initializer, aggregator }, merger };
        self.aggregate_step(step, "KSTREAM-AGGREGATE-", materialized)
    }

    fn aggregate_step<VA, S>(&self, step: S, prefix: &str, materialized: Materialized<K, VA>) -> KTable<Windowed<K>, VA>
    where
        VA: Clone + 'static,
        S: Merging<K, V, VA>,
    {
        let windows = self.windows;
        self.grouped.windowed_table(windows.into(), self.emit, prefix, materialized, |table, time| {
            table.session_node(windows, step, time)
        })
    }
}
