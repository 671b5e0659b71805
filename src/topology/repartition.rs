//! Streams through topics: sinks, and the repartition topics that groupings and joins need (D-160, D-161).

use super::{
    Grouped, KGroupedStream, KStream, Produced, Repartitioned,
    assemble::{Assembly, Built},
    plan::{Logical, Plan, ProcessorPlan, RepartitionPlan, SinkPlan, SinkTopic, SourcePlan},
};
use crate::{
    codec::Serde,
    fault::Fault,
    operator::{
        StreamPartitioner, TopicNameExtractor,
        extract::Extractor,
        filter::KeyFilter,
        sink::{Sink, Topic},
        source::SourceNode,
    },
};
use std::{
    any::TypeId,
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// True for generated names of streams, whose repartition nodes get generated names too.
fn is_generated(prefix: &str) -> bool {
    let digits = prefix.rsplit('-').next().unwrap_or_default();
    prefix.starts_with("KSTREAM") && digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit())
}

/// What a repartition needs besides its name.
pub(super) struct Repartitioning<'a, K, V> {
    pub key: Option<&'a Serde<K>>,
    pub value: Option<&'a Serde<V>>,
    pub partitions: Option<i32>,
    pub partitioner: Option<Arc<StreamPartitioner<K, V>>>,
}

/// Plans a repartition topic with its filter, sink and source. The topic's name begins with `prefix`.
pub(super) fn repartition_plan<K: 'static, V: 'static>(
    plan: &mut Plan,
    prefix: &str,
    how: Repartitioning<'_, K, V>,
) -> RepartitionPlan {
    let topic: Arc<str> =
        if prefix.ends_with("-repartition") { prefix.into() } else { format!("{prefix}-repartition").into() };
    let (mut sink_name, mut filter_name, mut source_name) =
        (plan.generate("KSTREAM-SINK-"), plan.generate("KSTREAM-FILTER-"), plan.generate("KSTREAM-SOURCE-"));
    if !is_generated(prefix) {
        sink_name = format!("{topic}-sink").into();
        filter_name = format!("{topic}-filter").into();
        source_name = format!("{topic}-source").into();
    }
    through_topic(plan, topic, Names { sink: sink_name, filter: Some(filter_name), source: source_name }, how)
}

/// Names of the nodes around a repartition topic.
pub(super) struct Names {
    pub sink: Arc<str>,
    /// `None` where every record has a key.
    pub filter: Option<Arc<str>>,
    pub source: Arc<str>,
}

/// Plans a repartition topic with the nodes around it.
pub(super) fn through_topic<K: 'static, V: 'static>(
    plan: &mut Plan,
    topic: Arc<str>,
    names: Names,
    how: Repartitioning<'_, K, V>,
) -> RepartitionPlan {
    let key = plan.need(how.key, "key", &names.sink);
    let value = plan.need(how.value, "value", &names.sink);
    let drop_null_keys = Arc::new(AtomicBool::new(false));
    let drops = drop_null_keys.clone();
    let filter = names.filter.map(|name| ProcessorPlan {
        name,
        stores: Vec::new(),
        connected: Vec::new(),
        factory: Arc::new(move |asm: &mut Assembly<'_>| {
            Ok(Built::node(KeyFilter { drop_null_keys: drops.load(Relaxed), children: asm.children::<K, V>()? }))
        }),
    });
    let (k, v, partitioner, name) = (key.clone(), value.clone(), how.partitioner, topic.clone());
    let sink = SinkPlan {
        name: names.sink,
        topic: SinkTopic::Internal(topic.clone()),
        factory: Arc::new(move |asm: &mut Assembly<'_>| {
            Ok(Built::node(Sink {
                name: asm.name.clone(),
                topic: asm.fixed_topic(asm.internal_topic(&name)),
                key: k.get()?,
                value: v.get()?,
                partitioner: partitioner.clone(),
                by_inner_key: false,
            }))
        }),
    };
    let source = SourcePlan {
        name: names.source,
        topics: vec![topic.clone()],
        pattern: None,
        internal: true,
        reset: None,
        types: (TypeId::of::<K>(), TypeId::of::<V>()),
        factory: Arc::new(move |asm: &mut Assembly<'_>| {
            Ok(Built::source(SourceNode {
                name: asm.name.clone(),
                key: key.get()?,
                value: value.get()?,
                extractor: Extractor::FailOnInvalid,
                on_error: None,
                children: asm.children()?,
            }))
        }),
    };
    RepartitionPlan { topic, partitions: how.partitions, filter, sink, source, mergeable: true, drop_null_keys }
}

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Writes the records to a topic, with the stream's serdes or the default ones of the types. The topic must exist.
    pub fn to(&self, topic: &str) {
        self.to_with(topic, Produced::default());
    }

    /// Writes the records to a topic.
    pub fn to_with(&self, topic: &str, produced: Produced<K, V>) {
        self.plan.borrow_mut().check_name(topic);
        let fixed: Arc<str> = topic.into();
        let name = fixed.clone();
        self.sink(SinkTopic::External(fixed), move |asm| asm.fixed_topic(name.clone()), produced);
    }

    /// Writes each record to the topic that `choose` names.
    pub fn to_topic_of<F>(&self, choose: F)
    where
        F: Fn(Option<&K>, Option<&V>) -> String + Send + Sync + 'static,
    {
        self.to_topic_of_with(choose, Produced::default());
    }

    /// Writes each record to the topic that `choose` names.
    pub fn to_topic_of_with<F>(&self, choose: F, produced: Produced<K, V>)
    where
        F: Fn(Option<&K>, Option<&V>) -> String + Send + Sync + 'static,
    {
        let choose: Arc<TopicNameExtractor<K, V>> = Arc::new(choose);
        self.sink(
            SinkTopic::Dynamic(std::any::type_name::<F>().into()),
            move |_| Topic::Dynamic(choose.clone()),
            produced,
        );
    }

    fn sink(
        &self,
        topic: SinkTopic,
        running: impl Fn(&Assembly<'_>) -> Topic<K, V> + Send + Sync + 'static,
        produced: Produced<K, V>,
    ) {
        let plan = &mut *self.plan.borrow_mut();
        let name = plan.name(produced.name.as_deref().or(self.next_name.as_deref()), "KSTREAM-SINK-");
        let key = plan.need(produced.key.as_ref().or(self.key.as_ref()), "key", &name);
        let value = plan.need(produced.value.as_ref().or(self.value.as_ref()), "value", &name);
        let partitioner = produced.partitioner;
        let sink = SinkPlan {
            name: name.clone(),
            topic,
            factory: Arc::new(move |asm: &mut Assembly<'_>| {
                Ok(Built::node(Sink {
                    name: asm.name.clone(),
                    topic: running(asm),
                    key: key.get()?,
                    value: value.get()?,
                    partitioner: partitioner.clone(),
                    by_inner_key: true,
                }))
            }),
        };
        plan.add(&[self.node], name, Logical::Sink(sink));
    }

    /// Sends the records through a repartition topic, partitioned by their key.
    pub fn repartition(&self) -> Self {
        self.repartition_with(Repartitioned::default())
    }

    /// Sends the records through a repartition topic.
    pub fn repartition_with(&self, repartitioned: Repartitioned<K, V>) -> Self {
        let plan = &mut *self.plan.borrow_mut();
        let given = repartitioned.name.as_deref().or(self.next_name.as_deref());
        let prefix = match given {
            Some(name) => {
                plan.give(name);
                name.into()
            }
            None => plan.generate("KSTREAM-REPARTITION-"),
        };
        if repartitioned.partitions.is_some_and(|n| n < 1) {
            plan.error(
                Fault::stop("a repartition topic can't have less than one partition").at(format!("node {prefix}")),
            );
        }
        let key = repartitioned.key.or_else(|| self.key.clone());
        let value = repartitioned.value.or_else(|| self.value.clone());
        let how = Repartitioning {
            key: key.as_ref(),
            value: value.as_ref(),
            partitions: repartitioned.partitions,
            partitioner: repartitioned.partitioner,
        };
        let what = RepartitionPlan { mergeable: false, ..repartition_plan(plan, &prefix, how) };
        let name = what.source.name.clone();
        let node = plan.add(&[self.node], name.clone(), Logical::Repartition(what));
        KStream::new(self.plan.clone(), node, name.clone(), key, value, BTreeSet::from([name]), false)
    }

    /// The stream through a repartition topic if its key was changed, as a join needs it.
    pub(super) fn partitioned_for_join(
        &self,
        given: Option<&str>,
        key: Option<&Serde<K>>,
        value: Option<&Serde<V>>,
    ) -> Self {
        let key = key.or(self.key.as_ref()).cloned();
        let value = value.or(self.value.as_ref()).cloned();
        if !self.repartition {
            return Self { key, value, ..self.clone() };
        }
        let plan = &mut *self.plan.borrow_mut();
        if let Some(name) = given {
            plan.give(name);
        }
        let prefix = given.unwrap_or(&self.name);
        let how = Repartitioning { key: key.as_ref(), value: value.as_ref(), partitions: None, partitioner: None };
        let what = repartition_plan(plan, prefix, how);
        let name = what.source.name.clone();
        let reused = self.repartitioned.get().filter(|_| given.is_none());
        let node = reused.unwrap_or_else(|| plan.add(&[self.node], name.clone(), Logical::Repartition(what)));
        self.repartitioned.set(Some(node));
        KStream::new(self.plan.clone(), node, name.clone(), key, value, BTreeSet::from([name]), false)
    }

    /// Groups the records by their key.
    pub fn group_by_key(&self) -> KGroupedStream<K, V> {
        self.group_by_key_with(Grouped::default())
    }

    /// Groups the records by their key.
    pub fn group_by_key_with(&self, grouped: Grouped<K, V>) -> KGroupedStream<K, V> {
        let key = grouped.key.or_else(|| self.key.clone());
        let value = grouped.value.or_else(|| self.value.clone());
        let (node, name) = (self.node, self.name.clone());
        if let Some(name) = &grouped.name {
            self.plan.borrow_mut().give(name);
        }
        KGroupedStream::new(
            self.plan.clone(),
            node,
            name,
            key,
            value,
            self.sources.clone(),
            self.repartition,
            grouped.name,
        )
    }

    /// Groups the records by a new key; they are repartitioned by it.
    pub fn group_by<K2: 'static, F>(&self, selector: F) -> KGroupedStream<K2, V>
    where
        F: Fn(Option<&K>, Option<&V>) -> Option<K2> + Send + Sync + 'static,
    {
        self.group_by_with(selector, Grouped::default())
    }

    /// Groups the records by a new key.
    pub fn group_by_with<K2: 'static, F>(&self, selector: F, grouped: Grouped<K2, V>) -> KGroupedStream<K2, V>
    where
        F: Fn(Option<&K>, Option<&V>) -> Option<K2> + Send + Sync + 'static,
    {
        let named = Self { next_name: grouped.name.clone().or_else(|| self.next_name.clone()), ..self.clone() };
        let (node, name) = named.select(selector);
        let value = grouped.value.or_else(|| self.value.clone());
        KGroupedStream::new(self.plan.clone(), node, name, grouped.key, value, self.sources.clone(), true, grouped.name)
    }
}
