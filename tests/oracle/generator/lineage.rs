//! Which topics records come from, and through which internal topics. Records of one step that come to one operator
//! through several internal topics meet in an order that nothing defines: on a cluster it is that of different tasks'
//! commits, in the oracle that of equal timestamps in a heap. Such meetings are left out.

use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Where the records of a node come from.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    /// Topics of the outside.
    roots: BTreeSet<String>,
    /// The internal topics on each way from there.
    paths: BTreeSet<Vec<String>>,
    /// The next operator that needs records by key puts a repartition topic before it.
    changed: bool,
}

impl Lineage {
    fn of_topics(roots: BTreeSet<String>) -> Self {
        Self { roots, paths: [Vec::new()].into(), changed: false }
    }

    /// The same behind an internal topic.
    fn through(&self, topic: &str) -> Self {
        let path = |path: &Vec<String>| [&path[..], &[topic.to_owned()]].concat();
        Self { paths: self.paths.iter().map(path).collect(), changed: false, roots: self.roots.clone() }
    }

    /// The same as an operator that needs records by key sees it.
    fn by_key(&self, topic: &str) -> Self {
        if self.changed { self.through(topic) } else { self.clone() }
    }

    fn with(mut self, other: Self) -> Self {
        self.roots.extend(other.roots);
        self.paths.extend(other.paths);
        self.changed |= other.changed;
        self
    }

    /// True when no internal topic lies upstream.
    pub fn is_near(&self) -> bool {
        self.paths.iter().all(Vec::is_empty)
    }

    /// True when the records of a step may meet those of another node in any order. What comes straight from the outside
    /// comes first.
    fn is_in_disorder_with(&self, other: &Self) -> bool {
        let strangers = self.roots.is_disjoint(&other.roots);
        !strangers && !self.is_near() && !other.is_near() && self.paths != other.paths
    }
}

/// The lineages of all nodes of a scenario.
#[derive(Debug, Default)]
pub struct Lineages {
    nodes: BTreeMap<String, Lineage>,
    /// What was sent to each topic.
    sent: BTreeMap<String, Lineage>,
}

impl Lineages {
    pub fn of(&self, id: &str) -> Lineage {
        self.nodes.get(id).cloned().unwrap_or_default()
    }

    /// True when an operator may take records of both nodes, by key or as they come.
    pub fn may_meet(&self, left: &str, right: &str, by_key: bool) -> bool {
        let seen = |id: &str, topic: &str| if by_key { self.of(id).by_key(topic) } else { self.of(id) };
        !seen(left, "left").is_in_disorder_with(&seen(right, "right"))
    }

    /// True when two tables may be joined by a foreign key. Left rows must come straight from the outside: answers would
    /// overtake them.
    pub fn may_meet_by_foreign_key(&self, left: &str, right: &str) -> bool {
        let left = self.of(left);
        left.is_near() && !left.through("subscriptions").is_in_disorder_with(&self.of(right))
    }

    /// Learns of a node.
    pub fn add(&mut self, id: &str, node: &Json) {
        let of = |field: &str| self.of(node[field].as_str().unwrap_or_default());
        let texts = |field: &str| -> BTreeSet<String> {
            node[field].as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
        };
        let lineage = match node["op"].as_str().unwrap_or_default() {
            "stream" | "table" => {
                let topic = node["topic"].as_str().or(node["pattern"].as_str()).map(str::to_owned);
                let sent = topic.as_ref().and_then(|topic| self.sent.get(topic).map(|sent| sent.through(topic)));
                sent.unwrap_or_else(|| Lineage::of_topics(texts("topics").into_iter().chain(topic).collect()))
            }
            "to" => {
                let topic = node["topic"].as_str().unwrap_or_default();
                self.sent.insert(topic.to_owned(), of("from"));
                return;
            }
            "global_table" => Lineage::of_topics(BTreeSet::new()),
            "map" | "flat_map" | "select_key" | "process" => Lineage { changed: true, ..of("from") },
            "to_stream" if node.get("key").is_some() => Lineage { changed: true, ..of("from") },
            "group_by" => Lineage { changed: true, ..of("from") },
            "repartition" => of("from").through(id),
            "to_table" => of("from").by_key(id),
            "count" | "reduce" | "aggregate" => of("from").by_key(node["from"].as_str().unwrap_or_default()),
            "cogroup" => {
                let input = |input: &Json| {
                    let group = input["from"].as_str().unwrap_or_default();
                    self.of(group).by_key(group)
                };
                node["inputs"].as_array().into_iter().flatten().map(input).fold(Lineage::default(), Lineage::with)
            }
            "merge" => of("left").with(of("right")),
            "join" | "left_join" | "outer_join" => {
                let left = of("left").by_key(&format!("{id}-left"));
                left.with(of("right").by_key(&format!("{id}-right")))
            }
            "fk_join" | "fk_left_join" => {
                let answers = of("right").with(of("left").through(&format!("{id}-subscriptions")));
                answers.through(&format!("{id}-answers"))
            }
            _ => of("from"),
        };
        for branch in node["branches"].as_array().into_iter().flatten().chain(node.get("default")) {
            self.nodes.insert(branch["as"].as_str().unwrap_or_default().to_owned(), lineage.clone());
        }
        self.nodes.insert(id.to_owned(), lineage);
    }
}
