//! What the suites share: a whole system on memory parts, and a plain client of the protocol.

pub mod client;
pub mod lossy;
pub mod system;
