//! Tables joined by a foreign key: rows of the left table name keys of the right one (D-104..D-111).
//!
//! ```text
//! left change > send > registration topic > receive > store of subscriptions
//!                      (by foreign key)        |               ^ |
//!                                              v   right change > notify
//!                                           answer               |
//!                                              v                 v
//!     result < resolve  <   response topic (by the left row's partition)
//! ```
//!
//! `send` subscribes a left row to its foreign key, `receive` writes the subscription down and `answer` gives the right
//! row of the moment; `notify` tells the subscribers of a right row's change. `resolve` joins what comes back with the
//! left row of the moment, unless that has changed meanwhile: a hash of it travels with the subscription.

mod notify;
mod receive;
mod resolve;
mod send;
mod wire;

pub(crate) use notify::Notify;
pub(crate) use receive::{Answer, Receive};
pub(crate) use resolve::Resolve;
pub(crate) use send::{Send, SendOf};
pub(crate) use wire::{Response, Subscription, responses, subscriptions};
