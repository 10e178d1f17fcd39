//! The simulation: users who behave as stock clients do, on a system whose parts are killed, stopped, cut off and slowed
//! down at random, all from one seed in virtual time; and what must be true of what they saw and of what is stored.

pub mod admin;
pub mod agent;
pub mod checks;
pub mod ledger;
mod live;
pub mod presence;
pub mod scene;
pub mod screen;
pub mod storm;
