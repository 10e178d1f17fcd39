//! What surrounds the processes of a simulated system: their links, and through them the backplane, the store and the
//! clients. Everything follows from the seed.

pub mod bus;
pub mod io;
pub mod link;
pub mod store;
pub mod watched;
