//! `BranchedKStream`: a stream on its way to several.

use super::{
    KStream,
    assemble::{Assembly, Built, Factory},
    plan::{Logical, NodeIx, ProcessorPlan},
};
use crate::operator::{
    branch::{Branch, BranchPredicate},
    pass::Pass,
};
use std::{collections::BTreeMap, sync::Arc};

/// A stream that is being split (D-15): add branches, then end with [`BranchedKStream::default_branch`] or
/// [`BranchedKStream::no_default_branch`].
///
/// ```
/// # use millstream::topology::StreamsBuilder;
/// # let builder = StreamsBuilder::new();
/// let orders = builder.stream::<String, i64>("orders");
/// let branches = orders
///     .named("size-")
///     .split()
///     .branch_as("big", |_, amount| amount.is_some_and(|a| *a > 1000))
///     .default_branch_as("small");
/// branches["size-big"].to("big-orders");
/// branches["size-small"].to("small-orders");
/// ```
pub struct BranchedKStream<K, V> {
    stream: KStream<K, V>,
    splitter: NodeIx,
    name: Arc<str>,
    predicates: Vec<BranchPredicate<K, V>>,
    branches: Vec<(String, KStream<K, V>)>,
}

/// The branches of a split by name: the split's name, then the branch's name or its number from 1, 0 for the default.
pub type Branches<K, V> = BTreeMap<String, KStream<K, V>>;

impl<K: 'static, V: 'static> BranchedKStream<K, V> {
    pub(super) fn new(stream: KStream<K, V>) -> Self {
        let (splitter, name) = {
            let plan = &mut *stream.plan.borrow_mut();
            let name = plan.name(stream.next_name.as_deref(), "KSTREAM-BRANCH-");
            let processor = processor(name.clone(), splitter_factory::<K, V>(Vec::new(), false));
            (plan.add(&[stream.node], name.clone(), Logical::Processor(processor)), name)
        };
        Self { stream, splitter, name, predicates: Vec::new(), branches: Vec::new() }
    }

    fn add(&mut self, suffix: String) {
        let plan = &mut *self.stream.plan.borrow_mut();
        let name: Arc<str> = format!("{}{suffix}", self.name).into();
        plan.name(Some(&name), "");
        let factory: Factory =
            Arc::new(|asm: &mut Assembly<'_>| Ok(Built::node(Pass { children: asm.children::<K, V>()? })));
        let node = plan.add(&[self.splitter], name.clone(), Logical::Processor(processor(name.clone(), factory)));
        let from = &self.stream;
        let branch = KStream::new(
            from.plan.clone(),
            node,
            name.clone(),
            from.key.clone(),
            from.value.clone(),
            from.sources.clone(),
            from.repartition,
        );
        self.branches.push((name.to_string(), branch));
    }

    /// Adds a branch, named by its number from 1.
    #[must_use]
    pub fn branch<F>(self, predicate: F) -> Self
    where
        F: Fn(Option<&K>, Option<&V>) -> bool + Send + Sync + 'static,
    {
        let number = (self.predicates.len() + 1).to_string();
        self.branch_as(number, predicate)
    }

    /// Adds a branch with a name, which follows the split's name.
    #[must_use]
    pub fn branch_as<F>(mut self, name: impl Into<String>, predicate: F) -> Self
    where
        F: Fn(Option<&K>, Option<&V>) -> bool + Send + Sync + 'static,
    {
        self.predicates.push(Arc::new(predicate));
        self.add(name.into());
        self.update(false);
        self
    }

    /// Ends the split: records that take no branch go to the default branch, named by the number 0.
    pub fn default_branch(self) -> Branches<K, V> {
        self.default_branch_as("0")
    }

    /// Ends the split with a named default branch.
    pub fn default_branch_as(mut self, name: impl Into<String>) -> Branches<K, V> {
        self.add(name.into());
        self.update(true);
        self.no_default_branch()
    }

    /// Ends the split: records that take no branch are dropped.
    pub fn no_default_branch(self) -> Branches<K, V> {
        self.branches.into_iter().collect()
    }

    /// Tells the splitting node of its branches.
    fn update(&self, has_default: bool) {
        let plan = &mut *self.stream.plan.borrow_mut();
        let factory = splitter_factory(self.predicates.clone(), has_default);
        plan.nodes[self.splitter].what = Logical::Processor(processor(self.name.clone(), factory));
    }
}

fn processor(name: Arc<str>, factory: Factory) -> ProcessorPlan {
    ProcessorPlan { name, stores: Vec::new(), connected: Vec::new(), factory }
}

fn splitter_factory<K: 'static, V: 'static>(predicates: Vec<BranchPredicate<K, V>>, has_default: bool) -> Factory {
    Arc::new(move |asm: &mut Assembly<'_>| {
        Ok(Built::node(Branch { predicates: predicates.clone(), has_default, children: asm.children::<K, V>()? }))
    })
}
