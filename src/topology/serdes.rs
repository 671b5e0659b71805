//! The serde of each point of use: the operator's own, else the stream's, else the type's default, else an error.

use super::plan::Plan;
use crate::{
    codec::Serde,
    fault::{Fault, Result},
};

/// A serde that a node needs; when there is none, the build has failed already.
pub(crate) struct Needed<T>(Option<Serde<T>>);

impl<T> Clone for Needed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: 'static> Needed<T> {
    /// A serde that is needed only if a table turns out to keep its rows; when there is none, building a task fails.
    pub fn maybe(serde: Option<&Serde<T>>) -> Self {
        Self(serde.cloned().or_else(crate::codec::default_serde))
    }

    /// The serde.
    pub fn get(&self) -> Result<Serde<T>> {
        self.0.clone().ok_or_else(|| Fault::stop("a serde is missing"))
    }

    /// The serde as a stream or a table hands it on.
    pub fn known(&self) -> Option<Serde<T>> {
        self.0.clone()
    }
}

impl Plan {
    /// The serde of `what` ("key" or "value") at node `name`.
    pub fn need<T: 'static>(&mut self, serde: Option<&Serde<T>>, what: &str, name: &str) -> Needed<T> {
        let found = serde.cloned().or_else(crate::codec::default_serde);
        if found.is_none() {
            let of = std::any::type_name::<T>();
            self.error(Fault::stop(format!("there is no {what} serde for `{of}`")).at(format!("node {name}")).hint(
                "give one, for example with Consumed::with, Grouped::with, Materialized::with or Produced::with",
            ));
        }
        Needed(found)
    }
}
