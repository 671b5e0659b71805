//! Every failure, sorted by what the caller must do about it.
//!
//! A [`Fault`] says what went wrong, where, and what a person can do. Its [`Remedy`] is the only thing that code
//! branches on.

use std::fmt;

/// What the caller must do about a [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Leave out this record, count it, go on.
    Skip,
    /// Do the same thing again later.
    Retry,
    /// Drop the open transaction and start the touched tasks again from the last commit.
    Rebuild,
    /// The membership is gone: close all tasks without writing and wait for the next assignment.
    Rejoin,
    /// End the worker. A person has to act.
    Stop,
}

/// A failure: what, where, what to do.
///
/// ```
/// use millstream::fault::{Fault, Remedy};
/// let fault = Fault::stop("topic `orders` does not exist").at("source KSTREAM-SOURCE-0000000000").hint("create it");
/// assert_eq!(fault.remedy, Remedy::Stop);
/// assert_eq!(fault.to_string(), "topic `orders` does not exist (source KSTREAM-SOURCE-0000000000): create it");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What the caller must do.
    pub remedy: Remedy,
    what: Box<str>,
    place: Box<str>,
    hint: Box<str>,
    /// True when an error handler has decided about it.
    settled: bool,
    /// True when a panic was caught.
    panicked: bool,
}

impl Fault {
    fn new(remedy: Remedy, what: impl Into<Box<str>>) -> Self {
        Self { remedy, what: what.into(), place: "".into(), hint: "".into(), settled: false, panicked: false }
    }

    /// A record that can't be used.
    pub fn skip(what: impl Into<Box<str>>) -> Self {
        Self::new(Remedy::Skip, what)
    }

    /// A passing failure.
    pub fn retry(what: impl Into<Box<str>>) -> Self {
        Self::new(Remedy::Retry, what)
    }

    /// A failure that the last commit cures.
    pub fn rebuild(what: impl Into<Box<str>>) -> Self {
        Self::new(Remedy::Rebuild, what)
    }

    /// A lost membership.
    pub fn rejoin(what: impl Into<Box<str>>) -> Self {
        Self::new(Remedy::Rejoin, what)
    }

    /// A failure that a person must mend.
    pub fn stop(what: impl Into<Box<str>>) -> Self {
        Self::new(Remedy::Stop, what)
    }

    /// Adds the place: a node, a store, a topic partition, a file.
    #[must_use]
    pub fn at(mut self, place: impl Into<Box<str>>) -> Self {
        self.place = place.into();
        self
    }

    /// Adds what a person can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same failure with another remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = remedy;
        self
    }

    /// The same failure, about which an error handler has decided: no other is asked.
    #[must_use]
    pub(crate) fn settled(mut self) -> Self {
        self.settled = true;
        self
    }

    /// True when an error handler has decided about it.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// The same failure, which was a panic.
    #[must_use]
    pub(crate) fn panicked(mut self) -> Self {
        self.panicked = true;
        self
    }

    /// True when a panic was caught.
    pub fn is_panic(&self) -> bool {
        self.panicked
    }

    /// What went wrong, without place and hint.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Where, or an empty text.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.place.is_empty() {
            write!(f, " ({})", self.place)?;
        }
        if !self.hint.is_empty() {
            write!(f, ": {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// The result of anything that can fail while records flow.
pub type Result<T, E = Fault> = std::result::Result<T, E>;
