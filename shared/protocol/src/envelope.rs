//! What crosses the backplane, as JSON: commands from gateways to workers and their answers, events of conversations,
//! notices to users. Builds of adjacent releases talk by them: fields that one does not know are left aside, fields that
//! one does not write have a default. Every envelope has a version; whoever reads another than its own, or a variant that it
//! does not know, answers `unavailable` or drops it, and never guesses.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

mod answer;
mod command;
mod delivery;
mod event;
mod longpoll;
mod presence;

pub use answer::{
    Answer, Head, JoinedConversation, JoinedUser, Logged, LoggedChange, Membership, Range, Revocations, Sees,
    Success,
};
pub use command::{Call, Command, CreatePolicy, HistoryPage, Presented, Principal, Revocation};
pub use delivery::{
    ChannelHere, ChannelState, Delivery, GatewayAsked, GatewayState, MemberThenAndNow, SocketDelivery,
    SocketHere, SocketsHere, StoredAt, Verdict, Why,
};
pub use event::{ConversationEnvelope, ConversationEvent, GatewayEnvelope, WorkerAlive};
pub use longpoll::{LongPollAnswer, LongPollCall, decode_with, encode_with};
pub use presence::{
    Arrived, ChosenStatus, ConversationPresence, EntryMark, PresenceChange, PresenceMeta, Seen, UserPresence,
};

/// The version that this build writes and reads.
pub const VERSION: u8 = 1;

/// Why bytes are not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEnvelope {
    /// Not JSON of the expected shape. Says where and not what: the parser's own words quote what it met.
    #[error("not an envelope ({:?} at byte {})", .0.classify(), .0.column())]
    Json(#[from] serde_json::Error),
    /// Written by a build that speaks another version.
    #[error("an envelope of version {0}, and this build reads {VERSION}")]
    Version(u8),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u8,
    e: T,
}

/// The bytes of an envelope.
#[must_use]
pub fn encode<T: Serialize>(envelope: &T) -> Bytes {
    serde_json::to_vec(&Versioned { v: VERSION, e: envelope }).unwrap_or_default().into()
}

/// The envelope in these bytes.
///
/// # Errors
/// [`InvalidEnvelope`] where it cannot be read.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidEnvelope> {
    #[derive(Deserialize)]
    struct Version {
        v: u8,
    }
    match serde_json::from_slice::<Versioned<T>>(bytes) {
        Ok(Versioned { v: VERSION, e }) => Ok(e),
        Ok(Versioned { v, .. }) => Err(InvalidEnvelope::Version(v)),
        Err(error) => match serde_json::from_slice::<Version>(bytes) {
            Ok(Version { v }) if v != VERSION => Err(InvalidEnvelope::Version(v)),
            _ => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests;
