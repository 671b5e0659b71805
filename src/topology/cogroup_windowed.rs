//! Cogrouped streams in windows (D-33).

use super::{
    CogroupedKStream, KTable, Materialized,
    assemble::Factory,
    cogroup::{AGGREGATE, Initializer, Input, SessionMerger},
    stored::StoredTable,
    table_link::{TableKind, TableLink},
    windowing::{SizedWindows, WindowedTable, Windowing},
};
use crate::{
    operator::{EmitStrategy, SessionWindows},
    record::Windowed,
};
use std::sync::Arc;

impl<K: Clone + 'static, VA: Clone + 'static> CogroupedKStream<K, VA> {
    /// Adds a windowed aggregate of all streams, emitted on update; `node` makes the node of one from the name of its
    /// stream time.
    fn windowed_table(
        &self,
        windowing: Windowing,
        materialized: &Materialized<K, VA>,
        node: impl Fn(&dyn Input<K, VA>, &WindowedTable<K, VA>, String) -> Factory,
    ) -> KTable<Windowed<K>, VA> {
        let emit = EmitStrategy::OnWindowUpdate;
        let table = {
            let plan = &mut *self.plan.borrow_mut();
            let store = StoredTable::windowed(plan, materialized, AGGREGATE, windowing, emit);
            let key = plan.need(self.key_serde(materialized.key.as_ref()).as_ref(), "key", &store.name);
            let value = plan.need(materialized.value.as_ref(), "value", &store.name);
            WindowedTable {
                store,
                link: TableLink::new(TableKind::Aggregate, true),
                key,
                value,
                emit,
                emits_first: false,
            }
        };
        let serdes = (table.windowed_key(windowing), table.value.known());
        let (decl, link, view) =
            (table.store.typed_decl(&table.link, &table.key, &table.value), table.link.clone(), table.view(windowing));
        let time = |at: usize| format!("millstream.time.{}.{at}", table.store.name);
        let made = self.table(decl, link, &|input, at| node(input, &table, time(at)), serdes, view);
        self.plan.borrow_mut().nodes[made.node].grace_ms = Some(windowing.closes_after_ms());
        made
    }
}

/// Cogrouped streams in windows with a size: tumbling, hopping, unlimited or sliding. Results are emitted with each
/// update.
pub struct TimeWindowedCogroupedKStream<K, VA> {
    cogrouped: CogroupedKStream<K, VA>,
    windows: SizedWindows,
}

impl<K: 'static, VA: 'static> TimeWindowedCogroupedKStream<K, VA> {
    pub(super) fn new(cogrouped: CogroupedKStream<K, VA>, windows: SizedWindows) -> Self {
        if let Err(fault) = windows.check() {
            cogrouped.plan.borrow_mut().error(fault);
        }
        Self { cogrouped, windows }
    }

    /// Names the nodes of the aggregate that is called on the result, as [`CogroupedKStream::named`] does.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { cogrouped: self.cogrouped.named(name), windows: self.windows }
    }
}

impl<K: Clone + 'static, VA: Clone + 'static> TimeWindowedCogroupedKStream<K, VA> {
    /// Folds the records of all streams into one aggregate for each key and window.
    ///
    /// ```
    /// # use millstream::{operator::TimeWindows, topology::StreamsBuilder};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// let paid = builder.stream::<String, i64>("paid").group_by_key();
    /// let hourly = paid
    ///     .cogroup(|_, paid, sum: i64| Some(sum + paid.unwrap_or(&0)))
    ///     .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(3_600)))
    ///     .aggregate(|| 0);
    /// hourly.to_stream().to("paid-per-hour");
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate<I>(&self, initializer: I) -> KTable<Windowed<K>, VA>
    where
        I: Fn() -> VA + Send + Sync + 'static,
    {
        self.aggregate_with(initializer, Materialized::default())
    }

    /// Folds the records of all streams into one aggregate for each key and window, in the store that `materialized`
    /// describes.
    ///
    /// ```
    /// # use millstream::{operator::SlidingWindows, topology::{Materialized, StreamsBuilder}};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// # let paid = builder.stream::<String, i64>("paid").group_by_key();
    /// paid.cogroup(|_, paid, sum: i64| Some(sum + paid.unwrap_or(&0)))
    ///     .windowed_by(SlidingWindows::of_time_difference_with_no_grace(Duration::from_secs(60)))
    ///     .aggregate_with(|| 0, Materialized::as_store("paid-in-a-minute"));
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate_with<I>(&self, initializer: I, materialized: Materialized<K, VA>) -> KTable<Windowed<K>, VA>
    where
        I: Fn() -> VA + Send + Sync + 'static,
    {
        let (windows, initializer): (_, Initializer<VA>) = (self.windows, Arc::new(initializer));
        self.cogrouped.windowed_table(windows.into(), &materialized, |input, table, time| {
            input.sized_node(table, windows, initializer.clone(), time)
        })
    }
}

/// Cogrouped streams in sessions. Results are emitted with each update.
pub struct SessionWindowedCogroupedKStream<K, VA> {
    cogrouped: CogroupedKStream<K, VA>,
    windows: SessionWindows,
}

impl<K: 'static, VA: 'static> SessionWindowedCogroupedKStream<K, VA> {
    pub(super) fn new(cogrouped: CogroupedKStream<K, VA>, windows: SessionWindows) -> Self {
        if let Err(fault) = windows.check() {
            cogrouped.plan.borrow_mut().error(fault);
        }
        Self { cogrouped, windows }
    }

    /// Names the nodes of the aggregate that is called on the result, as [`CogroupedKStream::named`] does.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { cogrouped: self.cogrouped.named(name), windows: self.windows }
    }
}

impl<K: Clone + 'static, VA: Clone + 'static> SessionWindowedCogroupedKStream<K, VA> {
    /// Folds the records of all streams into one aggregate for each key and session; `merger` joins the aggregates of two
    /// sessions.
    ///
    /// ```
    /// # use millstream::{operator::SessionWindows, topology::StreamsBuilder};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// let paid = builder.stream::<String, i64>("paid").group_by_key();
    /// let visits = paid
    ///     .cogroup(|_, paid, sum: i64| Some(sum + paid.unwrap_or(&0)))
    ///     .windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(60)))
    ///     .aggregate(|| 0, |_, a, b| a + b);
    /// visits.to_stream().to("paid-per-visit");
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate<I, M>(&self, initializer: I, merger: M) -> KTable<Windowed<K>, VA>
    where
        I: Fn() -> VA + Send + Sync + 'static,
        M: Fn(&K, VA, VA) -> VA + Send + Sync + 'static,
    {
        self.aggregate_with(initializer, merger, Materialized::default())
    }

    /// Folds the records of all streams into one aggregate for each key and session, in the store that `materialized`
    /// describes.
    ///
    /// ```
    /// # use millstream::{operator::SessionWindows, topology::{Materialized, StreamsBuilder}};
    /// # use std::time::Duration;
    /// # let builder = StreamsBuilder::new();
    /// # let paid = builder.stream::<String, i64>("paid").group_by_key();
    /// paid.cogroup(|_, paid, sum: i64| Some(sum + paid.unwrap_or(&0)))
    ///     .windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(60)))
    ///     .aggregate_with(|| 0, |_, a, b| a + b, Materialized::as_store("paid-per-visit").in_memory());
    /// # builder.build().unwrap();
    /// ```
    pub fn aggregate_with<I, M>(
        &self,
        initializer: I,
        merger: M,
        materialized: Materialized<K, VA>,
    ) -> KTable<Windowed<K>, VA>
    where
        I: Fn() -> VA + Send + Sync + 'static,
        M: Fn(&K, VA, VA) -> VA + Send + Sync + 'static,
    {
        let (windows, initializer): (_, Initializer<VA>) = (self.windows, Arc::new(initializer));
        let merger: SessionMerger<K, VA> = Arc::new(merger);
        self.cogrouped.windowed_table(windows.into(), &materialized, |input, table, time| {
            input.session_node(table, windows, initializer.clone(), merger.clone(), time)
        })
    }
}
