//! What the suites share: a whole system on memory parts whose processes can be cut off, stopped and killed, a plain
//! client of the protocol, and the simulation.

pub mod client;
pub mod sim;
pub mod system;
pub mod world;
