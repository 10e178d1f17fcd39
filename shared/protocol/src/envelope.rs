//! What crosses the backplane, as JSON: commands from gateways to workers and their answers, events of conversations,
//! notices to users. Every envelope has a version; whoever reads a newer one than it knows answers `unavailable` or
//! drops it, and never guesses.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    ConversationId, Push, Raw, Refusal, Timestamp, UserId,
    record::{Status, Unread},
};

/// The version that this build writes and reads.
pub const VERSION: u8 = 1;

/// Why bytes are not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEnvelope {
    /// Not JSON of the expected shape.
    #[error("not an envelope: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by a newer build.
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

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// A user, for itself.
    User(UserId),
    /// A back-end service, for anyone.
    Service,
}

/// A request to a worker. Attempts of one request share the `id`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Names the request, for telling a repeat of the client's from an attempt of the gateway's.
    pub id: Uuid,
    /// Who asks.
    pub principal: Principal,
    /// Wall-clock time after which this attempt may no longer read or write.
    pub deadline: Timestamp,
    /// What is asked.
    pub call: Call,
}

/// What a worker can be asked. Bodies and payloads are the client's raw JSON objects; workers validate them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Join of `user:{principal}`. Answers [`JoinedUser`].
    JoinUser,
    /// Join of a conversation with the client's params. Answers [`JoinedConversation`].
    JoinConversation {
        /// Which.
        conversation: ConversationId,
        /// `{last_seq?, since?}`.
        params: Raw,
    },
    /// A push that changes or reads the store. Answers the reply's response.
    Push {
        /// Where; none on the user topic.
        conversation: Option<ConversationId>,
        /// Which.
        push: Push,
        /// Its payload.
        payload: Raw,
    },
    /// `POST /api/v1/conversations`, under the deployment's rule of who may create.
    CreateConversation {
        /// Who may create.
        policy: CreatePolicy,
        /// The body.
        body: Raw,
    },
    /// `GET /api/v1/conversations`.
    ListConversations {
        /// Whose, where a service asks.
        user: Option<UserId>,
        /// At most so many, already within bounds.
        limit: usize,
        /// Where the page before ended.
        cursor: Option<String>,
    },
    /// `GET /api/v1/conversations/{id}`.
    GetConversation {
        /// Which.
        conversation: ConversationId,
    },
    /// `PATCH /api/v1/conversations/{id}`.
    PatchConversation {
        /// Which.
        conversation: ConversationId,
        /// `{metadata}`.
        body: Raw,
    },
    /// `GET /api/v1/conversations/{id}/messages`.
    History {
        /// Which.
        conversation: ConversationId,
        /// The page.
        page: HistoryPage,
    },
    /// `POST /api/v1/conversations/{id}/messages`.
    PostMessage {
        /// Which.
        conversation: ConversationId,
        /// As `send_message`; a service adds `sender_id`.
        body: Raw,
    },
    /// `PUT /api/v1/conversations/{id}/members/{user_id}`.
    AddMember {
        /// Which.
        conversation: ConversationId,
        /// Whom.
        user: UserId,
    },
    /// `DELETE /api/v1/conversations/{id}/members/{user_id}`.
    RemoveMember {
        /// Which.
        conversation: ConversationId,
        /// Whom.
        user: UserId,
    },
    /// `GET /api/v1/contacts`.
    ListContacts {
        /// Whose, where a service asks.
        user: Option<UserId>,
    },
    /// `PUT` (present) or `DELETE` (absent) `/api/v1/contacts/{user_id}`.
    SetContact {
        /// Whose, where a service asks.
        user: Option<UserId>,
        /// Whom.
        contact: UserId,
        /// Whether it shall be a contact.
        present: bool,
    },
    /// `GET /api/v1/users/{id}/presence`.
    GetPresence {
        /// Whose.
        user: UserId,
    },
    /// `POST /api/v1/users/{id}/notifications`.
    Notify {
        /// Whom.
        user: UserId,
        /// `{kind, title, body, data?}`.
        body: Raw,
    },
    /// From gateways alone: a part of a conversation's logs. Answers [`Range`].
    Range {
        /// Which.
        conversation: ConversationId,
        /// Messages after this `seq`.
        after_seq: u64,
        /// Changes after this `change_seq`.
        after_change: u64,
    },
    /// From gateways alone: the present heads of conversations, read from the log. Answers `Vec<`[`Head`]`>`.
    Heads {
        /// Which; at most 100.
        conversations: Vec<ConversationId>,
    },
    /// From gateways alone: whether users are members. Answers the [`Membership`].
    CheckMembers {
        /// Where.
        conversation: ConversationId,
        /// Who.
        users: Vec<UserId>,
    },
    /// From gateways alone: a user's presence entry on a gateway changed. The worker tells those who may see it.
    PresenceChanged {
        /// Whose.
        user: UserId,
        /// What changed, in the form of `presence_diff`; absent where only the status is to be told.
        diff: Option<Raw>,
    },
}

impl Call {
    /// The conversation whose worker should do it; none where any worker will do as well.
    #[must_use]
    pub const fn conversation(&self) -> Option<&ConversationId> {
        match self {
            Self::JoinConversation { conversation, .. }
            | Self::GetConversation { conversation }
            | Self::PatchConversation { conversation, .. }
            | Self::History { conversation, .. }
            | Self::PostMessage { conversation, .. }
            | Self::AddMember { conversation, .. }
            | Self::RemoveMember { conversation, .. }
            | Self::Range { conversation, .. }
            | Self::CheckMembers { conversation, .. } => Some(conversation),
            Self::Push { conversation, .. } => conversation.as_ref(),
            _ => None,
        }
    }
}

/// `SIMURGH_CREATE_CONVERSATIONS`: who may create a conversation. Services always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreatePolicy {
    /// Any user, with anybody.
    Users,
    /// Users, only with people who added the caller as a contact.
    Contacts,
    /// Services alone.
    Service,
}

/// A page of history, its bounds checked at the edge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryPage {
    /// Messages before this `seq`, the latest of them.
    pub before_seq: Option<u64>,
    /// Messages after this `seq`, the earliest of them. Not together with `before_seq`.
    pub after_seq: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// Changes since this cursor, too.
    pub since: Option<String>,
}

/// A worker's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was done, or read.
    Ok(Success),
    /// It was not done.
    Refused(Refusal),
}

/// What was done or read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Success {
    /// The HTTP status that says it: 200, 201, 202 or 204.
    pub status: u16,
    /// The response; an object.
    pub body: Raw,
}

impl Success {
    /// 200 with this body.
    #[must_use]
    pub fn ok<T: Serialize + ?Sized>(body: &T) -> Self {
        Self { status: 200, body: Raw::of(body) }
    }
}

/// What a gateway needs after a join of a user topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinedUser {
    /// Users whose status this one may see.
    pub visible: Vec<UserId>,
    /// For `sync_complete`: the 200 latest unread conversations.
    pub unread: Vec<Unread>,
}

/// What a gateway needs after a join of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinedConversation {
    /// Where the channel's logs stand.
    pub head: Head,
    /// The response for the client.
    pub response: Raw,
}

/// Where a conversation's logs end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The last message's `seq`.
    pub last_seq: u64,
    /// The last change's.
    pub change_seq: u64,
    /// Grows with each change of the members.
    pub members_version: u64,
}

/// A part of a conversation's logs, in order and without a gap. Short of `head` where it would grow too large.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Range {
    /// Where the logs ended when they were read.
    pub head: Head,
    /// Messages; their payloads are those of `new_message`.
    pub messages: Vec<Logged>,
    /// Changes; their payloads are those of their events.
    pub changes: Vec<LoggedChange>,
}

/// A message of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Its place.
    pub seq: u64,
    /// The payload of `new_message`.
    pub payload: Raw,
}

/// A change to a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedChange {
    /// Its place in the log of changes.
    pub change_seq: u64,
    /// The event that tells it.
    pub event: String,
    /// Its payload.
    pub payload: Raw,
}

/// Which of the users asked for are members now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Membership {
    /// The version that was read.
    pub members_version: u64,
    /// Those who are.
    pub members: Vec<UserId>,
}

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
    /// A member was removed: their channels close at once.
    Removed {
        /// Who.
        user: UserId,
    },
    /// A gateway's presence entry changed.
    Presence(PresenceChange),
}

/// A step of one gateway's presence entry of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresenceChange {
    /// The gateway's incarnation.
    pub gateway: String,
    /// The entry's revision before the step; 0 where nobody was there.
    pub previous: u64,
    /// The entry's revision after the step.
    pub revision: u64,
    /// Metas that came.
    pub joins: Vec<PresenceMeta>,
    /// The `phx_ref`s of metas that went.
    pub leaves: Vec<String>,
}

/// One connection of a user in a conversation or on the user topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresenceMeta {
    /// Whose.
    pub user: UserId,
    /// Unique.
    pub phx_ref: String,
    /// The ref that this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phx_ref_prev: Option<String>,
    /// Since when.
    pub online_at: Timestamp,
}

/// A gateway's presence entry of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversationPresence {
    /// Grows with each step, also when the entry was gone in between.
    pub revision: u64,
    /// The connections there.
    pub metas: Vec<PresenceMeta>,
}

/// A gateway's presence entry of a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserPresence {
    /// The latest status chosen on any device, and when; none while nobody chose.
    pub chosen: Option<ChosenStatus>,
    /// The connections there.
    pub metas: Vec<PresenceMeta>,
}

/// A status and when it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenStatus {
    /// Which.
    pub status: Status,
    /// When.
    pub at: Timestamp,
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
    /// A status chosen elsewhere.
    Chosen {
        /// Who chose.
        user: UserId,
        /// What.
        chosen: ChosenStatus,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_reads_back() {
        let command = Command {
            id: Uuid::nil(),
            principal: Principal::User(UserId::new("alice").unwrap()),
            deadline: Timestamp::from_millis(1),
            call: Call::Push {
                conversation: Some(ConversationId::new("c1").unwrap()),
                push: Push::SendMessage,
                payload: Raw::of(&serde_json::json!({"content": "héllo"})),
            },
        };
        let bytes = encode(&command);
        let back: Command = decode(&bytes).unwrap();
        assert_eq!(encode(&back), bytes);
    }

    #[test]
    fn a_newer_version_is_named_and_not_guessed() {
        let error = decode::<Command>(br#"{"v":2,"e":{"new":true}}"#).unwrap_err();
        assert!(matches!(error, InvalidEnvelope::Version(2)));
        assert!(matches!(decode::<Command>(b"junk").unwrap_err(), InvalidEnvelope::Json(_)));
    }
}
