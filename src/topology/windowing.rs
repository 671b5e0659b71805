//! What kinds of windows mean for a windowed aggregate: its store, its node, and the view of its rows.

use super::{
    KGroupedStream, SessionWindowedKStream, TimeWindowedKStream,
    assemble::{Assembly, Built, Factory},
    cogroup::CogroupedKStream,
    cogroup_windowed::{SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream},
    serdes::Needed,
    stored::{StoredTable, TableView, ViewOf},
    table_link::TableLink,
};
use crate::{
    codec::{Serde, serdes},
    fault::Result,
    operator::{
        EmitStrategy, FixedWindows, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows,
        aggregate::Step,
        getter::Getter,
        rows::{SegmentedRows, WindowRows},
        session_aggregate::{Merging, SessionAggregate, SessionGetter},
        sliding_aggregate::SlidingAggregate,
        table_store::TableStore,
        window_aggregate::WindowAggregate,
    },
    record::Windowed,
    state::{Moments, Segmented, StoreKind},
};
use std::{marker::PhantomData, rc::Rc, sync::Arc};

/// Windows that records can be grouped by: [`TimeWindows`], [`UnlimitedWindows`] and [`SlidingWindows`] have a size,
/// [`SessionWindows`] have not.
pub trait Windows: Copy + sealed::Sealed {
    /// A grouped stream in these windows.
    type Stream<K: 'static, V: 'static>;
    /// A cogrouped stream in these windows.
    type Cogrouped<K: 'static, VA: 'static>;

    /// Puts the records of a grouped stream into windows.
    #[doc(hidden)]
    fn of_stream<K: 'static, V: 'static>(self, grouped: KGroupedStream<K, V>) -> Self::Stream<K, V>;

    /// Puts the records of a cogrouped stream into windows.
    #[doc(hidden)]
    fn of_cogrouped<K: 'static, VA: 'static>(self, cogrouped: CogroupedKStream<K, VA>) -> Self::Cogrouped<K, VA>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! with_a_size {
    ($windows:ty, $made:expr) => {
        impl sealed::Sealed for $windows {}

        impl Windows for $windows {
            type Stream<K: 'static, V: 'static> = TimeWindowedKStream<K, V>;
            type Cogrouped<K: 'static, VA: 'static> = TimeWindowedCogroupedKStream<K, VA>;

            fn of_stream<K: 'static, V: 'static>(self, grouped: KGroupedStream<K, V>) -> TimeWindowedKStream<K, V> {
                TimeWindowedKStream::new(grouped, $made(self))
            }

            fn of_cogrouped<K: 'static, VA: 'static>(
                self,
                cogrouped: CogroupedKStream<K, VA>,
            ) -> TimeWindowedCogroupedKStream<K, VA> {
                TimeWindowedCogroupedKStream::new(cogrouped, $made(self))
            }
        }
    };
}

with_a_size!(TimeWindows, |windows| SizedWindows::Fixed(FixedWindows::Time(windows)));
with_a_size!(UnlimitedWindows, |windows| SizedWindows::Fixed(FixedWindows::Unlimited(windows)));
with_a_size!(SlidingWindows, SizedWindows::Sliding);

impl sealed::Sealed for SessionWindows {}

impl Windows for SessionWindows {
    type Stream<K: 'static, V: 'static> = SessionWindowedKStream<K, V>;
    type Cogrouped<K: 'static, VA: 'static> = SessionWindowedCogroupedKStream<K, VA>;

    fn of_stream<K: 'static, V: 'static>(self, grouped: KGroupedStream<K, V>) -> SessionWindowedKStream<K, V> {
        SessionWindowedKStream::new(grouped, self)
    }

    fn of_cogrouped<K: 'static, VA: 'static>(
        self,
        cogrouped: CogroupedKStream<K, VA>,
    ) -> SessionWindowedCogroupedKStream<K, VA> {
        SessionWindowedCogroupedKStream::new(cogrouped, self)
    }
}

/// Windows whose start says their end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SizedWindows {
    Fixed(FixedWindows),
    Sliding(SlidingWindows),
}

impl SizedWindows {
    /// Refuses windows that make no sense.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Fixed(windows) => windows.check(),
            Self::Sliding(_) => Ok(()),
        }
    }
}

/// Any windows, as a store must know them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Windowing {
    Sized(SizedWindows),
    Session(SessionWindows),
}

impl From<SizedWindows> for Windowing {
    fn from(windows: SizedWindows) -> Self {
        Self::Sized(windows)
    }
}

impl From<SessionWindows> for Windowing {
    fn from(windows: SessionWindows) -> Self {
        Self::Session(windows)
    }
}

impl Windowing {
    /// The least retention, which is the default too (P-42).
    pub fn lifetime_ms(self) -> i64 {
        match self {
            Self::Sized(SizedWindows::Fixed(windows)) => windows.lifetime_ms(),
            Self::Sized(SizedWindows::Sliding(windows)) => windows.lifetime_ms(),
            Self::Session(windows) => windows.lifetime_ms(),
        }
    }

    /// How long after the end of a window its result is final, in milliseconds (D-146).
    pub fn closes_after_ms(self) -> i64 {
        match self {
            Self::Sized(SizedWindows::Fixed(windows)) => windows.grace_ms(),
            Self::Sized(SizedWindows::Sliding(windows)) => windows.grace_ms(),
            Self::Session(windows) => windows.grace_ms().saturating_add(windows.gap_ms()),
        }
    }

    /// Shape of the rows of a store for these windows.
    pub fn store_kind(self, retention_ms: i64, emit: EmitStrategy, persistent: bool, cached: bool) -> StoreKind {
        let on_close = emit == EmitStrategy::OnWindowClose;
        // What a late record can touch lies this much further back than the retention. Without its record cache Kafka
        // Streams does not find it any more.
        let slack = |ms: i64| if cached && !on_close { ms } else { 0 };
        // Kafka Streams' window store on disk for results on close keeps rows readable one millisecond longer than the
        // others, which is just enough for a window to be emitted by a record one window and grace later.
        let longer_ms = retention_ms.saturating_add(i64::from(on_close && persistent));
        let segmented = match self {
            Self::Sized(SizedWindows::Fixed(windows)) => {
                return StoreKind::Window { size_ms: windows.size_ms(), retention_ms: longer_ms };
            }
            Self::Sized(SizedWindows::Sliding(windows)) => {
                let size_ms = windows.difference_ms();
                Segmented::new(Moments::Window { size_ms }, longer_ms, size_ms).readable_longer(slack(size_ms))
            }
            Self::Session(windows) => {
                let sessions = Segmented::new(Moments::Session, retention_ms, windows.gap_ms());
                let sessions = sessions.readable_longer(slack(windows.gap_ms()));
                if on_close && persistent { sessions.kept_by_segment() } else { sessions }
            }
        };
        StoreKind::Segmented(if on_close { segmented.by_time() } else { segmented })
    }
}

/// The store and the serdes of a windowed aggregate.
pub(crate) struct WindowedTable<K, VA> {
    pub store: StoredTable,
    pub link: Arc<TableLink>,
    pub key: Needed<K>,
    pub value: Needed<VA>,
    pub emit: EmitStrategy,
    /// See [`WindowAggregate::emits_first`].
    pub emits_first: bool,
}

impl<K, VA> Clone for WindowedTable<K, VA> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            link: self.link.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
            emit: self.emit,
            emits_first: self.emits_first,
        }
    }
}

impl<K: Clone + 'static, VA: Clone + 'static> WindowedTable<K, VA> {
    fn segmented_rows(&self) -> Result<SegmentedRows<K>> {
        let StoreKind::Segmented(kind) = self.store.kind() else {
            unreachable!("sliding windows and sessions lie in segmented stores")
        };
        Ok(SegmentedRows { key: self.key.get()?, kind })
    }

    /// Makes a node that aggregates in windows with a size; its stream time is kept under `time`.
    pub fn sized_node<V: 'static, S: Step<K, V, VA>>(&self, windows: SizedWindows, step: S, time: String) -> Factory {
        let (table, step) = (self.clone(), Arc::new(step));
        Arc::new(move |asm: &mut Assembly<'_>| {
            let (step, takes) = (step.clone(), PhantomData);
            let emitted = (table.emit == EmitStrategy::OnWindowClose).then(|| asm.time(table.store.name.clone()));
            let stream_time = asm.time(time.as_str());
            let value = table.value.get()?;
            match windows {
                SizedWindows::Fixed(windows) => {
                    let rows = WindowRows { key: table.key.get()?, size_ms: windows.size_ms() };
                    let updates = table.store.updates(asm, rows, value, &table.link)?;
                    let emits_first = table.emits_first;
                    Ok(Built::node::<K, V, _>(WindowAggregate {
                        windows,
                        step,
                        updates,
                        stream_time,
                        emitted,
                        emits_first,
                        takes,
                    }))
                }
                SizedWindows::Sliding(windows) => {
                    let updates = table.store.updates(asm, table.segmented_rows()?, value, &table.link)?;
                    Ok(Built::node::<K, V, _>(SlidingAggregate { windows, step, updates, stream_time, emitted, takes }))
                }
            }
        })
    }

    /// Makes a node that aggregates in sessions; its stream time is kept under `time`.
    pub fn session_node<V: 'static, S: Merging<K, V, VA>>(
        &self,
        windows: SessionWindows,
        step: S,
        time: String,
    ) -> Factory {
        let (table, step) = (self.clone(), Arc::new(step));
        Arc::new(move |asm: &mut Assembly<'_>| {
            let (step, takes) = (step.clone(), PhantomData);
            let emitted = (table.emit == EmitStrategy::OnWindowClose).then(|| asm.time(table.store.name.clone()));
            let stream_time = asm.time(time.as_str());
            let updates = table.store.updates(asm, table.segmented_rows()?, table.value.get()?, &table.link)?;
            Ok(Built::node::<K, V, _>(SessionAggregate { windows, step, updates, stream_time, emitted, takes }))
        })
    }

    /// Rows as a join sees them.
    pub fn view(&self, windowing: Windowing) -> ViewOf<Windowed<K>, VA> {
        let table = self.clone();
        match windowing {
            Windowing::Sized(SizedWindows::Fixed(windows)) => {
                let (key, size_ms) = (self.key.clone(), windows.size_ms());
                self.store.view_by(move || Ok(WindowRows { key: key.get()?, size_ms }), self.value.clone())
            }
            Windowing::Sized(SizedWindows::Sliding(_)) => {
                self.store.view_by(move || table.segmented_rows(), self.value.clone())
            }
            Windowing::Session(_) => Rc::new(move || {
                let table = table.clone();
                TableView {
                    stores: vec![table.store.name.clone()],
                    getter: Arc::new(move |asm: &mut Assembly<'_>| {
                        let (rows, values) = (table.segmented_rows()?, table.value.get()?);
                        let rows = SessionGetter(TableStore { store: asm.store(&table.store.name)?, rows, values });
                        Ok(Rc::new(rows) as Rc<dyn Getter<Windowed<K>, VA>>)
                    }),
                }
            }),
        }
    }

    /// The serde of the result's keys.
    pub fn windowed_key(&self, windowing: Windowing) -> Option<Serde<Windowed<K>>> {
        let key = self.key.known()?;
        Some(match windowing {
            Windowing::Sized(SizedWindows::Fixed(windows)) => serdes::windowed(key, windows.size_ms()),
            Windowing::Sized(SizedWindows::Sliding(windows)) => serdes::windowed(key, windows.difference_ms()),
            Windowing::Session(_) => serdes::session_windowed(key),
        })
    }
}
