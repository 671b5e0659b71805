//! Joins of a stream with a stream within windows of event time.

use super::{
    KStream, StreamJoined,
    assemble::{Assembly, Built, Factory},
    plan::{Logical, Plan, ProcessorPlan, StoreDecl, StreamJoinPlan},
    serdes::Needed,
};
use crate::{
    fault::{Fault, Result},
    operator::{
        JoinWindows,
        join_store::{JoinStore, JoinWindow},
        pass::Pass,
        stream_self_join::StreamSelfJoin,
        stream_stream_join::StreamStreamJoin,
        unmatched::Unmatched,
    },
    state::{Moments, Segmented, StoreKind, StoreSpec},
};
use std::{any::Any, collections::BTreeSet, marker::PhantomData, sync::Arc};

/// Which sides' records are results without a partner.
#[derive(Clone, Copy)]
struct Outer {
    this: bool,
    other: bool,
}

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Pairs each record with the records of `other` of the same key within the window (D-81). A pair has the greater of
    /// the two times, and the headers of the record that came later (D-84).
    ///
    /// Both streams are repartitioned first if their keys were changed; their topics must have equal partition counts, or
    /// the topology does not resolve. Records without key or value are dropped and counted (D-69). A late record still
    /// meets what is kept, which is window and grace (D-83).
    ///
    /// ```
    /// use millstream::{codec::serdes, operator::JoinWindows, testing::TestDriver, topology::StreamsBuilder};
    /// use std::time::Duration;
    /// let builder = StreamsBuilder::new();
    /// let (shown, clicked) = (builder.stream::<String, String>("shown"), builder.stream::<String, String>("clicked"));
    /// let hour = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(3600)).before(Duration::ZERO);
    /// shown.join_stream(&clicked, |shown, clicked| Some(format!("{shown}: {clicked}")), hour).to("seen");
    ///
    /// let mut driver = TestDriver::new(builder.build().unwrap()).unwrap();
    /// let text = serdes::string();
    /// for (topic, value, time) in [("shown", "hats", 1_000), ("clicked", "yes", 3_601_000), ("clicked", "no", 999)] {
    ///     driver.pipe(topic, &text, &text, Some(&"1".to_owned()), Some(&value.to_owned()), time).unwrap();
    /// }
    /// let seen = driver.read("seen", &text, &text).unwrap();
    /// assert_eq!(seen.len(), 1);
    /// assert_eq!((seen[0].value.as_deref(), seen[0].timestamp), (Some("hats: yes"), 3_601_000));
    /// ```
    pub fn join_stream<VO, VR, F>(&self, other: &KStream<K, VO>, joiner: F, windows: JoinWindows) -> KStream<K, VR>
    where
        VO: 'static,
        VR: 'static,
        F: Fn(&V, &VO) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_stream_with(other, move |_, this, other| joiner(this, other), windows, StreamJoined::default())
    }

    /// As [`KStream::join_stream`], with serdes, names and the like; the joiner sees the key.
    ///
    /// ```
    /// # use millstream::{operator::JoinWindows, topology::{StreamJoined, StreamsBuilder}};
    /// # let builder = StreamsBuilder::new();
    /// # let (a, b) = (builder.stream::<String, i64>("a"), builder.stream::<String, i64>("b"));
    /// # let windows = JoinWindows::of_time_difference_with_no_grace(std::time::Duration::from_secs(1));
    /// let stored = StreamJoined::default().store_name("sums");
    /// a.join_stream_with(&b, |_, a, b| Some(a + b), windows, stored).to("out");
    /// assert!(builder.build().unwrap().describe().contains("stores: [sums-this-join-store]"));
    /// ```
    pub fn join_stream_with<VO, VR, F>(
        &self,
        other: &KStream<K, VO>,
        joiner: F,
        windows: JoinWindows,
        joined: StreamJoined<K, V, VO>,
    ) -> KStream<K, VR>
    where
        VO: 'static,
        VR: 'static,
        F: Fn(Option<&K>, &V, &VO) -> Option<VR> + Send + Sync + 'static,
    {
        let joiner = move |key: Option<&K>, this: Option<&V>, other: Option<&VO>| joiner(key, this?, other?);
        self.join_streams(other, joiner, windows, joined, Outer { this: false, other: false })
    }

    /// As [`KStream::join_stream`], and a record of this stream that finds no partner until its window and grace are over
    /// is joined with `None`: at its own time, when a later record of either stream closes its window (D-86, D-87). A
    /// record whose window is over when it comes is joined with `None` at once, whatever the grace, and may meet a late
    /// partner later (D-88). So is a record without a key (D-70).
    ///
    /// Nothing is emitted while no record comes.
    ///
    /// ```
    /// # use millstream::{operator::JoinWindows, topology::StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let (orders, payments) = (builder.stream::<String, i64>("orders"), builder.stream::<String, i64>("payments"));
    /// # let windows = JoinWindows::of_time_difference_with_no_grace(std::time::Duration::from_secs(1));
    /// orders.left_join_stream(&payments, |due, paid| Some(due - paid.unwrap_or(&0)), windows).to("open");
    /// # builder.build().unwrap();
    /// ```
    pub fn left_join_stream<VO, VR, F>(&self, other: &KStream<K, VO>, joiner: F, windows: JoinWindows) -> KStream<K, VR>
    where
        VO: 'static,
        VR: 'static,
        F: Fn(&V, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        self.left_join_stream_with(other, move |_, this, other| joiner(this, other), windows, StreamJoined::default())
    }

    /// As [`KStream::left_join_stream`], with serdes, names and the like; the joiner sees the key.
    ///
    /// ```
    /// # use millstream::{operator::JoinWindows, topology::{StreamJoined, StreamsBuilder}};
    /// # let builder = StreamsBuilder::new();
    /// # let (a, b) = (builder.stream::<String, i64>("a"), builder.stream::<String, i64>("b"));
    /// # let windows = JoinWindows::of_time_difference_with_no_grace(std::time::Duration::from_secs(1));
    /// let joined = StreamJoined::with_name("orders");
    /// a.left_join_stream_with(&b, |_, a, b| Some(a + b.unwrap_or(&0)), windows, joined).to("out");
    /// assert!(builder.build().unwrap().describe().contains("Processor: orders-this-join "));
    /// ```
    pub fn left_join_stream_with<VO, VR, F>(
        &self,
        other: &KStream<K, VO>,
        joiner: F,
        windows: JoinWindows,
        joined: StreamJoined<K, V, VO>,
    ) -> KStream<K, VR>
    where
        VO: 'static,
        VR: 'static,
        F: Fn(Option<&K>, &V, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        let joiner = move |key: Option<&K>, this: Option<&V>, other: Option<&VO>| joiner(key, this?, other);
        self.join_streams(other, joiner, windows, joined, Outer { this: true, other: false })
    }

    /// As [`KStream::left_join_stream`], for the records of both streams.
    ///
    /// ```
    /// # use millstream::{operator::JoinWindows, topology::StreamsBuilder};
    /// # let builder = StreamsBuilder::new();
    /// # let (a, b) = (builder.stream::<String, i64>("a"), builder.stream::<String, i64>("b"));
    /// # let windows = JoinWindows::of_time_difference_with_no_grace(std::time::Duration::from_secs(1));
    /// a.outer_join_stream(&b, |a, b| Some(a.unwrap_or(&0) + b.unwrap_or(&0)), windows).to("out");
    /// # builder.build().unwrap();
    /// ```
    pub fn outer_join_stream<VO, VR, F>(
        &self,
        other: &KStream<K, VO>,
        joiner: F,
        windows: JoinWindows,
    ) -> KStream<K, VR>
    where
        VO: 'static,
        VR: 'static,
        F: Fn(Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        self.outer_join_stream_with(other, move |_, this, other| joiner(this, other), windows, StreamJoined::default())
    }

    /// As [`KStream::outer_join_stream`], with serdes, names and the like; the joiner sees the key.
    ///
    /// ```
    /// # use millstream::{operator::JoinWindows, topology::{StreamJoined, StreamsBuilder}};
    /// # let builder = StreamsBuilder::new();
    /// # let (a, b) = (builder.stream::<String, i64>("a"), builder.stream::<String, i64>("b"));
    /// # let windows = JoinWindows::of_time_difference_with_no_grace(std::time::Duration::from_secs(1));
    /// a.outer_join_stream_with(&b, |_, a, b| a.or(b).copied(), windows, StreamJoined::default().in_memory()).to("out");
    /// # builder.build().unwrap();
    /// ```
    pub fn outer_join_stream_with<VO, VR, F>(
        &self,
        other: &KStream<K, VO>,
        joiner: F,
        windows: JoinWindows,
        joined: StreamJoined<K, V, VO>,
    ) -> KStream<K, VR>
    where
        VO: 'static,
        VR: 'static,
        F: Fn(Option<&K>, Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        self.join_streams(other, joiner, windows, joined, Outer { this: true, other: true })
    }

    fn join_streams<VO, VR, F>(
        &self,
        other: &KStream<K, VO>,
        joiner: F,
        windows: JoinWindows,
        joined: StreamJoined<K, V, VO>,
        outer: Outer,
    ) -> KStream<K, VR>
    where
        VO: 'static,
        VR: 'static,
        F: Fn(Option<&K>, Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        let given = joined.name.as_deref().or(self.next_name.as_deref());
        let suffixed = |suffix: &str| given.map(|name| format!("{name}{suffix}"));
        let key = joined.key.as_ref().or(self.key.as_ref()).or(other.key.as_ref());
        let this = self.partitioned_for_join(suffixed("-left").as_deref(), key, joined.value.as_ref());
        let other = other.partitioned_for_join(suffixed("-right").as_deref(), key, joined.other_value.as_ref());
        let plan = &mut *self.plan.borrow_mut();
        if let Err(fault) = windows.check() {
            plan.error(fault);
        }
        let sources: BTreeSet<_> = this.sources.union(&other.sources).cloned().collect();
        plan.copartitioned.push(sources.clone());

        let names = Names::new(plan, given, outer);
        let stores = Stores::new(plan, &joined, &names, windows, outer);
        let types = Types {
            key: plan.need(key, "key", &names.merge),
            this: plan.need(this.value.as_ref(), "value", &names.merge),
            other: plan.need(other.value.as_ref(), "value of the other side", &names.merge),
        };
        let joiner = Arc::new(joiner);
        let reversed = {
            let joiner = joiner.clone();
            Arc::new(move |key: Option<&K>, this: Option<&VO>, other: Option<&V>| joiner(key, other, this))
        };
        let kept = |name: &Arc<str>| Kept { name: name.clone(), rows: stores.rows };
        let (this_rows, other_rows) = (kept(&stores.this.name), kept(&stores.other.name));
        let this_window = window(&names.this_window, &stores.this, &this_rows, &types.key, &types.this);
        let other_window = window(&names.other_window, &stores.other, &other_rows, &types.key, &types.other);
        plan.add(&[this.node], names.this_window.clone(), Logical::Processor(this_window));
        let other_node = plan.add(&[other.node], names.other_window.clone(), Logical::Processor(other_window));

        let unmatched = stores.unmatched.as_ref().map(|spec| spec.name.clone());
        let left = Side { left: true, outer: outer.this, windows, unmatched: unmatched.clone(), rows: other_rows };
        let right = Side { left: false, outer: outer.other, windows: windows.mirrored(), unmatched, rows: this_rows };
        let self_join = self_join_plan::<K, V, VO, VR, F>(&names.merge, windows, &right.rows, &types, joiner.clone());
        let mut this_join = left.plan(&names.this_join, &types.key, &types.this, &types.other, joiner);
        let other_join = right.plan(&names.other_join, &types.key, &types.other, &types.this, reversed);
        this_join.stores.extend(stores.unmatched.map(|spec| StoreDecl { spec, types: None, face: None, table: None }));
        let merge = ProcessorPlan {
            name: names.merge.clone(),
            stores: Vec::new(),
            connected: Vec::new(),
            factory: Arc::new(|asm: &mut Assembly<'_>| Ok(Built::node(Pass { children: asm.children::<K, VR>()? }))),
        };
        let join = StreamJoinPlan {
            this_window: names.this_window.clone(),
            other_window: other_node,
            parts: vec![
                (this_join, vec![names.this_window]),
                (other_join, vec![names.other_window]),
                (merge, vec![names.this_join, names.other_join]),
            ],
            self_join,
        };
        let node = plan.add(&[this.node, other.node], names.merge.clone(), Logical::StreamJoin(join));
        plan.nodes[node].takes_null_keys = outer.this || outer.other;
        KStream::new(self.plan.clone(), node, names.merge, types.key.known(), None, sources, false)
    }
}

/// Names of a join's nodes, in the order in which Kafka Streams generates them.
struct Names {
    this_window: Arc<str>,
    other_window: Arc<str>,
    /// The generated names of the two join nodes, which name the stores unless the user does.
    generated: [Arc<str>; 2],
    this_join: Arc<str>,
    other_join: Arc<str>,
    merge: Arc<str>,
}

impl Names {
    fn new(plan: &mut Plan, given: Option<&str>, outer: Outer) -> Self {
        let this_window = plan.name_suffixed(given, "-this-windowed", "KSTREAM-WINDOWED-");
        let other_window = plan.name_suffixed(given, "-other-windowed", "KSTREAM-WINDOWED-");
        let generated = [
            plan.generate(if outer.other { "KSTREAM-OUTERTHIS-" } else { "KSTREAM-JOINTHIS-" }),
            plan.generate(if outer.this { "KSTREAM-OUTEROTHER-" } else { "KSTREAM-JOINOTHER-" }),
        ];
        let named = |suffix: &str, generated: &Arc<str>| match given {
            Some(name) => format!("{name}{suffix}").into(),
            None => generated.clone(),
        };
        let [this_suffix, other_suffix] = suffixes(outer);
        let (this_join, other_join) = (named(this_suffix, &generated[0]), named(other_suffix, &generated[1]));
        let merge = plan.name_suffixed(given, "-merge", "KSTREAM-MERGE-");
        Self { this_window, other_window, generated, this_join, other_join, merge }
    }
}

fn suffixes(outer: Outer) -> [&'static str; 2] {
    [
        if outer.other { "-outer-this-join" } else { "-this-join" },
        if outer.this { "-outer-other-join" } else { "-other-join" },
    ]
}

/// The stores of a join (D-80, D-85).
struct Stores {
    rows: Segmented,
    this: StoreSpec,
    other: StoreSpec,
    unmatched: Option<StoreSpec>,
}

impl Stores {
    fn new<K, V, VO>(
        plan: &mut Plan,
        joined: &StreamJoined<K, V, VO>,
        names: &Names,
        windows: JoinWindows,
        outer: Outer,
    ) -> Self {
        let rows = Segmented::new(Moments::Join, windows.retention_ms(), windows.size_ms());
        if let Some(name) = &joined.store_name {
            plan.give(name);
        }
        let mut spec = |name: String, kind: StoreKind| {
            plan.check_name(&name);
            StoreSpec {
                name: name.into(),
                kind,
                timestamped: false,
                logged: joined.logged,
                changelog_config: joined.changelog_config.clone(),
                cached: false,
                persistent: joined.persistent,
            }
        };
        let named = |suffix: &str, generated: &str| match &joined.store_name {
            Some(name) => format!("{name}{suffix}-store"),
            None => format!("{generated}-store"),
        };
        let [this, other] = suffixes(outer);
        let this = spec(named(this, &names.generated[0]), StoreKind::Segmented(rows));
        let other = spec(named(other, &names.generated[1]), StoreKind::Segmented(rows));
        let unmatched = outer.this.then(|| {
            let suffix = if outer.other { "-outer-shared-join" } else { "-left-shared-join" };
            let number = names.generated[0].rsplit('-').next().unwrap_or_default();
            spec(named(suffix, &format!("KSTREAM-OUTERSHARED-{number}")), StoreKind::KeyValue)
        });
        Self { rows, this, other, unmatched }
    }
}

/// Serdes of a join.
struct Types<K, V, VO> {
    key: Needed<K>,
    this: Needed<V>,
    other: Needed<VO>,
}

/// The store of one side, as nodes find it.
#[derive(Clone)]
struct Kept {
    name: Arc<str>,
    rows: Segmented,
}

impl Kept {
    fn store<K: 'static, V: 'static>(
        &self,
        asm: &Assembly<'_>,
        key: &Needed<K>,
        value: &Needed<V>,
    ) -> Result<JoinStore<K, V>> {
        Ok(JoinStore { store: asm.store(&self.name)?, key: key.get()?, value: value.get()?, rows: self.rows })
    }
}

/// The node that keeps the records of one side.
fn window<K: 'static, V: 'static>(
    name: &Arc<str>,
    spec: &StoreSpec,
    kept: &Kept,
    key: &Needed<K>,
    value: &Needed<V>,
) -> ProcessorPlan {
    let (kept, key, value) = (kept.clone(), key.clone(), value.clone());
    ProcessorPlan {
        name: name.clone(),
        stores: vec![StoreDecl { spec: spec.clone(), types: None, face: None, table: None }],
        connected: Vec::new(),
        factory: Arc::new(move |asm: &mut Assembly<'_>| {
            Ok(Built::node::<K, V, _>(JoinWindow {
                rows: kept.store(asm, &key, &value)?,
                sequence: asm.time(format!("millstream.sequence.{}", kept.name)),
                children: asm.children()?,
            }))
        }),
    }
}

/// One side's join node.
struct Side {
    left: bool,
    outer: bool,
    /// Seen from this side.
    windows: JoinWindows,
    unmatched: Option<Arc<str>>,
    /// The other side's store.
    rows: Kept,
}

impl Side {
    fn plan<K, V, VO, VR, F>(
        &self,
        name: &Arc<str>,
        key: &Needed<K>,
        this: &Needed<V>,
        other: &Needed<VO>,
        joiner: Arc<F>,
    ) -> ProcessorPlan
    where
        K: 'static,
        V: 'static,
        VO: 'static,
        VR: 'static,
        F: Fn(Option<&K>, Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
    {
        let Self { left, outer, windows, ref unmatched, ref rows } = *self;
        let connected = std::iter::once(&rows.name).chain(unmatched).cloned().collect();
        let (rows, unmatched, key, this, other) =
            (rows.clone(), unmatched.clone(), key.clone(), this.clone(), other.clone());
        let factory: Factory = Arc::new(move |asm: &mut Assembly<'_>| {
            let unmatched = match &unmatched {
                Some(name) => Some(Unmatched {
                    store: asm.store(name)?,
                    stream_time: asm.time(format!("millstream.time.{name}")),
                    min_time: asm.time(format!("millstream.oldest.{name}")),
                }),
                None => None,
            };
            Ok(Built::node(StreamStreamJoin {
                left,
                outer,
                windows,
                other: rows.store(asm, &key, &other)?,
                values: this.get()?,
                unmatched,
                joiner: joiner.clone(),
                children: asm.children::<K, VR>()?,
                takes: PhantomData,
            }))
        });
        ProcessorPlan { name: name.clone(), stores: Vec::new(), connected, factory }
    }
}

/// The one node of a self-join that was optimised (D-92).
fn self_join_plan<K, V, VO, VR, F>(
    name: &Arc<str>,
    windows: JoinWindows,
    rows: &Kept,
    types: &Types<K, V, VO>,
    joiner: Arc<F>,
) -> ProcessorPlan
where
    K: 'static,
    V: 'static,
    VO: 'static,
    VR: 'static,
    F: Fn(Option<&K>, Option<&V>, Option<&VO>) -> Option<VR> + Send + Sync + 'static,
{
    // Both sides are the same stream, and so their types are the same, but the compiler can't know it.
    let joiner = Arc::new(move |key: Option<&K>, left: Option<&V>, right: Option<&V>| {
        joiner(key, left, right.and_then(|right| (right as &dyn Any).downcast_ref::<VO>()))
    });
    let (connected, rows, key, value) = (vec![rows.name.clone()], rows.clone(), types.key.clone(), types.this.clone());
    ProcessorPlan {
        name: name.clone(),
        stores: Vec::new(),
        connected,
        factory: Arc::new(move |asm: &mut Assembly<'_>| {
            if std::any::TypeId::of::<V>() != std::any::TypeId::of::<VO>() {
                return Err(Fault::stop("the two sides of a self-join have different types").at(&*asm.name));
            }
            Ok(Built::node::<K, V, _>(StreamSelfJoin {
                windows,
                rows: rows.store(asm, &key, &value)?,
                stream_time: asm.time(format!("millstream.time.{}", rows.name)),
                joiner: joiner.clone(),
                children: asm.children::<K, VR>()?,
            }))
        }),
    }
}
