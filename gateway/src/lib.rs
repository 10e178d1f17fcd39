//! The gateway: holds the clients' sockets, speaks Phoenix Channels with them, and knows no rule and no store. What
//! clients ask goes to workers over the backplane; what happens in conversations comes back over it and is handed to
//! every socket that joined.

#[cfg(test)]
mod adjacent;
pub mod admission;
pub mod api;
pub mod auth;
pub mod blocks;
pub mod config;
pub mod diagnosis;
pub mod few;
pub mod form;
pub mod gateway;
pub mod grpc;
pub mod heads;
pub mod leases;
pub mod longpoll;
pub mod mailbox;
pub mod metrics;
pub mod missed;
pub mod page;
pub mod rates;
pub mod revocations;
pub mod serve;
pub mod session;
pub mod shared;
pub mod socket;
pub mod sockets;
#[cfg(test)]
mod testing;
pub mod topic;
pub mod topics;
pub mod upgrade;
pub mod users;
pub mod visible;
pub mod workers;

pub use gateway::{Gateway, Parts};
pub use shared::Shared;
