//! The words that clients, gateways and workers share: frames and their serializers, topics, ids, reasons, close
//! codes, limits, and the envelopes that cross the backplane. Pure: no I/O, no clock, no async.

pub mod close;
pub mod cursor;
pub mod envelope;
pub mod event;
pub mod frame;
pub mod id;
pub mod limits;
pub mod longpoll;
pub mod reason;
pub mod record;
pub mod subprotocol;
pub mod time;
pub mod topic;

pub use close::CloseCode;
pub use event::Push;
pub use frame::{Frame, Name, Raw, Ref, Vsn};
pub use id::{ConversationId, MessageId, UserId};
pub use reason::{Reason, Refusal};
pub use time::Timestamp;
pub use topic::Topic;
