//! What gateways ask of workers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::EntryMark;
use crate::{ConversationId, MessageId, Push, Raw, Timestamp, UserId};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// A user, for itself.
    User(UserId),
    /// A back-end service, for anyone.
    Service,
}

/// The token that a request came with. Where it was revoked since it was issued, the request is `unauthorized`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presented {
    /// Whom it names.
    pub user: UserId,
    /// When it was issued, where it says so. Without, every revocation is later.
    pub issued_at: Option<Timestamp>,
}

/// The user's tokens of before were revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Whose.
    pub user: UserId,
    /// Tokens that were issued then or earlier count no more.
    pub at: Timestamp,
}

impl Revocation {
    /// Whether a token that was issued at `issued_at` counts no more.
    #[must_use]
    pub fn covers(&self, issued_at: Option<Timestamp>) -> bool {
        issued_at.is_none_or(|issued_at| issued_at <= self.at)
    }
}

/// A request to a worker. Attempts of one request share the `id`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Names the request, for telling a repeat of the client's from an attempt of the gateway's.
    pub id: Uuid,
    /// Who asks.
    pub principal: Principal,
    /// The token that is to be looked at first, where it was not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Presented>,
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
    /// `GET /api/v1/conversations/{id}/settings`.
    GetSettings {
        /// Of which.
        conversation: ConversationId,
        /// Whose, where a service asks.
        user: Option<UserId>,
    },
    /// `PATCH /api/v1/conversations/{id}/settings`.
    PatchSettings {
        /// Of which.
        conversation: ConversationId,
        /// Whose, where a service asks.
        user: Option<UserId>,
        /// `{muted_until}`.
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
    /// `PATCH /api/v1/conversations/{id}/messages/{message_id}`.
    EditMessage {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: MessageId,
        /// `{content, metadata?}`; a service adds `sender_id`.
        body: Raw,
    },
    /// `DELETE /api/v1/conversations/{id}/messages/{message_id}`.
    DeleteMessage {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: MessageId,
        /// Or for the user alone.
        for_everyone: bool,
    },
    /// `GET /api/v1/conversations/{id}/messages/{message_id}/receipts`.
    Receipts {
        /// Where.
        conversation: ConversationId,
        /// Of which.
        message: MessageId,
    },
    /// `GET /api/v1/conversations/{id}/messages/{message_id}/delivery`. Answers [`super::Delivery`].
    Delivery {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: MessageId,
        /// To whom.
        user: UserId,
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
    /// `GET /api/v1/blocks`.
    ListBlocks {
        /// Whose, where a service asks.
        user: Option<UserId>,
        /// At most so many, already within bounds.
        limit: usize,
        /// Where the page before ended.
        cursor: Option<String>,
    },
    /// `PUT` (present) or `DELETE` (absent) `/api/v1/blocks/{user_id}`.
    SetBlock {
        /// Whose, where a service asks.
        user: Option<UserId>,
        /// Whom.
        other: UserId,
        /// Whether it shall be blocked.
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
    /// `DELETE /api/v1/users/{id}/sessions`.
    Revoke {
        /// Whose.
        user: UserId,
    },
    /// From gateways alone: whether the command's token still counts. Answers nothing.
    Admit,
    /// From gateways alone: who was revoked at `since` or later, the earliest first. Answers [`Revocations`].
    Revocations {
        /// Since when.
        since: Timestamp,
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
    /// From gateways alone: a user's presence entry on a gateway changed. Has the gateways of those who may see it look.
    PresenceChanged {
        /// Whose.
        user: UserId,
        /// The write that is to be found; none where nobody wrote (a lease lapsed).
        entry: Option<EntryMark>,
    },
    /// From gateways alone: these users have no socket there (any more), where they were to be told of a message.
    Missed {
        /// Where.
        conversation: ConversationId,
        /// Who.
        users: Vec<UserId>,
        /// The gateway, whose presence entries of them say nothing.
        gateway: String,
        /// The message, as they were to be told it.
        message: Raw,
    },
    /// From gateways alone: whose status `{principal}` may see. Answers a list of users.
    Visible,
    /// From gateways alone: whom `{principal}` sees, and whom not. Answers [`super::Sees`].
    Sees,
}

impl Call {
    /// What is asked, in a word: the push's event, or the call's own name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::JoinUser => "join_user",
            Self::JoinConversation { .. } => "join_conversation",
            Self::Push { push, .. } => push.as_str(),
            Self::CreateConversation { .. } => "create_conversation",
            Self::ListConversations { .. } => "list_conversations",
            Self::GetConversation { .. } => "get_conversation",
            Self::PatchConversation { .. } => "patch_conversation",
            Self::GetSettings { .. } => "get_settings",
            Self::PatchSettings { .. } => "patch_settings",
            Self::History { .. } => "history",
            Self::PostMessage { .. } => "post_message",
            Self::EditMessage { .. } => "edit_message",
            Self::DeleteMessage { .. } => "delete_message",
            Self::Receipts { .. } => "receipts",
            Self::Delivery { .. } => "delivery",
            Self::AddMember { .. } => "add_member",
            Self::RemoveMember { .. } => "remove_member",
            Self::ListContacts { .. } => "list_contacts",
            Self::SetContact { .. } => "set_contact",
            Self::ListBlocks { .. } => "list_blocks",
            Self::SetBlock { .. } => "set_block",
            Self::GetPresence { .. } => "get_presence",
            Self::Notify { .. } => "notify",
            Self::Revoke { .. } => "revoke",
            Self::Admit => "admit",
            Self::Revocations { .. } => "revocations",
            Self::Range { .. } => "range",
            Self::Heads { .. } => "heads",
            Self::CheckMembers { .. } => "check_members",
            Self::PresenceChanged { .. } => "presence_changed",
            Self::Missed { .. } => "missed",
            Self::Visible => "visible",
            Self::Sees => "sees",
        }
    }

    /// The conversation whose worker should do it; none where any worker will do as well.
    #[must_use]
    pub const fn conversation(&self) -> Option<&ConversationId> {
        match self {
            Self::JoinConversation { conversation, .. }
            | Self::GetConversation { conversation }
            | Self::PatchConversation { conversation, .. }
            | Self::GetSettings { conversation, .. }
            | Self::PatchSettings { conversation, .. }
            | Self::Missed { conversation, .. }
            | Self::History { conversation, .. }
            | Self::PostMessage { conversation, .. }
            | Self::EditMessage { conversation, .. }
            | Self::DeleteMessage { conversation, .. }
            | Self::Receipts { conversation, .. }
            | Self::Delivery { conversation, .. }
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
