//! Which stores and internal topics bear generated names: their numbers change with the topology.

use super::{physical::Physical, plan::Plan};
use crate::fault::{Fault, Result};
use std::sync::Arc;

/// Names that nobody chose, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unnamed {
    changelogs: Vec<String>,
    stores: Vec<String>,
    repartitions: Vec<String>,
}

/// The part of a name up to a number that the plan gave: `KSTREAM-MAP-0000000004` of `KSTREAM-MAP-0000000004-repartition`.
fn generated(name: &str) -> Option<&str> {
    let ours = name.starts_with("KSTREAM-") || name.starts_with("KTABLE-") || name.contains("-STATE-STORE-");
    let is_number = |part: &str| part.len() == 10 && part.bytes().all(|b| b.is_ascii_digit());
    let mut end = 0;
    for part in name.split('-') {
        end += part.len();
        if ours && is_number(part) {
            return Some(&name[..end]);
        }
        end += 1;
    }
    None
}

impl Unnamed {
    /// Goes through the stores and topics of a compiled plan. A name that the user wrote counts as chosen also where it
    /// looks like a generated one: that is how names of a topology in use are kept.
    pub fn of(plan: &Plan, physical: &Physical) -> Self {
        let implicit = |name: &Arc<str>| {
            let chosen = |given: &Arc<str>| {
                name.strip_prefix(&**given).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            generated(name).is_some() && !plan.given.iter().any(chosen)
        };
        let stores: Vec<_> = physical.stores.values().filter(|spec| implicit(&spec.name)).collect();
        let globals = physical.globals.iter().map(|global| &global.store).filter(|name| implicit(name));
        let repartitions = physical.repartitions.iter().map(|topic| &topic.name).filter(|name| implicit(name));
        let logged = stores.iter().filter(|spec| spec.logged);
        Self {
            changelogs: logged.map(|spec| format!("{}-changelog", spec.name)).collect(),
            stores: stores.iter().map(|spec| &spec.name).chain(globals).map(ToString::to_string).collect(),
            repartitions: repartitions.map(ToString::to_string).collect(),
        }
    }

    /// # Errors
    /// When there is any such name: all are in the one error.
    pub fn refuse(&self) -> Result<()> {
        let kinds = [
            ("changelog topics", &self.changelogs),
            ("state stores", &self.stores),
            ("repartition topics", &self.repartitions),
        ];
        let named: Vec<_> = kinds.iter().filter(|(_, names)| !names.is_empty()).collect();
        if named.is_empty() {
            return Ok(());
        }
        let list: Vec<_> = named.iter().map(|(kind, names)| format!("{kind} {}", names.join(", "))).collect();
        Err(Fault::stop(format!(
            "generated names change with the topology, and these are generated: {}",
            list.join("; ")
        ))
        .at("ensure.explicit.internal.resource.naming")
        .hint(
            "choose names, with Materialized::as_store for stores, and with Grouped, Joined, StreamJoined, \
                 TableJoined, Repartitioned and Suppressed for topics",
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        codec::serdes,
        operator::JoinWindows,
        topology::{Grouped, Materialized, Optimization, StreamJoined, StreamsBuilder, Topology},
    };
    use std::time::Duration;

    fn names(build: impl FnOnce(&StreamsBuilder)) -> Topology {
        let builder = StreamsBuilder::new();
        build(&builder);
        builder.build_optimized(&[Optimization::ReuseKtableSourceTopics]).unwrap()
    }

    #[test]
    fn r94_generated_names_are_refused_all_at_once() {
        let topology = names(|b| {
            let stream = b.stream::<String, String>("in");
            stream.group_by(|_, value| value.cloned()).count();
            let rows = b.table::<String, String>("rows");
            stream.join(&rows, |a, b| Some(format!("{a}{b}"))).to("out");
            // No other operator needs its rows, so it has no store.
            b.table::<String, String>("passing").to_stream().to("out");
            let near = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(1));
            let other = b.stream::<String, String>("other");
            stream.left_join_stream(&other, |a, _| Some(a.clone()), near).to("out");
        });
        assert_eq!(
            topology.require_explicit_names().unwrap_err().to_string(),
            "generated names change with the topology, and these are generated: changelog topics \
             KSTREAM-AGGREGATE-STATE-STORE-0000000002-changelog, KSTREAM-JOINTHIS-0000000020-store-changelog, \
             KSTREAM-OUTEROTHER-0000000021-store-changelog, KSTREAM-OUTERSHARED-0000000020-store-changelog; state stores \
             KSTREAM-AGGREGATE-STATE-STORE-0000000002, KSTREAM-JOINTHIS-0000000020-store, \
             KSTREAM-OUTEROTHER-0000000021-store, KSTREAM-OUTERSHARED-0000000020-store, rows-STATE-STORE-0000000007; \
             repartition topics KSTREAM-AGGREGATE-STATE-STORE-0000000002-repartition \
             (ensure.explicit.internal.resource.naming): choose names, with Materialized::as_store for stores, and with \
             Grouped, Joined, StreamJoined, TableJoined, Repartitioned and Suppressed for topics"
        );
    }

    #[test]
    fn r94_chosen_names_are_taken_whatever_they_look_like() {
        let topology = names(|b| {
            let stream = b.stream::<String, String>("in");
            let pinned = "KSTREAM-AGGREGATE-STATE-STORE-0000000002";
            let grouped = Grouped::with(serdes::string(), serdes::string()).name(pinned);
            stream.group_by_with(|_, value| value.cloned(), grouped).count_with(Materialized::as_store(pinned));
            let near = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(1));
            let joined = StreamJoined::default().store_name("near");
            let other = b.stream::<String, String>("other");
            stream.join_stream_with(&other, |_, a, _| Some(a.clone()), near, joined).to("out");
        });
        topology.require_explicit_names().unwrap();
    }
}
