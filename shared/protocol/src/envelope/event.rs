//! What is published: in conversations, to gateways, and that workers live.

use serde::{Deserialize, Serialize};

use super::{ChosenStatus, EntryMark, Head, Logged, LoggedChange, PresenceChange, Revocation, Seen};
use crate::{ConversationId, Raw, UserId};

/// Something in a conversation, published on its subject.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConversationEnvelope {
    /// The members' version when it was made; 0 where a gateway made it.
    pub members_version: u64,
    /// What.
    pub event: ConversationEvent,
}

/// What can happen in a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationEvent {
    /// Messages, consecutive.
    Messages(Vec<Logged>),
    /// The same, where some of them are not for all.
    Apart(Vec<Logged>),
    /// A change to a message.
    Change(LoggedChange),
    /// Where the logs stand, repeated so that a lost message is noticed.
    Head(Head),
    /// Something that is told once and has no place in a log.
    Told {
        /// The event.
        event: String,
        /// Its payload.
        payload: Raw,
        /// Whose sockets do not get it.
        except: Option<UserId>,
    },
    /// A member was added, and nothing else changed with that version.
    Added {
        /// Who.
        user: UserId,
    },
    /// A member was removed, and nothing else changed with that version: their channels close at once.
    Removed {
        /// Who.
        user: UserId,
    },
    /// A gateway's presence entry changed.
    Presence(PresenceChange),
}

impl ConversationEvent {
    /// These messages, consecutive.
    #[must_use]
    pub fn messages(logged: Vec<Logged>) -> Self {
        let for_all = logged.iter().all(|logged| logged.except.is_none());
        if for_all { Self::Messages(logged) } else { Self::Apart(logged) }
    }
}

/// A worker's heartbeat, published twice a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerAlive {
    /// Which worker.
    pub id: String,
    /// It takes no more commands.
    #[serde(default)]
    pub leaving: bool,
}

/// What reaches one gateway on its own subject, or all on theirs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayEnvelope {
    /// An event on the topics of these users.
    Told {
        /// Whose.
        users: Vec<UserId>,
        /// The event.
        event: String,
        /// Its payload.
        payload: Raw,
    },
    /// A status chosen elsewhere. Answered with nothing, once it is taken.
    Chosen {
        /// Who chose.
        user: UserId,
        /// What.
        chosen: ChosenStatus,
    },
    /// The presence of a user changed: gateways that show it read it again. Answered with nothing, once it is noted.
    Presence {
        /// How the user looks now.
        seen: Seen,
        /// The write that is to be found, where there was one.
        entry: Option<EntryMark>,
    },
    /// Another user's status may be seen from now on, or no longer: gateways ask whose it is. Answered with nothing, once
    /// it is noted.
    Visibility {
        /// Who sees.
        viewer: UserId,
        /// How the other user looks now.
        seen: Seen,
    },
    /// Which sockets the user has here, and how far each was told the conversation. Answered with
    /// [`super::SocketsHere`], within moments.
    Sockets {
        /// Which conversation.
        conversation: ConversationId,
        /// Whose sockets.
        user: UserId,
    },
    /// To all gateways: the user's sockets with tokens of before are closed. Who misses it asks for what it missed.
    Revoked(Revocation),
    /// To all gateways: one of the two blocked the other, or no longer does. Gateways ask whom those see who are here.
    Blocks {
        /// The one.
        one: UserId,
        /// The other.
        other: UserId,
    },
}
