//! The worker: applies the rules of conversations, members, contacts and presence to the store, and tells the gateways.
//! It holds no sockets, never sees a frame, and keeps no state that matters: any worker may do any command, and any
//! may die at any moment.
//!
//! A command's way: [`dispatch`] takes it from the bus, the module of its subject loads what it needs, a pure `decide`
//! says what follows, the module commits that on the versions it read, tells the gateways ([`broadcast`]) and answers.

pub mod access;
pub(crate) mod blocks;
pub mod broadcast;
pub(crate) mod cache;
pub(crate) mod changes;
pub(crate) mod concurrency;
pub mod config;
pub(crate) mod contacts;
pub mod context;
pub mod conversations;
pub(crate) mod delivery;
pub(crate) mod diagnosis;
pub mod dispatch;
pub(crate) mod document;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixture;
pub(crate) mod join_user;
pub(crate) mod list;
pub mod log;
pub mod members;
pub mod metrics;
pub(crate) mod notifications;
pub(crate) mod offline;
pub(crate) mod presence;
pub(crate) mod reactions;
pub(crate) mod reading;
pub mod ready;
pub(crate) mod revocation;
#[cfg(test)]
mod rig;
pub mod serve;
pub(crate) mod settings;
pub mod store;
pub(crate) mod validate;
pub(crate) mod written;

pub use context::{Limits, Request, Worker};
