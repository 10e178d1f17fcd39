//! A conversation's log: slots of messages, the claims on them, the changes to them, and what is read from all three.
//!
//! The log is the sequence. A slot is an item keyed by the `seq` of its first message, put on condition that it is
//! absent; the next slot's key follows from how many messages it holds. Who loses a slot reads on from that same slot.
//! So there is no counter, no gap and one order, whoever writes at once.
//!
//! A message is stored once because of its claim ([`claim`]): who writes slot n+1 for a claim has looked at every slot
//! from that claim's hint to n.

pub(crate) mod batch;
pub(crate) mod burst;
pub(crate) mod change;
pub(crate) mod claim;
pub mod head;
pub(crate) mod history;
pub(crate) mod join;
pub(crate) mod lane;
pub(crate) mod notifier;
pub(crate) mod queue;
pub(crate) mod range;
pub(crate) mod read;
pub(crate) mod send;
pub(crate) mod shown;
pub(crate) mod slot;
#[cfg(test)]
mod tests;

pub(crate) use burst::Bursts;
pub use head::HeadDocument;
pub(crate) use lane::Lanes;
pub(crate) use notifier::Notifiers;
pub(crate) use read::Tails;
