//! The orders in which Java's `HashMap` and `TreeSet` give things back: Kafka Streams' `describe()` depends on them.

use std::{cmp::Ordering, sync::Arc};

/// Java's `String.hashCode`, spread as `HashMap` spreads it.
fn hash(text: &str) -> u32 {
    let hash = text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    hash ^ (hash >> 16)
}

/// Distinct strings, given in order of insertion, in the order of a `HashMap` that grew from its default size.
pub(crate) fn hash_order<T>(mut items: Vec<T>, name: impl Fn(&T) -> Arc<str>) -> Vec<T> {
    let mut buckets = 16u32;
    while items.len() as u64 * 4 > u64::from(buckets) * 3 {
        buckets *= 2;
    }
    items.sort_by_key(|item| hash(&name(item)) & (buckets - 1));
    items
}

/// The order of a `TreeSet` whose comparator changes its mind meanwhile: where an element goes depends on the shape of
/// the red-black tree.
#[derive(Debug, Default)]
pub(crate) struct TreeSet {
    nodes: Vec<TreeNode>,
    root: Option<usize>,
}

#[derive(Debug)]
struct TreeNode {
    item: usize,
    red: bool,
    parent: Option<usize>,
    /// Left and right.
    below: [Option<usize>; 2],
}

impl TreeSet {
    /// Adds an element, which `compare` tells from those that are there.
    pub fn insert(&mut self, item: usize, compare: impl Fn(usize, usize) -> Ordering) {
        let (mut parent, mut side, mut at) = (None, 0, self.root);
        while let Some(node) = at {
            side = match compare(item, self.nodes[node].item) {
                Ordering::Less => 0,
                Ordering::Equal => return,
                Ordering::Greater => 1,
            };
            (parent, at) = (Some(node), self.nodes[node].below[side]);
        }
        let new = self.nodes.len();
        self.nodes.push(TreeNode { item, red: true, parent, below: [None, None] });
        match parent {
            Some(parent) => self.nodes[parent].below[side] = Some(new),
            None => self.root = Some(new),
        }
        self.balance(new);
    }

    /// The elements from left to right.
    pub fn items(&self) -> Vec<usize> {
        let (mut items, mut path, mut at) = (Vec::new(), Vec::new(), self.root);
        while at.is_some() || !path.is_empty() {
            while let Some(node) = at {
                path.push(node);
                at = self.nodes[node].below[0];
            }
            if let Some(node) = path.pop() {
                items.push(self.nodes[node].item);
                at = self.nodes[node].below[1];
            }
        }
        items
    }

    fn balance(&mut self, mut at: usize) {
        while let Some(parent) = self.nodes[at].parent.filter(|parent| self.nodes[*parent].red) {
            let Some(above) = self.nodes[parent].parent else { break };
            let side = usize::from(self.nodes[above].below[1] == Some(parent));
            match self.nodes[above].below[1 - side].filter(|uncle| self.nodes[*uncle].red) {
                Some(uncle) => {
                    (self.nodes[parent].red, self.nodes[uncle].red) = (false, false);
                    self.nodes[above].red = true;
                    at = above;
                }
                None => {
                    if self.nodes[parent].below[1 - side] == Some(at) {
                        self.rotate(parent, side);
                        at = parent;
                    }
                    if let Some(parent) = self.nodes[at].parent {
                        self.nodes[parent].red = false;
                    }
                    self.nodes[above].red = true;
                    self.rotate(above, 1 - side);
                }
            }
        }
        if let Some(root) = self.root {
            self.nodes[root].red = false;
        }
    }

    /// Lets the child on the other side of `side` take the place of `at`, which becomes its child on `side`.
    fn rotate(&mut self, at: usize, side: usize) {
        let Some(child) = self.nodes[at].below[1 - side] else { return };
        let inner = self.nodes[child].below[side];
        self.nodes[at].below[1 - side] = inner;
        if let Some(inner) = inner {
            self.nodes[inner].parent = Some(at);
        }
        let parent = self.nodes[at].parent;
        self.nodes[child].parent = parent;
        match parent {
            None => self.root = Some(child),
            Some(parent) => {
                let place = usize::from(self.nodes[parent].below[1] == Some(at));
                self.nodes[parent].below[place] = Some(child);
            }
        }
        self.nodes[child].below[side] = Some(at);
        self.nodes[at].parent = Some(child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_hash_as_in_java() {
        // "hello".hashCode() == 99162322 in Java.
        assert_eq!(hash("hello"), 99_162_322 ^ (99_162_322 >> 16));
        assert_eq!(hash_order(vec!["in2", "in"], |s| Arc::from(*s)), ["in", "in2"]);
    }

    #[test]
    fn a_tree_keeps_its_order() {
        for seed in 1..50u64 {
            let mut tree = TreeSet::default();
            let mut wanted: Vec<usize> =
                (0..40).map(|i| usize::try_from(i * seed * 7919 % 101).expect("small")).collect();
            wanted.iter().for_each(|item| tree.insert(*item, |a, b| a.cmp(&b)));
            wanted.sort_unstable();
            wanted.dedup();
            assert_eq!(tree.items(), wanted);
        }
    }

    #[test]
    fn a_place_depends_on_the_shape_of_the_tree() {
        let mut tree = TreeSet::default();
        (1..=3).for_each(|item| tree.insert(item, |a, b| a.cmp(&b)));
        // Less than the root 2, which is asked first, and not less than 1.
        tree.insert(4, |_, other| if other == 2 { Ordering::Less } else { Ordering::Greater });
        assert_eq!(tree.items(), [1, 4, 2, 3]);
    }
}
