//! Tables whose changes are held back.

use super::{
    KTable, Suppressed,
    assemble::{Assembly, Built},
    options::Until,
    plan::{Logical, NodeIx, Plan, ProcessorPlan, StoreDecl},
    serdes::Needed,
    stored::{TableView, ViewOf},
    table_link::{TableKind, TableLink},
};
use crate::{
    fault::{Fault, Result},
    operator::{
        getter::Getter,
        suppress::{BufferStore, Suppress, SuppressGetter, Suppressing},
    },
    record::Change,
    state::{StoreKind, StoreSpec},
};
use std::{rc::Rc, sync::Arc};

impl Plan {
    /// How long after their end the windows upstream of a node take records, in milliseconds (D-146).
    fn grace_ms(&self, node: NodeIx) -> Result<i64> {
        let node = &self.nodes[node];
        match node.grace_ms {
            Some(grace_ms) => Ok(grace_ms),
            None if node.parents.is_empty() => Err(Fault::stop("only windows close, and there is none upstream")
                .at(format!("node {}", node.name))
                .hint("suppress until a time limit, or window the aggregate")),
            None => node.parents.iter().try_fold(0, |most, parent| Ok(self.grace_ms(*parent)?.max(most))),
        }
    }
}

impl<K: 'static, V: 'static> KTable<K, V> {
    /// Holds changes back: of all changes of a key while it waits only the last one is told, with its own time and
    /// headers. Time passes with the records that come here (D-150), so a last result waits for a record after it.
    ///
    /// What waits is kept in a store with a changelog, in Kafka Streams' format, and survives any stop.
    ///
    /// ```
    /// use millstream::{codec::serdes, operator::TimeWindows, testing::TestDriver};
    /// use millstream::topology::{BufferConfig, StreamsBuilder, Suppressed};
    /// use std::time::Duration;
    /// let builder = StreamsBuilder::new();
    /// let minutes = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    /// builder
    ///     .stream::<String, String>("clicks")
    ///     .group_by_key()
    ///     .windowed_by(minutes)
    ///     .count()
    ///     .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
    ///     .to_stream()
    ///     .to("clicks-per-minute");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// let text = serdes::string();
    /// for at in [0, 1_000, 2_000, 60_000] {
    ///     driver.pipe("clicks", &text, &text, Some(&"ann".to_owned()), Some(&"x".to_owned()), at).unwrap();
    /// }
    /// let keys = serdes::windowed(serdes::string(), 60_000);
    /// let counts = driver.read("clicks-per-minute", &keys, &serdes::i64()).unwrap();
    /// assert_eq!((counts.len(), counts[0].value), (1, Some(3)));
    /// ```
    pub fn suppress(&self, suppressed: Suppressed<K>) -> Self {
        let plan = &mut *self.plan.borrow_mut();
        if self.link.is_versioned() {
            plan.error(Fault::stop("a versioned table can't be suppressed").at(format!("table {}", self.name)));
        }
        let given = suppressed.name.as_deref().or(self.next_name.as_deref());
        let name = plan.processor_name(given, "KTABLE-SUPPRESS-");
        let (time_of, wait_ms) = match suppressed.until {
            Until::TimeLimit(limit_ms) => (None, limit_ms),
            Until::WindowCloses(end_of) => (
                Some(end_of),
                plan.grace_ms(self.node).unwrap_or_else(|fault| {
                    plan.error(fault);
                    0
                }),
            ),
        };
        let store: Arc<str> = match given {
            Some(name) => format!("{name}-store").into(),
            None => plan.generate_store("KTABLE-SUPPRESS-"),
        };
        let key = plan.need(self.key.as_ref(), "key", &name);
        let value = plan.need(self.value.as_ref(), "value", &name);
        let spec = StoreSpec {
            name: store.clone(),
            kind: StoreKind::Buffer,
            timestamped: false,
            logged: suppressed.logged,
            changelog_config: suppressed.changelog_config,
            cached: false,
            persistent: true,
        };
        let buffer = buffer(store.clone(), key.clone(), value.clone());
        let (limits, drops_tombstones, for_factory) = (suppressed.limits, time_of.is_some(), buffer.clone());
        let processor = ProcessorPlan {
            name: name.clone(),
            stores: vec![StoreDecl { spec, types: None, face: None, table: None }],
            connected: Vec::new(),
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                Ok(Built::node::<K, Change<V>, _>(Suppress::new(Suppressing {
                    name: asm.name.clone(),
                    buffer: for_factory(asm)?,
                    time_of: time_of.clone(),
                    wait_ms,
                    limits,
                    drops_tombstones,
                    stream_time: asm.time(format!("millstream.time.{}", asm.name)),
                    children: asm.children()?,
                })))
            }),
        };
        let node = plan.add(&[self.node], name.clone(), Logical::Processor(processor));
        // What a reader sees of a row that waits is its old value.
        self.link.need_old(true);
        let link = TableLink::new(TableKind::Derived(self.link.clone()), false);
        link.set_history(None);
        link.note_old();
        let parent = self.view.clone();
        let view: ViewOf<K, V> = Rc::new(move || {
            let (TableView { mut stores, getter }, buffer) = (parent(), buffer.clone());
            stores.insert(0, store.clone());
            let getter = Arc::new(move |asm: &mut Assembly<'_>| {
                let (parent, buffer) = (getter(asm)?, buffer(asm)?);
                Ok(Rc::new(SuppressGetter { parent, buffer }) as Rc<dyn Getter<K, V>>)
            });
            TableView { stores, getter }
        });
        let (key, value) = (key.known(), value.known());
        KTable::new(self.plan.clone(), node, name, key, value, self.sources.clone(), link, view)
    }
}

type MakeBuffer<K, V> = Arc<dyn Fn(&Assembly<'_>) -> Result<BufferStore<K, V>> + Send + Sync>;

fn buffer<K: 'static, V: 'static>(store: Arc<str>, key: Needed<K>, value: Needed<V>) -> MakeBuffer<K, V> {
    Arc::new(move |asm| Ok(BufferStore { store: asm.store(&store)?, keys: key.get()?, values: value.get()? }))
}
